"""Bytes of a source file to text and back: byte order mark, declared encoding and newlines stay as they are."""

from __future__ import annotations

import io
import tokenize
from collections import Counter

from modellint.core.record import dataclass

from .error import UnreadableError


@dataclass(frozen=True, slots=True)
class Text:
    content: str
    encoding: str

    @classmethod
    def of(cls, data: bytes) -> Text:
        """Raises UnreadableError for bytes that would not come back as they were."""
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            text = cls(data.decode(encoding), encoding)
        except (SyntaxError, ValueError) as error:
            raise UnreadableError(f"the file cannot be decoded ({error})") from error
        if text.encode() != data:
            raise UnreadableError(f"the file cannot be written back as {encoding}")
        return text

    def encode(self) -> bytes:
        return self.content.encode(self.encoding)

    def comments(self) -> Counter[str]:
        """Each comment as often as it is written."""
        lines = io.StringIO(self.content, newline="").readline
        try:
            tokens = [token for token in tokenize.generate_tokens(lines) if token.type == tokenize.COMMENT]
        except (tokenize.TokenError, SyntaxError) as error:
            raise UnreadableError(f"the file cannot be read token by token ({error})") from error
        return Counter(token.string.rstrip() for token in tokens)

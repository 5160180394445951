"""Why an edit cannot be made."""


class FixError(Exception):
    """The reason, in words that follow "not fixed: "."""


class UnreadableError(FixError):
    """The file itself cannot be rewritten, whatever the edit."""

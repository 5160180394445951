"""A recorded graph with the findings of its rules drawn in, in the formats of `modellint graph`."""

from __future__ import annotations

from .data import as_json
from .svg import as_svg
from .text import as_text

DRAWINGS = {"json": as_json, "svg": as_svg, "txt": as_text}

__all__ = ["DRAWINGS", "as_json", "as_svg", "as_text"]

"""The graph as a picture: lanes and nodes on the left, what each is on the right, findings in colour below their node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as Xml

from modellint.core.diagnostic import Diagnostic, Severity
from modellint.graph.graph import Graph
from modellint.graph.node import Role
from modellint.graph.words import label

from .rows import Row, elsewhere, rows
from .text import sentence

_LANE, _LINE, _MARGIN, _DOT, _LETTER = 16, 20, 14, 5, 7.3
_COLOURS = {
    **dict.fromkeys((Role.LINEAR, Role.CONV, Role.EMBEDDING, Role.RECURRENT), "#2f6fb5"),
    **dict.fromkeys((Role.NORM, Role.SOFTMAX, Role.LOG_SOFTMAX), "#2e8b57"),
    Role.ATTENTION: "#7b4fb5",
    Role.ACTIVATION: "#d98a1f",
    Role.LOSS: "#1b1b1b",
    Role.DETACH: "#c0392b",
}
_OTHER = "#9a9a9a"
_LEVELS = {Severity.ERROR: "#c0392b", Severity.WARNING: "#b9770e", Severity.NOTE: "#5f6b76"}
_STYLE = "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#222}.dim{fill:#777}path{fill:none;stroke:#b5bcc4}"


def as_svg(graph: Graph, findings: Sequence[Diagnostic], code: str = "") -> str:
    drawn, above = rows(graph, findings), elsewhere(graph, findings)
    tops = list(_tops(drawn, len(above)))
    left = _MARGIN + _LANE * (max((row.lane for row in drawn), default=0) + 1)
    texts = ["  ".join(_caption(row)) for row in drawn] + [f"    {sentence(finding)}" for finding in findings]
    width, height = left + _LETTER * max(map(len, texts), default=0) + 2 * _MARGIN, tops[-1] + _MARGIN
    picture = Xml.Element("svg", xmlns="http://www.w3.org/2000/svg", width=f"{width:.0f}", height=str(height))
    Xml.SubElement(picture, "style").text = _STYLE
    Xml.SubElement(picture, "rect", width="100%", height="100%", fill="#fff")
    for index, finding in enumerate(above):
        _write(picture, _MARGIN, _MARGIN + _LINE * (index + 0.5), sentence(finding), _LEVELS[finding.level])
    for row, top in zip(drawn, tops, strict=False):
        picture.extend(_edges(row, top, drawn, tops))
    for row, top in zip(drawn, tops, strict=False):
        _draw(picture, row, top, left)
    return Xml.tostring(picture, encoding="unicode") + "\n"


def _tops(drawn: Sequence[Row], above: int) -> Iterator[int]:
    """The height of each row, and of the end."""
    top = _MARGIN + _LINE * (above + 1)
    for row in drawn:
        yield top
        top += _LINE * (1 + len(row.findings))
    yield top


def _draw(picture: Xml.Element, row: Row, top: int, left: int) -> None:
    x, colour = _x(row), _COLOURS.get(row.node.role, _OTHER)
    if row.findings:
        level = max((finding.level for finding in row.findings), key=lambda level: level.rank)
        Xml.SubElement(picture, "circle", cx=str(x), cy=str(top), r=str(_DOT + 3), fill="none", stroke=_LEVELS[level])
    dot = Xml.SubElement(picture, "circle", cx=str(x), cy=str(top), r=str(_DOT), fill=colour)
    Xml.SubElement(dot, "title").text = f"{row.node.name}: {row.node.role}"
    name, *rest = _caption(row)
    text = _write(picture, left, top + 4, name, colour if colour != _OTHER else "#222")
    for part in rest:
        Xml.SubElement(text, "tspan", {"class": "dim", "dx": str(2 * _DOT)}).text = part
    for index, finding in enumerate(row.findings, 1):
        _write(picture, left + 2 * _LETTER, top + 4 + _LINE * index, sentence(finding), _LEVELS[finding.level])


def _write(picture: Xml.Element, x: float, y: float, content: str, colour: str) -> Xml.Element:
    text = Xml.SubElement(picture, "text", {"x": f"{x:.0f}", "y": f"{y:.0f}", "style": f"fill:{colour}"})
    text.text = content
    return text


def _caption(row: Row) -> list[str]:
    node = row.node
    place = f"{node.location.path}:{node.location.line}" if node.location.path else ""
    kind = node.operation if label(node) != node.operation else ""
    return [label(node) or node.role, *filter(None, (kind, "x".join(map(str, node.shape)), place))]


def _edges(row: Row, top: int, drawn: Sequence[Row], tops: Sequence[int]) -> Iterator[Xml.Element]:
    """From each source down its own lane, then over to the row."""
    for source in row.sources:
        x, turn = _x(drawn[source]), top - _LINE
        way = f"M{x},{tops[source]} L{x},{max(turn, tops[source])} C{x},{top} {_x(row)},{turn} {_x(row)},{top}"
        yield Xml.Element("path", d=way)


def _x(row: Row) -> int:
    return _MARGIN + _LANE * row.lane

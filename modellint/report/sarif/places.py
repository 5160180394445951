"""Locations as SARIF writes them: a region of a file in the repository, a module of the model, or both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modellint.core.diagnostic import Location
from modellint.report.anchor import anchor

ROOT = "%SRCROOT%"
Object = dict[str, Any]


def location(place: Location, run: Mapping[str, Any] | None) -> Object:
    """Empty where neither file nor module is known."""
    anchored = anchor(place, run)
    written: Object = {}
    if anchored.path is not None:
        written["physicalLocation"] = {"artifactLocation": _artifact(anchored.path), "region": _region(anchored)}
    if anchored.module:
        written["logicalLocations"] = [{"fullyQualifiedName": anchored.module, "kind": "module"}]
    return written


def locations(place: Location, run: Mapping[str, Any] | None) -> Object:
    """The property `locations`, where there is one."""
    only = location(place, run)
    return {"locations": [only]} if only else {}


def _artifact(path: str) -> Object:
    if Path(path).is_absolute():
        return {"uri": Path(path).as_uri()}
    return {"uri": quote(path, errors="surrogatepass"), "uriBaseId": ROOT}


def _region(place: Location) -> Object:
    edges = {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }
    return {name: edge for name, edge in edges.items() if edge}

"""The graph and its findings as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from modellint.core.diagnostic import Diagnostic
from modellint.core.plain import to_plain
from modellint.graph.graph import Graph


def as_json(graph: Graph, findings: Sequence[Diagnostic], code: str = "") -> str:
    content = {"schema": "modellint-graph/1", "graph": graph, "code": code, "diagnostics": findings}
    return json.dumps(to_plain(content), indent=1, allow_nan=False) + "\n"

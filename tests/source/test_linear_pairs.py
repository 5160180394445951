"""Two linear layers in a row that a Sequential is written with."""

import pytest

from modellint import Verdict, pipeline
from modellint.core.config import Settings

RULE = "linear-without-nonlinearity"


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ("nn.Linear(8, 64), nn.Dropout(0.1), nn.Linear(64, 3)", 1),
        ("nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3)", 0),
        ("nn.Linear(64, 8), nn.Linear(8, 64)", 0),  # a bottleneck
        ("nn.Linear(size, 64), nn.Linear(64, 3)", 0),  # may be one
    ],
)
def test_what_is_written_is_suspected(tmp_path, layers, found):
    script = tmp_path / "model.py"
    script.write_text(f"from torch import nn\nnet = nn.Sequential({layers})\n")
    report = pipeline.check([script], Settings(root=tmp_path))
    verdicts = [finding.verdict for finding in report.diagnostics if finding.rule == RULE]
    assert verdicts == [Verdict.SUSPECTED] * found

"""What belongs to a real run is off in a probe, unless it is asked for."""

import pytest

from modellint.measure import environment
from modellint.measure.launch import Options

OFF = {"WANDB_MODE": "disabled", "COMET_AUTO_LOG_DISABLE": "1", "NEPTUNE_MODE": "offline", "CLEARML_OFFLINE_MODE": "1"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in (*OFF, "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def test_trackers_are_off(tmp_path):
    given = environment.of(tmp_path, Options())
    assert {name: given[name] for name in OFF} == OFF
    assert given["MLFLOW_TRACKING_URI"] == (tmp_path / "mlflow").as_uri()


def test_trackers_that_are_kept(tmp_path):
    given = environment.of(tmp_path, Options(trackers=True))
    assert not {*OFF, "MLFLOW_TRACKING_URI"} & {*given}


def test_what_the_user_has_set_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.invalid")
    given = environment.of(tmp_path, Options())
    assert given["WANDB_MODE"] == "offline"
    assert given["MLFLOW_TRACKING_URI"].startswith("file:"), "it would be written to"

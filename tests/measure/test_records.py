"""Journals of several processes to one Run, on literal records."""

import json

import pytest

from modellint.measure import merge, records
from modellint.measure.records import Records


def journal(rank, steps, **fields):
    step = {
        "kind": "step",
        "optimizer": 0,
        "gradients": [1.0, "nan"],
        "gradients_at_step": [1.0, 2.0],
        "updates": [0.1, 0.2],
        "weights": [3.0, 4.0],
    }
    named = [{"number": 7, "name": "head.weight"}, {"number": 9, "name": "head.bias"}]
    return [
        {"kind": "start", "rank": rank, "at": 0.0},
        {"kind": "optimizer", "index": 0, "name": "SGD", "parameters": [7, 9], "at": 0.1},
        *({**step, "index": index, "parameters": [7, 9], "at": 1.0 + index, **fields} for index in range(steps)),
        {"kind": "parameters", "parameters": named, "at": 9.0},
        {"kind": "files", "files": [f"rank{rank}.py"], "at": 9.0},
    ]


def test_the_first_rank_that_trained_speaks_for_all():
    run = merge.merge([journal(None, 0), journal("1", 3), journal("0", 2)], requested_steps=3)
    assert len(run.steps) == 2
    assert run.files == ("rank0.py", "rank1.py", "rankNone.py")
    assert run.requested_steps == 3


def test_numbers_become_names():
    run = merge.merge([journal("0", 1)])
    assert run.optimizers[0].parameters == ("head.weight", "head.bias")
    assert run.steps[0].updates == {"head.weight": 0.1, "head.bias": 0.2}
    assert run.steps[0].non_finite == ("gradient of head.bias",)


def test_a_killed_process_may_not_have_told_the_names():
    told = [record for record in journal("0", 1) if record["kind"] != "parameters"]
    assert list(merge.merge([told]).steps[0].gradients) == ["parameter_7", "parameter_9"]


def test_labels_are_counted_once_although_two_optimizers_saw_them():
    first = journal("0", 2, label_counts={"3": 4, "0": 1})
    second = [{**record, "optimizer": 1} for record in first if record["kind"] == "step"]
    assert merge.merge([[*first, *second]]).label_counts == {0: 2, 3: 8}


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    whole = json.dumps({"kind": "start", "rank": None, "at": 1.0})
    (tmp_path / "process-1.jsonl").write_text(f'{whole}\n{{"kind": "st')
    assert [record["kind"] for record in records.read(tmp_path)[0]] == ["start"]


def test_seconds():
    found = records.seconds(Records(journal("0", 3)), began=-1.0, now=10.0)
    assert found == pytest.approx({"start": 2.0, "steps": 2.0, "total": 11.0})
    assert records.seconds(Records(()), 0.0, 1.0) == {"total": 1.0}

"""Capture of public models beside torch.export.export(strict=False) and torch.fx.symbolic_trace.

    ENVIRONMENT/bin/python benchmarks/graph.py [--zoo torchvision ...] [--only PART] [--peers-every 4] [--seconds 120] FOLDER

Every model is built, run and measured in a process of its own, one after the other, on one thread; all numbers are CPU
seconds of that process. FOLDER gets results.jsonl and the graph of every model, of which graph_table.py asks the rules.
Models that are in FOLDER already are left out, so that a run that was stopped can go on.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
ZOOS = {
    "torchvision": "zoo.vision",
    "timm": "zoo.timms",
    "transformers": "zoo.transformer",
    "segmentation-models-pytorch": "zoo.segmenters",
    "torch_geometric": "zoo.graphs",
}


def measure(build: Callable[[], Any], peers: bool, kept: Path) -> Iterator[dict[str, Any]]:
    """What one model costs and shows, piece by piece; "eager" alone where it does not run at all."""
    import torch

    torch.manual_seed(0)
    try:
        case = build()
        case.step()
        yield {"model": case.name, "eager": seconds(case.step)[0]}
    except Exception as error:
        yield {"eager": None, "reason": reason(error)}
        return
    yield {"capture": recorded(case, kept)}
    if peers:
        arguments, keywords = case.arguments, dict(case.keywords)
        yield {"symbolic_trace": attempt(lambda: torch.fx.symbolic_trace(case.model))}
        yield {"export": attempt(lambda: torch.export.export(case.model, arguments, keywords, strict=False))}


def recorded(case: Any, kept: Path) -> dict[str, Any]:
    """The step under the recorder, its graph kept, and whether the loss reaches the same parameters as autograd.

    The graph is kept as a probe has it, which knows what `backward()` reached and that an optimizer holds every parameter.
    """
    from modellint import Graph
    from modellint.core.plain import from_plain
    from modellint.graph.walk import learned_parameters
    from modellint.recorder.capture import Capture

    capture, names = Capture(), {id(p): n for n, p in case.model.named_parameters()}

    def step() -> Any:
        capture.start()
        loss = case.step()
        return loss, capture.finish(loss, names, case.model)

    spent, (loss, plain) = seconds(step)
    if plain is None or capture.errors:
        return {"seconds": None, "reason": "; ".join(map(repr, capture.errors)) or "no graph"}
    loss.backward()
    reached = {name for name, parameter in case.model.named_parameters() if parameter.grad is not None}
    watched = [{**each, "reached": each["name"] in reached, "optimizer": 0} for each in plain["parameters"]]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(gzip.compress(json.dumps({**plain, "parameters": watched}).encode()))
    graph = from_plain(Graph, json.loads(gzip.decompress(kept.read_bytes())))
    return {"seconds": spent, "nodes": len(graph.nodes), "differ": sorted(reached ^ learned_parameters(graph))[:4]}


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = action()
    return time.process_time() - began, result


def attempt(action: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"seconds": seconds(action)[0]}
    except Exception as error:
        return {"seconds": None, "reason": reason(error)}


def reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:200]


def isolated(pieces: Callable[[], Iterator[dict[str, Any]]], limit: float, memory: int) -> dict[str, Any]:
    """The results of a forked process that has `limit` seconds of CPU time and `memory` bytes.

    What it had until it was killed stays.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        used = int(time.process_time())  # a fork goes on counting where its parent was
        resource.setrlimit(resource.RLIMIT_CPU, (used + int(limit), used + int(limit)))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        with os.fdopen(writer, "w") as pipe:
            for piece in pieces():
                pipe.write(json.dumps(piece) + "\n")
                pipe.flush()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found = {key: value for line in pipe for key, value in json.loads(line).items()}
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return found if status == 0 else {"stopped": f"signal {-status} within {limit:.0f} CPU seconds", **found}


def wanted(options: argparse.Namespace, done: set[str]) -> Iterator[tuple[str, Callable[[], Any], bool]]:
    """(name, how it is built, whether the peers run too) of each model that is not done."""
    for zoo in options.zoo:
        for number, (name, build) in enumerate(importlib.import_module(ZOOS[zoo]).models()):
            if f"{zoo}/{name}" not in done and options.only in name:
                yield f"{zoo}/{name}", build, bool(options.peers_every) and number % options.peers_every == 0


def run(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    torch.export.export(torch.nn.Linear(1, 1), (torch.ones(1),), strict=False)  # its imports are no model's cost
    for part in ("graph.walk", "recorder.capture"):
        importlib.import_module(f"modellint.{part}")
    options.folder.mkdir(parents=True, exist_ok=True)
    results, memory = options.folder / "results.jsonl", int(options.gigabytes * (1 << 30))
    done = {json.loads(line)["name"] for line in results.read_text().splitlines()} if results.exists() else set()
    for name, build, peers in wanted(options, done):
        kept = options.folder / "graphs" / f"{name}.json.gz"
        found = isolated(partial(measure, build, peers, kept), options.seconds, memory)
        with results.open("a") as file:
            file.write(json.dumps({"name": name, **found}) + "\n")
        print(name, found.get("capture", found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--zoo", nargs="+", choices=ZOOS, default=list(ZOOS))
    parser.add_argument("--only", default="", metavar="PART", help="models whose name holds PART")
    parser.add_argument(
        "--peers-every", type=int, default=1, metavar="N", help="export and trace every N-th model; 0: none"
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="CPU time for one model")
    parser.add_argument("--gigabytes", type=float, default=6.0, help="memory for one model")
    run(parser.parse_args())


if __name__ == "__main__":
    main()

"""Numbers that are computed from themselves."""

from itertools import count

from modellint import pipeline
from modellint.core.config import Settings
from modellint.source.numbers import Numbers

FILES = {
    "train.py": """
        import argparse
        import torch
        from util import adjust, make

        args = argparse.ArgumentParser().parse_args()
        if args.resume:
            args = torch.load(args.resume)["args"]
        optimizer_g, optimizer_f = make(g.parameters(), args.lr), make(f.parameters(), args.lr)
        for epoch in range(10):
            args.lr = adjust(optimizer_g, args.lr, epoch)
            args.lr = adjust(optimizer_f, args.lr, epoch)
        """,
    "util.py": """
        import torch

        def make(parameters, lr):
            return torch.optim.SGD(parameters, lr=lr)

        def adjust(optimizer, first, epoch):
            lr = first
            if epoch > 5:
                lr *= 0.1
            return lr
        """,
}


def test_a_rate_that_is_set_anew_from_itself_comes_to_an_end(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text("\n".join(line[8:] for line in text.splitlines()))
    read, looked = Numbers._read, count()

    def counted(self, source):
        assert next(looked) < 10_000
        yield from read(self, source)

    monkeypatch.setattr(Numbers, "_read", counted)
    assert pipeline.check(list(tmp_path.glob("*.py")), Settings(root=tmp_path)).diagnostics == ()
    assert next(looked) > 10

"""How the time of `check` grows with what grows in code: arms, depth, statements, functions, classes, files.

python benchmarks/scaling.py [KIND ...] [--seconds 4] [--most 12800]

Each kind of source is made with n doubled until a reading takes longer than `--seconds` of CPU, n or its lines are `--most`, or
Python itself cannot parse it. Printed are n, lines and CPU seconds of the largest, the seconds that 10,000 lines of it take and
the exponent of the last doubling: 1 is linear, 2 is quadratic. Those above 1.3 or 2 seconds are marked.
"""

from __future__ import annotations

import argparse
import ast
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from modellint import pipeline
from modellint.core.config import Settings

STEP = "optimizer.zero_grad()", "loss = criterion(model(x), y)", "loss.backward()", "optimizer.step()"
OWN_STEP = tuple(line.replace("optimizer", "self.optimizer") for line in STEP)
HEAD = """import torch
from torch import nn
model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
criterion = nn.CrossEntropyLoss()
loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
"""
NOTICED = 0.25  # CPU seconds below which the clock says little
STEEP, SLOW = 1.3, 2.0

Make = Callable[[int], str | Mapping[str, str]]


def body(lines: Iterable[str], depth: int = 1) -> str:
    return "\n".join(" " * 4 * depth + line for line in lines)


def row(n: int, one: str, between: str = ", ") -> str:
    return between.join(one.replace("%", str(i)) for i in range(n))


def train(*, before: Iterable[str] = (), within: Iterable[str] = ()) -> str:
    """A script that trains in a function, with other lines before or within its loop."""
    return (
        f"{HEAD}def train():\n{body(before)}\n    for x, y in loader:\n{body([*within, *STEP], 2)}\n"
        "if __name__ == '__main__':\n    train()\n"
    )


def nested(heads: Iterable[str], n: int) -> str:
    """Blocks in blocks: as deep as Python allows, and as many of these as make n blocks."""
    deep = min(n, 18)
    head = next(iter(heads))
    one = "\n".join(f"{' ' * i}{head}" for i in range(deep)) + f"\n{' ' * deep}x = model(x)"
    return train(within="\n".join([one] * max(1, n // deep)).split("\n"))


def elif_arms(n: int, line: str) -> str:
    arms = [f"{'el' if i else ''}if kind == {i}:\n    {line.format(i=i)}" for i in range(n)]
    return train(within="\n".join(arms).split("\n"))


def deep(text: str) -> str:
    return train(within=[f"x = {text}"])


def classes(n: int, base: Callable[[int], str]) -> str:
    made = "".join(
        f"class Net{i}({base(i)}):\n    def __init__(self):\n        super().__init__()\n        self.fc{i} = nn.Linear(4, 4)\n"
        f"    def forward(self, x):\n        return self.fc{i}(x)\n"
        for i in range(n)
    )
    return train().replace("model = nn.Seq", f"{made}other = Net{n - 1}()\nmodel = nn.Seq", 1)


def calling(n: int, called: Callable[[int], Iterable[int]]) -> str:
    """Functions that call each other and come to a step."""
    made = "".join(
        f"def f{i}(model, optimizer, x):\n{body([*(f'f{j}(model, optimizer, x)' for j in called(i)), *STEP])}\n"
        for i in range(n)
    )
    return HEAD + made + "for x, y in loader:\n    f0(model, optimizer, x)\n"


def many(n: int, lines: str) -> str:
    return HEAD + "".join(f"{lines.format(i=i)}\n" for i in range(n))


def network(n: int, lines: str, *, applied: str) -> str:
    layers = body((lines.format(i=i) for i in range(n)), 2)
    forward = body((applied.format(i=i) for i in range(n)), 2)
    net = (
        f"class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n{layers}\n"
        f"    def forward(self, x):\n{forward}\n        return x\n"
    )
    return train().replace("model = nn.Seq", f"{net}model = Net()\nother = nn.Seq", 1)


def package(n: int, one: Callable[[int], str]) -> dict[str, str]:
    """Modules of one package that import each other."""
    return {f"m{i}.py": one(i) for i in range(n)} | {"__init__.py": ""}


def model_file(n: int) -> Callable[[int], str]:
    return lambda i: (
        f"import torch\nfrom torch import nn\nfrom .m{(i + 1) % n} import Net{(i + 1) % n}, train_step\n"
        f"class Net{i}(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(4, 4)\n"
        f"    def forward(self, x):\n        return self.fc(x)\n"
        f"def train_step(model, optimizer, x):\n{body(['loss = model(x).sum()', *STEP])}\n"
        f"def main(loader):\n    model = Net{(i + 1) % n}()\n    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        f"    for x, y in loader:\n        train_step(model, optimizer, x)\n"
    )


KINDS: dict[str, Make] = {
    "elif arms, assignments": lambda n: elif_arms(n, "x = f{i}(x)"),
    "elif arms, losses": lambda n: elif_arms(n, "loss = criterion(model(x), y{i})"),
    "elif arms, calls of functions": lambda n: elif_arms(n, "step{i}(model, optimizer)"),
    "elif arms, one model each": lambda n: HEAD
    + "".join(f"{'el' if i else ''}if kind == {i}:\n    model = nn.Linear({i}, 2)\n" for i in range(n))
    + "for x, y in loader:\n"
    + body(STEP)
    + "\n",
    "elif arms, one optimizer each": lambda n: HEAD
    + "".join(
        f"{'el' if i else ''}if kind == {i}:\n    optimizer = torch.optim.SGD(model.parameters(), lr={i})\n"
        for i in range(n)
    )
    + "for x, y in loader:\n"
    + body(STEP)
    + "\n",
    "elif arms that return": lambda n: HEAD
    + "def build(kind):\n"
    + "".join(f"    {'el' if i else ''}if kind == {i}:\n        return nn.Linear({i}, 2)\n" for i in range(n))
    + "model = build(3)\nfor x, y in loader:\n"
    + body(STEP)
    + "\n",
    "ifs that return": lambda n: HEAD
    + "def build(kind):\n"
    + "".join(f"    if kind == {i}:\n        return nn.Linear({i}, 2)\n" for i in range(n))
    + "model = build(3)\nfor x, y in loader:\n"
    + body(STEP)
    + "\n",
    "ifs side by side": lambda n: train(within="\n".join(f"if a{i}:\n    x = f{i}(x)" for i in range(n)).split("\n")),
    "ifs that continue": lambda n: train(within="\n".join(f"if a{i}(x):\n    continue" for i in range(n)).split("\n")),
    "match arms": lambda n: train(
        within=["match kind:", *(line for i in range(n) for line in (f"    case {i}:", f"        x = f{i}(x)"))]
    ),
    "nested ifs": lambda n: nested(["if x:"], n),
    "nested fors": lambda n: nested(["for x in x:"], n),
    "nested withs": lambda n: nested(["with f(x):"], n),
    "nested functions": lambda n: nested(["def f(x, y=x):"], n),
    "withs of many": lambda n: train(within=[f"with {row(n, 'f%() as a%')}:", "    pass"]),
    "tries": lambda n: train(
        within="\n".join(f"try:\n    x = f{i}(x)\nexcept E{i}:\n    pass" for i in range(n)).split("\n")
    ),
    "handlers of one try": lambda n: train(
        within=["try:", "    x = f(x)", *(line for i in range(n) for line in (f"except E{i}:", f"    x = g{i}(x)"))]
    ),
    "statements": lambda n: train(within=(f"x{i} = f(x{i - 1})" for i in range(n))),
    "statements, of one name": lambda n: train(within=(f"x = torch.relu(x + {i})" for i in range(n))),
    "statements, of one attribute": lambda n: train(within=(f"self.x = g(self.x, {i})" for i in range(n))),
    "assignments of one name in a module": lambda n: many(n, "x = f(x, {i})"),
    "assignments of one name, all used": lambda n: many(n, "x = nn.Linear(4, {i})\nx(y)"),
    "augmentations": lambda n: train(within=(f"total += criterion(model(x), y{i})" for i in range(n))),
    "names of one value": lambda n: train(within=[f"{row(n, 'a%', ' = ')} = model(x)"]),
    "calls of what was made": lambda n: train(before=(f"f{i} = nn.Linear(4, 4)" for i in range(n)),
                                              within=(f"x = f{i}(x)" for i in range(n))),
    "appends": lambda n: train(before=["losses = []"], within=(f"losses.append(criterion(model(x), y{i}))" for i in range(n))),
    "chain of functions": lambda n: calling(n, lambda i: [i + 1] if i + 1 < n else []),
    "functions that call two": lambda n: calling(n, lambda i: [j for j in (2 * i + 1, 2 * i + 2) if j < n]),
    "functions that call the next ten": lambda n: calling(n, lambda i: range(i + 1, min(n, i + 11))),
    "functions of one name": lambda n: many(n, "def f(model, optimizer):\n    f(model, optimizer)\n    optimizer.step()"),
    "functions that train": lambda n: HEAD
    + "".join(f"def train{i}(model, optimizer):\n    for x, y in loader:\n{body(STEP, 2)}\n" for i in range(n)),
    "functions that train, called": lambda n: HEAD
    + "".join(f"def train{i}(model, optimizer):\n    for x, y in loader:\n{body(STEP, 2)}\n" for i in range(n))
    + "".join(f"train{i}(model, optimizer)\n" for i in range(n)),
    "calls of one that trains": lambda n: HEAD
    + f"def train(model, optimizer):\n    for x, y in loader:\n{body(STEP, 2)}\n"
    + "".join(f"train(model, optimizer)  # {i}\n" for i in range(n)),
    "methods": lambda n: HEAD
    + "class A:\n"
    + "".join(f"    def f{i}(self, x):\n        self.y{i} = self.f{i + 1}(x)\n        return self.y{i}\n" for i in range(n))
    + "a = A()\na.f0(1)\n",
    "methods that train": lambda n: HEAD
    + "class A:\n"
    + "".join(f"    def f{i}(self, x):\n        for x, y in loader:\n{body(OWN_STEP, 3)}\n"
    for i in range(n)),
    "models": lambda n: classes(n, lambda i: "nn.Module"),
    "models, each of the one before": lambda n: classes(n, lambda i: f"Net{i - 1}" if i else "nn.Module"),
    "models, all of one": lambda n: classes(n, lambda i: "Net0" if i else "nn.Module"),
    "models, each in the next": lambda n: HEAD + "".join(
        f"class Net{i}(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.inner = Net{i - 1}()\n"
        f"    def forward(self, x):\n        return self.inner(x)\n" for i in range(n)) + f"model = Net{n - 1}()\n",
    "bases of one class": lambda n: many(n, "class A{i}:\n    pass") + f"class B({row(n, 'A%')}):\n    pass\n",
    "layers": lambda n: network(n, "self.fc{i} = nn.Linear(4, 4)", applied="x = self.fc{i}(x)"),
    "layers, residual": lambda n: network(n, "self.fc{i} = nn.Linear(4, 4)", applied="x = x + self.fc{i}(x)"),
    "layers of a Sequential": lambda n: train().replace("nn.ReLU()", row(n, "nn.Linear(4, 4)"), 1),
    "layers of a list": lambda n: network(n, "self.layers.append(nn.Linear(4, 4))", applied="x = self.layers[{i}](x)"),
    "layers of a plain list": lambda n: network(n, "self.layers[{i}] = nn.Linear(4, 4)", applied="x = self.layers[{i}](x)"),
    "Sequentials in each other": lambda n: (
        train().replace("nn.ReLU()", "nn.Sequential(" * min(n, 90)
        + "nn.ReLU()"
        + ")" * min(n, 90), 1)
    ),
    "optimizers": lambda n: many(n, "opt{i} = torch.optim.SGD(model.parameters(), lr=0.1)"),
    "optimizers of one name": lambda n: many(n, "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\noptimizer.step()"),
    "optimizers, stepped in one loop": lambda n: many(n, "opt{i} = torch.optim.SGD(model.parameters(), lr=0.1)")
    + "for x, y in loader:\n    criterion(model(x), y).backward()\n"
    + "".join(f"    opt{i}.zero_grad()\n    opt{i}.step()\n" for i in range(n)),
    "schedulers": lambda n: many(n, "s{i} = torch.optim.lr_scheduler.StepLR(optimizer, 1)"),
    "parameter groups": lambda n: HEAD
    + f"opt = torch.optim.SGD([{row(n, 'dict(params=model[%].parameters(), lr=%)')}])\n",
    "losses": lambda n: many(n, "c{i} = nn.CrossEntropyLoss()\nl{i} = c{i}(model(x), y)"),
    "losses in one loop": lambda n: train(within=(f"l{i} = criterion(model(x), y)" for i in range(n))),
    "losses in one sum": lambda n: train(
        within=(*(f"l{i} = criterion(model(x), y)" for i in range(n)), "loss = " + row(n, "l%", " + "), "loss.backward()")
    ),
    "losses by hand": lambda n: many(n, "l{i} = ((model(x) - y) ** 2).mean()"),
    "backwards in one loop": lambda n: train(within=(f"criterion(model(x), y{i}).backward()" for i in range(n))),
    "steps in one loop": lambda n: train(within=(STEP[i % 4] for i in range(n))),
    "loops": lambda n: many(n, "for x, y in loader:\n" + body(STEP)),
    "loops in a function": lambda n: HEAD + "def train():\n" + (f"    for x, y in loader:\n{body(STEP, 2)}\n") * n + "train()\n",
    "loops that evaluate": lambda n: many(n, "model.eval()\nfor x, y in loader:\n    out = model(x)"),
    "loaders": lambda n: many(n, "l{i} = torch.utils.data.DataLoader(data, shuffle=True)\nfor x in l{i}:\n    f(x)"),
    "options": lambda n: "import argparse\nparser = argparse.ArgumentParser()\n" + "".join(
        f"parser.add_argument('--o{i}', default={i})\n" for i in range(n)) + "args = parser.parse_args()\n" + HEAD,
    "options, all read": lambda n: "import argparse\nparser = argparse.ArgumentParser()\n" + "".join(
        f"parser.add_argument('--o{i}', default={i})\n" for i in range(n)) + "args = parser.parse_args()\n" + HEAD
        + "".join(f"f(args.o{i})\n" for i in range(n)),
    "parts of a tuple": lambda n: train(within=[f"{row(n, 'a%')} = {row(n, 'f(x%)')}"]),
    "parts of a call's result": lambda n: train(within=[f"{row(n, 'a%')} = model(x)"]),
    "parts of a function's result": lambda n: HEAD + f"def f(x):\n    return {row(n, 'g(x, %)')}\n"
    + f"for x, y in loader:\n    {row(n, 'a%')} = f(x)\n" + body(STEP) + "\n",
    "arguments": lambda n: train(within=[f"x = f({row(n, 'g(x%)')})"]),
    "keywords": lambda n: train(within=[f"x = f({row(n, 'k%=g(x)')})"]),
    "parameters": lambda n: HEAD + f"def f({row(n, 'p%=%')}):\n" + body(f"g(p{i})" for i in range(n))
    + f"\nf({row(n, 'p%=model')})\n",
    "a dict of constants": lambda n: train(before=["table = {" + row(n, "'k%': %") + "}"], within=["x = table[x]"]),
    "a dict of layers": lambda n: (
        train(before=["table = {" + row(n, "'k%': nn.Linear(%, 1)")
        + "}"],
        within=["x = table[kind](x)"])
    ),
    "a list of constants": lambda n: train(before=[f"table = [{row(n, '%')}]"], within=["x = table[x]"]),
    "a list of layers": lambda n: (
        train(before=[f"table = [{row(n, 'nn.Linear(2, 2)')}]"],
        within=["for f in table:", "    x = f(x)"])
    ),
    "items that are set": lambda n: (
        train(before=["table = {}", *(f"table['k{i}'] = nn.Linear({i}, 1)" for i in range(n))],
        within=["x = table[kind](x)"])
    ),
    "items that are read": lambda n: train(before=["table = {}"], within=(f"x = table['k{i}'](x)" for i in range(n))),
    "tables of tables": lambda n: (
        train(before=[f"t{i} = [t{i - 1}, t{i - 1}]" for i in range(n)],
        within=[f"x = t{n - 1}[0][0](x)"])
    ),
    "attributes": lambda n: deep("x" + ".a" * n),
    "calls of calls": lambda n: deep("f" + "(x)" * n),
    "calls in calls": lambda n: deep("f(x, " * min(n, 90) + "0" + ")" * min(n, 90)),
    "methods of methods": lambda n: deep("x" + ".relu()" * n),
    "views of views": lambda n: deep("x" + ".view(x, 1)" * n),
    "items of items": lambda n: deep("x" + "[0]" * n),
    "a sum": lambda n: deep(row(n, "model(x)", " + ")),
    "a product of names": lambda n: deep(row(n, "x%", " * ")),
    "a conjunction": lambda n: train(within=[f"if {row(n, 'a%', ' and ')}:", "    x = f(x)"]),
    "negations": lambda n: deep("-" * n + "x"),
    "conditions in each other": lambda n: deep(row(n, "f%(x)", " if a else ")),
    "a comparison": lambda n: deep(row(n, "x%", " < ")),
    "comprehensions in each other": lambda n: deep("[" * min(n, 60) + "x" + "".join(f" for x in a{i}]" for i in range(min(n, 60)))),
    "loops of one comprehension": lambda n: deep("[x" + "".join(f" for x in a{i}" for i in range(n)) + "]"),
    "lambdas": lambda n: train(before=(f"f{i} = lambda x: f{i - 1}(x)" for i in range(n))),
    "decorators": lambda n: (
        HEAD
        + "def d(f):\n    def g(*a):\n        return f(*a)\n    return g\n"
        + "@d\n" * n
        + "def step(optimizer):\n    optimizer.step()\nstep(optimizer)\n"
    ),
    "imports": lambda n: "".join(f"import m{i}.n{i} as k{i}\n" for i in range(n)) + train(),
    "f-strings": lambda n: train(within=(f"print(f'{{x}} {{f(x)}} {i}')" for i in range(n))),
    "comments": lambda n: "# optimizer.step()\n" * n + train(),
    "ignores": lambda n: train(within=(f"x = f({i})  # modellint: ignore[no-zero-grad]" for i in range(n))),
    "strings": lambda n: train(before=(f"x = 'abc {i}' \"optimizer\"" for i in range(n))),
    "globals": lambda n: HEAD + "".join(f"def f{i}():\n    global x\n    x = nn.Linear(1, {i})\n    x(y)\n" for i in range(n)),
    "callers of one function": lambda n: HEAD + "def f(model, optimizer):\n    model(x)\n    optimizer.step()\n"
    + "".join(f"def g{i}(model, optimizer):\n    f(model, optimizer)\n" for i in range(n)),
    "files in a circle": lambda n: package(n, model_file(n)),
    "files that import a base": lambda n: package(
        n,
        lambda i: "from torch import nn\nfrom .m0 import Base\n"
        f"class {'Base' if i == 0 else f'Net{i}'}({'nn.Module' if i == 0 else 'Base'}):\n"
        "    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(4, 4)\n"
        "    def forward(self, x):\n        return self.helper(x)\n    def helper(self, x):\n        return self.fc(x)\n"
        "    def step(self, x):\n        self.optimizer.zero_grad()\n        self(x).backward()\n        self.optimizer.step()\n",
    ),
    "files by themselves": lambda n: package(n, lambda i: train()),
    "files that import stars": lambda n: package(n, lambda i: f"from .m{(i + 1) % n} import *\n" + train()),
}  # fmt: skip


def seconds(made: str | Mapping[str, str], rules: tuple, settings: Settings) -> float:
    with tempfile.TemporaryDirectory() as folder:
        files = made if isinstance(made, Mapping) else {"main.py": made}
        for name, text in files.items():
            Path(folder, name).write_text(text)
        paths = [Path(folder, name) for name in files]
        start = time.process_time()
        scripts = pipeline.read(paths, rules)
        found = list(pipeline.suspicions(scripts, rules))
        pipeline.report(found, scripts, None, rules, settings)
        return time.process_time() - start


def is_read(made: str | Mapping[str, str]) -> bool:
    if isinstance(made, Mapping):
        return True
    try:
        ast.parse(made)
    except (SyntaxError, RecursionError, MemoryError):
        return False
    return True


def lines(made: str | Mapping[str, str]) -> int:
    return made.count("\n") if isinstance(made, str) else sum(text.count("\n") for text in made.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="those whose name holds this")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--most", type=int, default=12800)
    options = parser.parse_args()
    settings = Settings()
    rules, marked = pipeline.reading(settings), 0
    seconds(train(), rules, settings)  # what is loaded and compiled once
    print(f"{'kind':36} {'n':>6} {'lines':>6} {'CPU s':>7} {'s/10k':>7} exponent")
    for kind, make in KINDS.items():
        if options.kinds and not any(part in kind for part in options.kinds):
            continue
        n, taken = 25, [0.0, 0.0]
        while (
            taken[-1] < options.seconds
            and n <= options.most
            and lines(make(n)) <= 3 * options.most
            and is_read(make(n))
        ):
            taken.append(seconds(make(n), rules, settings))
            n *= 2
        n //= 2
        *_, before, last = taken
        exponent = math.log2(last / before) if before > NOTICED / 4 and last > NOTICED else 0.0
        per = 10_000 * last / max(lines(make(n)), 1)
        bad = (exponent > STEEP and last > NOTICED) or (per > SLOW and last > SLOW)
        marked += bad
        print(
            f"{kind:36} {n:6} {lines(make(n)):6} {last:7.2f} {per:7.2f} {exponent:7.2f} {'  <--' if bad else ''}",
            flush=True,
        )
    return 1 if marked else 0


if __name__ == "__main__":
    sys.exit(main())

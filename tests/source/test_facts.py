from __future__ import annotations

from collections.abc import Callable

import pytest

from modellint.source.script import Script

Read = Callable[[str], Script]


def test_layers_are_in_the_order_of_forward(read: Read) -> None:
    script = read("""
        import torch
        from torch import nn
        import torch.nn.functional as F

        class Block(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm = nn.LayerNorm(width)
                self.mix = nn.Linear(width, width)

            def forward(self, x):
                return x + F.gelu(self.mix(self.norm(x)))

        class Net(nn.Module):
            def __init__(self, depth):
                super().__init__()
                self.head = nn.Linear(8, 2)
                self.blocks = nn.ModuleList([Block(8) for _ in range(depth)])
                parts = [nn.Linear(4, 8)]
                parts.append(nn.ReLU())
                self.stem = nn.Sequential(*parts)

            def forward(self, x):
                x = self.stem(x)
                for block in self.blocks:
                    x = block(x)
                return self.head(x.mean(1))
    """)
    net = next(model for model in script.models if model.name == "Net")
    assert [(layer.path, layer.short, layer.repeated) for layer in net.layers] == [
        ("stem.0", "Linear", False),
        ("stem.1", "ReLU", False),
        ("blocks[].norm", "LayerNorm", True),
        ("blocks[].mix", "Linear", True),
        ("blocks[]", "gelu", True),
        ("blocks[]", "+", True),
        ("", "mean", False),
        ("head", "Linear", False),
    ]
    assert [operation.short for operation in net.returns][:2] == ["Linear", "mean"]


def test_the_way_to_a_loss_leads_through_models_in_other_files(project: Callable[..., dict[str, Script]]) -> None:
    scripts = project(
        {
            "train.py": """
                from torch import nn
                from models import Net as Classifier

                net = nn.DataParallel(Classifier().cuda())
                criterion = nn.CrossEntropyLoss()
                out, features = net(x)
                loss = criterion(out.view(-1, 10), y)
            """,
            "models.py": """
                from torch import nn

                class Net(nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.head = nn.Sequential(nn.Linear(8, 10), nn.Softmax(dim=1))

                    def forward(self, x):
                        return self.head(x), x
            """,
        },
        "train.py",
    )
    (loss,) = scripts["train.py"].losses
    assert loss.kind == "CrossEntropyLoss"
    assert [operation.short for operation in loss.inputs[0]][:3] == ["view", "Softmax", "Linear"]


@pytest.mark.parametrize(
    "text",
    [
        "o = torch.optim.Adam(net.parameters(), lr=0.5)",
        "RATE = 0.5\no = torch.optim.Adam(net.parameters(), RATE)",
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--learning-rate", type=float, default=0.5)
        args = parser.parse_args()
        o = torch.optim.Adam(net.parameters(), lr=args.learning_rate)
        """,
        """
        @dataclass
        class Config:
            lr: float = 0.5

        config = Config()
        o = torch.optim.Adam(net.parameters(), lr=config.lr)
        """,
        "o = torch.optim.Adam([{'params': net.parameters(), 'lr': 0.5}])",
        """
        def make(lr=0.5):
            return torch.optim.Adam(net.parameters(), lr=lr)
        """,
        "scale = 8\no = torch.optim.Adam(net.parameters(), lr=scale * 0.0625)",
    ],
)
def test_learning_rates_are_read_through_constants_and_options(read: Read, text: str) -> None:
    (optimizer,) = read(text).optimizers
    assert [rate.value for rate in optimizer.rates] == [0.5]


def test_an_option_that_nothing_reads_is_known(read: Read) -> None:
    script = read("""
        parser = argparse.ArgumentParser()
        parser.add_argument("--clip", type=float, default=1.0)
        parser.add_argument("--lr", type=float, default=1.0)
        args = parser.parse_args()
        print(args.lr)
    """)
    assert {option.name: option.used for option in script.options} == {"clip": False, "lr": True}


def test_options_that_are_handed_on_together_count_as_read(read: Read) -> None:
    script = read("""
        parser = argparse.ArgumentParser()
        parser.add_argument("--clip", type=float, default=1.0)
        args = parser.parse_args()
        train(vars(args))
        trainer.fit(**args.__dict__)
        Trainer(args)
    """)
    assert [option.used for option in script.options] == [True]


def test_an_arm_that_is_never_executed_is_not_read(read: Read) -> None:
    script = read("""
        if True:
            first()
        else:
            second()
        if 0:
            third()
        elif given:
            fourth()
    """)
    assert [call.name for call in script.calls] == ["first", "fourth"]


def test_a_class_that_derives_from_sequential_holds_what_it_hands_on(read: Read) -> None:
    script = read("""
        from torch import nn

        class Double(nn.Sequential):
            def __init__(self, a, b):
                layers = [nn.Conv2d(a, b, 3), nn.BatchNorm2d(b)]
                super().__init__(*layers, nn.ReLU())

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = Double(3, 8)

            def forward(self, x):
                return self.body(x)
    """)
    model = next(model for model in script.models if model.name == "Net")
    layers = [(layer.short, layer.path) for layer in model.layers]
    assert layers == [("Conv2d", "body.0"), ("BatchNorm2d", "body.1"), ("ReLU", "body.2")]


def test_copies_in_a_circle_come_to_an_end(read: Read) -> None:
    """A copy of what another copy was made of, over and over: each would be an object of its own."""
    found = read("""
        import copy
        import torch

        def upgraded(data):
            for key in ["G", "D"]:
                old = data[key]
                options = copy.deepcopy(old.options)
                if key == "G":
                    options.inner = dict(options.get("inner", {}))
                new = type(old)(**options).eval()
                data[key] = copy.deepcopy(new)
            return data

        def project(G):
            G = copy.deepcopy(G)
            w = torch.zeros(4, requires_grad=True)
            optimizer = torch.optim.Adam([w])
            for _ in range(9):
                optimizer.zero_grad()
                G(w).sum().backward()
                optimizer.step()

        project(upgraded(torch.load("G.pt"))["G"])
    """)
    assert [loop.function for loop in found.training_loops] == ["project"]


def test_a_mask_tells_what_an_attention_may_see(read: Read) -> None:
    script = read("""
        import torch
        import torch.nn.functional as F
        from torch import nn

        def causal(n):
            rows = torch.arange(n)
            return rows[:, None] >= rows

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(64, 4)
                self.register_buffer("low", torch.full((9, 9), float("-inf")).triu(1))

            def forward(self, x, tokens, lengths, other):
                pad = tokens.eq(self.pad_id)
                self.attention(x, x, x, key_padding_mask=pad, attn_mask=self.low[: len(x), : len(x)])
                self.attention(x, x, x, pad | (torch.arange(9) >= lengths[:, None]))
                self.attention(x, x, x, key_padding_mask=other)
                F.scaled_dot_product_attention(x, x, x, attn_mask=causal(len(x)) & ~pad[:, None])
                F.scaled_dot_product_attention(x, x, x, torch.logical_not(torch.ones(9, 9, dtype=torch.bool).tril(-1)))
    """)
    assert [(mask.argument, [set(way) for way in mask.shown]) for mask in script.masks] == [
        ("key_padding_mask", [{"tokens"}]),
        ("attn_mask", [{"past"}]),
        ("key_padding_mask", [{"tokens"}]),
        ("attn_mask", [{"past", "tokens"}]),
        ("attn_mask", [{"onwards"}]),
    ]

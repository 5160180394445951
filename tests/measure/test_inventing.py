"""--synthetic-data: a data set that is not there is invented, and nothing is said of it."""

import pytest

from modellint import pipeline
from modellint.core import config

# The way in which torchvision's own say that they are not there: after the transforms were noted, before there are data.
TORCHVISION = """
    class VisionDataset:
        def __init__(self, root, train=True, transform=None):
            self.root, self.train, self.transform = root, train, transform

    class MNIST(VisionDataset):
        def __init__(self, root, train=True, transform=None):
            super().__init__(root, train, transform)
            raise RuntimeError("Dataset not found. You can use download=True to download it")

        def __len__(self):
            return len(self.data)

    class CIFAR10(MNIST):
        pass

    class SVHN(MNIST):
        pass

    class ImageFolder(MNIST):
        pass
"""
SCRIPT = """
    import torch
    from torch import nn
    from torchvision import datasets

    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    data = datasets.NAME("nowhere", train=True)
    assert torch.equal(before, torch.random.get_rng_state())
    images, labels = torch.as_tensor(data.data), torch.as_tensor(data.targets)
    print(len(data), images.shape, images.dtype, labels.unique().tolist())
    model = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(20):
        optimizer.zero_grad()
        rows = slice(step * 64, step * 64 + 64)
        nn.functional.cross_entropy(model(images[rows] / 255.0), labels[rows]).backward()
        optimizer.step()
"""


@pytest.fixture(scope="module")
def vision(project):
    (project.folder / "torchvision").mkdir()
    project.write("torchvision/__init__.py", "import torch\nfrom . import datasets\n")
    project.write("torchvision/datasets.py", TORCHVISION)
    return project


@pytest.mark.parametrize(("name", "shape"), [("MNIST", "60000, 28, 28"), ("CIFAR10", "50000, 32, 32, 3")])
def test_images_of_the_right_shape(vision, name, shape):
    run = vision.probe(SCRIPT.replace("NAME", name), synthetic_data=True, steps=10)
    assert (run.problem, len(run.steps), run.invented) == (None, 10, (name,))
    assert vision.output(run) == f"{shape.partition(',')[0]} torch.Size([{shape}]) torch.uint8 {list(range(10))}\n"
    report = pipeline.judge(run, config.load(vision.folder))
    void = {check.rule for check in report.unchecked if check.reason == "the data were invented"}
    assert {"class-imbalance", "collapsed-predictions", "loss-not-falling", "unscaled-features"} <= void
    assert not void & {finding.rule for finding in report.diagnostics}
    assert "frozen-weights" in {check.rule for check in report.passed}


def test_a_class_that_is_made_from_one_of_torchvision(vision):
    pairs = "class Pairs(datasets.CIFAR10):\n        pass\n\n    torch.manual_seed(0)"
    script = SCRIPT.replace("torch.manual_seed(0)", pairs).replace("datasets.NAME", "Pairs")
    run = vision.probe(script, synthetic_data=True, steps=10)
    assert (run.problem, len(run.steps), run.invented) == (None, 10, ("CIFAR10",))


def test_without_the_option_nothing_changes(vision):
    run = vision.probe(SCRIPT.replace("NAME", "MNIST"))
    assert run.problem.message.startswith("RuntimeError: Dataset not found")
    assert run.invented == ()


def test_what_cannot_be_invented_is_said_with_the_line(vision):
    run = vision.probe("import torch\n\nopen('nowhere/train.csv')\n", synthetic_data=True)
    assert run.problem.location.line == 3
    assert "No such file or directory: 'nowhere/train.csv'" in run.problem.message
    assert "and no others" in run.problem.message

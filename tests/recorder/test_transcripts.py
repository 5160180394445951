"""The targets of a CTC loss."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import record

TEXTS = [[1, 2, 2], [3, 1], [2, 3, 1, 4]]


def seen(texts, *, padded, frames=9, **options):
    lengths = torch.tensor([len(text) for text in texts])
    rows = [torch.tensor(text) for text in texts]
    targets = nn.utils.rnn.pad_sequence(rows, batch_first=True) if padded else torch.cat(rows)

    def train():
        net = nn.Linear(6, 5)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            scores = net(torch.randn(frames, len(texts), 6)).log_softmax(-1)
            F.ctc_loss(scores, targets, torch.full((len(texts),), frames), lengths, **options).backward()
            optimizer.step()

    found = record(train).steps[-1].transcripts
    return found.samples, found.labels, found.blanks, found.too_long


@pytest.mark.parametrize("padded", [True, False])
def test_targets_that_can_be_aligned(padded):
    assert seen(TEXTS, padded=padded) == (3, 9, 0, 0)


@pytest.mark.parametrize("padded", [True, False])
def test_the_blank_among_the_labels(padded):
    assert seen(TEXTS, padded=padded, blank=2) == (3, 9, 1, 0)  # two are at an end


def test_blanks_at_the_end_are_padding():
    assert seen([[1, 2, 0, 0], [3, 1, 2, 4]], padded=True) == (2, 8, 0, 0)


def test_a_repeated_label_takes_a_frame_more():
    assert seen(TEXTS, padded=True, frames=3, zero_infinity=True) == (3, 9, 0, 2)

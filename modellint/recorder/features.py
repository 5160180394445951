"""What enters the readout, as numbers: distribution, effective rank and distances between the samples of a batch."""

from __future__ import annotations

from typing import Any, Dict, Optional

import torch
from torch import Tensor

from .tensors import evenly

ROWS = 256


def sample(features: Tensor, channels: int = -1) -> Tensor:
    """At most 256 rows of `features` as a matrix on the host; `channels` is the dimension of the features."""
    matrix = features.detach().movedim(channels, -1)
    matrix = matrix.reshape(-1, matrix.shape[-1])
    return matrix[evenly(len(matrix), ROWS)].double().cpu()


def facts(matrix: Tensor) -> Dict[str, Any]:
    """The fields of Features for a float64 matrix of samples by features."""
    rows, width = matrix.shape
    low, high = matrix.aminmax()
    std, mean = torch.std_mean(matrix, correction=0)
    found: Dict[str, Any] = {"rows": rows, "width": width}
    found["values"] = {"mean": mean.item(), "std": std.item(), "min": low.item(), "max": high.item()}
    if rows > 1 and bool(matrix.isfinite().all()):
        distances = torch.nn.functional.pdist(matrix)
        found.update(
            rank=effective_rank(matrix), distance_min=distances.min().item(), distance_max=distances.max().item()
        )
    return found


def effective_rank(matrix: Tensor) -> Optional[float]:
    """exp of the entropy of the centred matrix's normalised singular values (Roy and Vetterli, 2007); 0 if all are."""
    centred = matrix - matrix.mean(0)
    gram = centred @ centred.T if len(centred) <= centred.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    share = values / values.sum()
    share = share[share > 1e-7]  # the Gram matrix squares the values: below this is rounding
    return float(torch.exp(-(share * share.log()).sum()).item()) if len(share) else 0.0

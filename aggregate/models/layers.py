"""Layers of stacked networks: functions of parameters with a leading axis of fits."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from aggregate.models.engine import Parameters
from aggregate.models.gated_score import GatedScore
from aggregate.models.packing import Batch
from aggregate.models.products import affine


def initial_affine(name: str, n_in: int, n_out: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw the weight (in, out) uniformly within 1 / sqrt(in), the bias being 0.

    The wider range of Glorot and Bengio costs out-of-fold AUC on bags of few patients and many features.
    """
    weight = (2 * torch.rand((n_in, n_out), generator=generator) - 1) / math.sqrt(n_in)
    return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(n_out)}


def initial_gated_score(name: str, width: int, gate: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw the parameters of `gated_scores`; the score has no bias, which a softmax would not feel."""
    score = initial_affine("score", gate, 1, generator)["score.weight"]
    return {**initial_affine(f"{name}.gate", width, 2 * gate, generator), f"{name}.score": score}


def apply_affine(parameters: Parameters, name: str, inputs: Tensor) -> Tensor:
    """Return inputs (fits, rows, in) times weight plus bias (fits, rows, out)."""
    return affine(inputs, parameters[f"{name}.weight"], parameters[f"{name}.bias"].unsqueeze(1))


def embed(parameters: Parameters, batch: Batch) -> Tensor:
    """Return relu(standardised features times weight plus bias) (fits, slices, hidden)."""
    return batch.project(parameters["embed.weight"], parameters["embed.bias"], is_rectified=True)


def gated_scores(parameters: Parameters, name: str, embedded: Tensor) -> Tensor:
    """Return (tanh(h V + c) * sigmoid(h U + e)) w of each row (fits, rows)."""
    gate = parameters[f"{name}.gate.weight"], parameters[f"{name}.gate.bias"].unsqueeze(1)
    scores: Tensor = GatedScore.apply(embedded, *gate, parameters[f"{name}.score"])  # type: ignore[no-untyped-call]
    return scores


def neighbours(batch: Batch, values: Tensor) -> Sequence[Tensor]:
    """Return the values (fits, slices, width) of the slice below and of the slice above, or a slice's own."""
    here = torch.arange(values.shape[1], device=values.device)
    return [
        values.gather(1, (here + steps).unsqueeze(2).expand_as(values))
        for steps in (batch.to_below, batch.to_above)
    ]

"""Numeric self-check of stage 2: a small fit compared with an independent loop over single bags."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import le
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aggregate.models.attention_mil import AttentionMIL
from aggregate.models.network import Shape
from aggregate.models.training import one_thread
from aggregate.store.code_versions import code_sha256
from pipeline.bags import Bag, BagHeader, Recipe, Source
from pipeline.doctor import Check, check_gpu, check_surroundings, kept_checks, tried
from pipeline.processor import has_native_bfloat16
from pipeline.provenance import software_versions

_D, _HIDDEN, _GATE, _CLASSES, _EPOCHS, _RATE, _SEED = 256, 128, 64, 3, 3, 1e-3, 4
_LEAST_COSINE = {"float32": 0.999, "bfloat16": 0.9}
"""Between the way of a weight here and in the loop. Measured: 1.000 and 0.998; with a scrambled gradient 0.02."""


def checks(folder: Path) -> Iterator[Check]:
    """Yield every check of stage 2."""
    yield from check_surroundings(folder)
    yield _threads()
    yield _gpu()
    yield from numeric_checks()


def require_right_numbers() -> None:
    """Make the numeric checks once per machine and versions.

    Raises:
        MachineError: one fails.
    """
    what = {
        "software": dict(software_versions()),
        "code": code_sha256("aggregate.doctor"),
        "gpu": _gpu().found,
    }
    kept_checks("aggregate", what, lambda: list(numeric_checks()))


def numeric_checks() -> Iterator[Check]:
    """Yield a fit beside the loop in each precision that this machine computes natively, on the CPU and on a GPU."""
    places = [("cpu", "float32"), *([("cpu", "bfloat16")] if has_native_bfloat16() else [])]
    if torch.cuda.is_available():
        places += [("cuda", "float32"), ("cuda", "bfloat16")]
    for device, precision in places:
        least = _LEAST_COSINE[precision]
        yield tried(
            f"a fit in {precision} on {device} beside a loop over single bags",
            partial(_fit_beside_loop, device, precision),
            partial(le, least),
            f"cosine between the ways of the weights {{:.4f}} (at least {least})",
            "do not trust attention models trained on this machine; install another release of torch, and report the problem",
        )


def _threads() -> Check:
    return Check(
        "threads",
        is_ok=True,
        found=f"torch uses {torch.get_num_threads()} here and one a fit; CPU capability "
        f"{torch.backends.cpu.get_cpu_capability()}",
    )


def _gpu() -> Check:
    if not torch.cuda.is_available():
        return check_gpu("", 0)
    properties = torch.cuda.get_device_properties(0)
    return check_gpu(properties.name, properties.total_memory)


def _fit_beside_loop(device: str, precision: str) -> float:
    """Return the lowest cosine, over the weights, between the way of a fit and that of the loop."""
    bags, labels = _drawn()
    model = AttentionMIL(
        hidden=_HIDDEN, gate=_GATE, dropout=0.0, epochs=_EPOCHS, learning_rate=_RATE, bags_per_step=5,
        random_state=_SEED,
    )  # fmt: skip
    model.set_params(precision=precision, device=device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = model.new_network(Shape(_D, 1, _CLASSES))
    begin = {name: value.double() for name, value in network.state_dict().items()}
    loop = _Loop(begin, model.weight_decay)
    with one_thread():
        end = loop.train(bags, labels)
    found = model.fit(bags, labels).network_.state_dict()
    pairs = ((found[name].cpu() - begin[name], end[name] - begin[name]) for name in begin)
    return min(float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)) for a, b in pairs)


@dataclass(frozen=True, eq=False)
class _Loop:
    """Gated attention in float64, one bag at a time, stepped by AdamW as PyTorch writes it without shortcuts."""

    begin: dict[str, Tensor]
    weight_decay: float

    def train(self, bags: Sequence[Bag], labels: NDArray[np.intp]) -> dict[str, Tensor]:
        """Return the parameters after the last epoch."""
        p = {name: value.clone().requires_grad_() for name, value in self.begin.items()}
        together = np.concatenate([bag.features for bag in bags]).astype(np.float64)
        mean, std = together.mean(axis=0), together.std(axis=0)
        rows = [torch.from_numpy((bag.features - mean) / std) for bag in bags]
        step = partial(
            torch.optim.AdamW, lr=_RATE, weight_decay=self.weight_decay, foreach=False, fused=False
        )
        optimizer = step(list(p.values()))
        order = np.random.default_rng(_SEED)
        for _ in range(_EPOCHS):
            for chosen in np.array_split(order.permutation(len(bags)), round(len(bags) / 5)):
                optimizer.zero_grad()
                for i in chosen.tolist():
                    loss = nn.functional.cross_entropy(
                        self._logits(p, rows[i])[None], torch.tensor([labels[i]])
                    )
                    (loss / len(chosen)).backward()
                optimizer.step()
        return {name: value.detach() for name, value in p.items()}

    @staticmethod
    def _logits(p: dict[str, Tensor], rows: Tensor) -> Tensor:
        h = (rows @ p["embed.0.weight"].T + p["embed.0.bias"]).clamp(min=0)
        signal, door = (h @ p["slice_score.gates.weight"].T + p["slice_score.gates.bias"]).chunk(2, dim=1)
        scores = (signal.tanh() * door.sigmoid()) @ p["slice_score.score.weight"][0]
        return p["classify.weight"] @ (scores.softmax(dim=0) @ h) + p["classify.bias"]


def _drawn() -> tuple[list[Bag], NDArray[np.intp]]:
    """Draw fifteen bags of 20 to 60 instances, balanced in their classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(15) % _CLASSES
    return [
        _bag(rng.normal(2, 3, size=(int(rng.integers(20, 61)), _D)), label) for label in labels.tolist()
    ], labels


def _bag(features: NDArray[np.float64], label: int) -> Bag:
    n = len(features)
    features[:, label::_CLASSES] += 1
    source = Source("drawn", "0", "0", "drawn", (1.0, 1.0, 1.0), n)
    recipe = Recipe("drawn", "none", "none", "0" * 64, "float32", {})
    header = BagHeader("drawn", ("-",), {}, ("drawn",), recipe, {"-": source}, "drawn", 1.0, 1)
    index = np.arange(n, dtype=np.int32)
    return Bag(
        header=header,
        features=features.astype(np.float32),
        phase=np.zeros(n, np.int8),
        slice_index=index,
        z_mm=index.astype(np.float32),
        tumour_area_mm2=np.ones(n, np.float32),
        lesion=np.ones(n, np.int16),
        scale=np.zeros(n, np.int8),
    )

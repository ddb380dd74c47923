"""Any aggregator of torchmil (extra `mil`) under our folds: one bag at a time, one against the rest.

torchmil's models have one logit, so each class gets a model of its own, and the sigmoids are made to sum to 1; two
classes need one model. What a model asks for beside the features is given to it: `adj`, the normalised adjacency
of neighbouring slices, and `coords`, phase and slice index. torchmil's mask is not needed for a single bag.
"""

import importlib
import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aggregate.models.base import Arrays, BagEstimator, Labels, Tune, codes_among, encode_labels, seed_of
from aggregate.models.packing import pack, scaling_of
from aggregate.models.parameters import Count, NotNegative, Positive
from pipeline.bags import Bag
from pipeline.errors import ConfigError

Inputs = Mapping[str, Tensor]
_KEPT_ALIVE: list[torch.library.Library] = []


@dataclass(kw_only=True, eq=False, repr=False)
class TorchMIL(BagEstimator):
    """A model of torchmil by the name of its class."""

    kind: ClassVar[str] = "torchmil"

    model: str = "ABMIL"
    """Name of a class in torchmil.models."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of its constructor beside in_shape."""
    epochs: Count = 30
    """Passes over the training bags at most."""
    patience: Count = 8
    """Epochs without a lower tuning loss after which training stops."""
    learning_rate: Positive = 3e-4
    """Step of AdamW."""
    weight_decay: NotNegative = 1e-2
    """Decoupled weight decay of AdamW."""

    def fit(self, bags: Sequence[Bag], labels: Labels, *, tune: Tune | None = None) -> Self:
        """Train one model for each class on `bags`, stopping early on `tune`."""
        self.classes_, codes = encode_labels(labels)
        self.mean_, self.std_ = _scaling(bags)
        inputs = self._inputs(bags)
        tune_inputs = self._inputs(tune[0]) if tune is not None else []
        tune_codes = codes_among(self.classes_, tune[1]) if tune is not None else np.array([], dtype=np.intp)
        self.modules_ = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.random_state))
            for code in self._modelled_classes():
                watched = list(zip(tune_inputs, tune_codes == code, strict=True))
                module = self._new_module(bags[0].features.shape[1])
                self.modules_.append(
                    self._train(module, list(zip(inputs, codes == code, strict=True)), watched)
                )
        return self

    def predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes)."""
        self.check_fitted()
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(0)  # some of the models draw samples even when they predict
            logits = [[_logit(module, x) for module in self.modules_] for x in self._inputs(bags)]
        shares = torch.tensor(logits, dtype=torch.float64).sigmoid().numpy()  # (bags, modelled classes)
        if len(self.classes_) == 2:
            return np.concatenate([1 - shares, shares], axis=1)
        shares = np.maximum(shares, 1e-12)
        normalised: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
        return normalised

    def learned_arrays(self) -> Arrays:
        """Return the scaling and the states of all models."""
        states = {
            f"{number}.{name}": value.numpy()
            for number, module in enumerate(self.modules_)
            for name, value in module.state_dict().items()
        }
        return {"mean": self.mean_.numpy(), "std": self.std_.numpy(), **states}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over the scaling and the states, strictly."""
        self.mean_, self.std_ = torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["std"])
        self.modules_ = []
        for number in range(len(self._modelled_classes())):
            module = self._new_module(len(self.mean_))
            prefix = f"{number}."
            module.load_state_dict(
                {
                    k.removeprefix(prefix): torch.from_numpy(v)
                    for k, v in arrays.items()
                    if k.startswith(prefix)
                }
            )
            self.modules_.append(module.eval())

    def _modelled_classes(self) -> list[int]:
        return [1] if len(self.classes_) == 2 else list(range(len(self.classes_)))

    def _new_module(self, n_features: int) -> torch.nn.Module:
        models = import_torchmil_models()
        found = getattr(models, self.model, None)
        if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
            raise ConfigError(f"torchmil has no model {self.model!r}; see torchmil.models for their names")
        module: torch.nn.Module = found(in_shape=(n_features,), **self.settings)
        # Defaults of torchmil's constructors are objects that all models share.
        return deepcopy(module)

    def _inputs(self, bags: Sequence[Bag]) -> list[Inputs]:
        """Return what a model may ask for, each with a first axis of one bag."""
        inputs: list[Inputs] = []
        for bag in bags:
            packed = pack([bag])
            places = torch.from_numpy(np.stack([bag.phase, bag.slice_index], axis=1).astype(np.int64))
            inputs.append(
                {
                    "X": ((packed.features - self.mean_) / self.std_).unsqueeze(0),  # (1, n, d)
                    "adj": _adjacency(packed.to_below).unsqueeze(0),  # (1, n, n)
                    "coords": places.unsqueeze(0),  # (1, n, 2)
                }
            )
        return inputs

    def _train(
        self,
        module: torch.nn.Module,
        pairs: Sequence[tuple[Inputs, bool]],
        tune: Sequence[tuple[Inputs, bool]],
    ) -> torch.nn.Module:
        optimizer = torch.optim.AdamW(
            module.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        n_yes = sum(bool(is_class) for _, is_class in pairs)
        weights = {True: len(pairs) / (2 * n_yes), False: len(pairs) / (2 * (len(pairs) - n_yes))}
        best, best_loss, waited = deepcopy(module.state_dict()), math.inf, 0
        for _ in range(self.epochs):
            module.train()
            for i in torch.randperm(len(pairs)).tolist():
                optimizer.zero_grad()
                (weights[bool(pairs[i][1])] * _loss(module, pairs[i][0], float(pairs[i][1]))).backward()
                optimizer.step()
            loss = _tune_loss(module, tune) if tune else -math.inf
            waited = 0 if loss < best_loss or not tune else waited + 1
            if not waited:
                best, best_loss = deepcopy(module.state_dict()), loss
            if waited >= self.patience:
                break
        module.load_state_dict(best)
        return module.eval()


def import_torchmil_models() -> ModuleType:
    """Import torchmil.models.

    Raises:
        ConfigError: the extra `mil` is not installed.
    """
    if importlib.util.find_spec("torchmil") is None:
        raise ConfigError("the model kind 'torchmil' needs the extra `mil`: pip install 'phasemil[mil]'")
    # torchmil imports torchmetrics, which imports torchvision; beside a CPU build of torch that fails for want of
    # two operator schemas (see extract.vision, which this stage must not import).
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT_ALIVE.append(library)
    return importlib.import_module("torchmil.models")


def _scaling(bags: Sequence[Bag]) -> tuple[Tensor, Tensor]:
    packed = pack(bags)
    scaling = scaling_of(packed, [np.arange(len(packed.sizes))])
    return scaling.mean[0], scaling.std[0]


def _adjacency(to_below: Tensor) -> Tensor:
    """Return D^-1/2 (A + I) D^-1/2 (n, n) of the slices, A joining neighbours."""
    n = len(to_below)
    joined = torch.eye(n)
    here = torch.arange(n)
    joined[here, here + to_below] = 1
    joined[here + to_below, here] = 1
    scale = joined.sum(dim=1).rsqrt()
    return scale[:, None] * joined * scale


def _asked_for(function: Callable[..., Any], inputs: Inputs) -> dict[str, Tensor]:
    names = inspect.signature(function).parameters
    return {name: value for name, value in inputs.items() if name in names}


def _loss(module: torch.nn.Module, inputs: Inputs, label: float) -> Tensor:
    compute = cast("Callable[..., tuple[Tensor, Mapping[str, Tensor]]]", module.compute_loss)
    _, losses = compute(torch.tensor([label]), **_asked_for(compute, inputs))
    return torch.stack([loss.mean() for loss in losses.values()]).sum()


def _logit(module: torch.nn.Module, inputs: Inputs) -> float:
    return float(module(**_asked_for(module.forward, inputs)).mean())


def _tune_loss(module: torch.nn.Module, tune: Sequence[tuple[Inputs, bool]]) -> float:
    module.eval()
    with torch.inference_mode():
        logits = torch.tensor([_logit(module, inputs) for inputs, _ in tune])
    target = torch.tensor([float(is_class) for _, is_class in tune])
    return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, target))

"""What the classifiers that learn from instances share: one network, trained by the engine."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch import Tensor

from aggregate.folds import Fold
from aggregate.models.base import Arrays, BagEstimator, Labels, Tune, codes_among, encode_labels, seed_of
from aggregate.models.engine import Fitted, Job, Network, Training, chunks_of_bags, train_jobs
from aggregate.models.packing import Batch, PackedBags, Scaling, draw_batch, pack
from aggregate.models.parameters import ClassWeight, Count, NotNegative, Positive, ShareBelowOne
from aggregate.models.threads import one_thread
from pipeline.bags import Bag

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(kw_only=True, eq=False, repr=False)
class MILEstimator(BagEstimator):
    """A network over the instances of a bag, trained by AdamW with early stopping on the tuning patients."""

    # Where it was trained is no part of a model: one of a GPU is also read where there is none.
    unsaved: ClassVar[frozenset[str]] = frozenset({"device"})

    epochs: Count = 60
    """Passes over the training bags at most."""
    patience: Count = 12
    """Epochs without a lower tuning loss after which training stops."""
    learning_rate: Positive = 1e-3
    """Step of AdamW."""
    weight_decay: NotNegative = 1e-2
    """Decoupled weight decay of AdamW."""
    bags_per_step: Count = 8
    """Bags per training step, about."""
    dropout: ShareBelowOne = 0.25
    """Share of the bag embedding set to zero while training."""
    class_weight: ClassWeight = "balanced"
    """Weigh classes inversely to their number of training patients, or not."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the matrix products over instances; parameters and losses are float32."""
    device: str = "cpu"
    """Where to compute: cpu, cuda, cuda:1, ..."""

    @abstractmethod
    def network(self) -> Network:
        """Return the network that the parameters describe."""

    def fit(self, bags: Sequence[Bag], labels: Labels, *, tune: Tune | None = None) -> Self:
        """Train on `bags`, stopping early on `tune`."""
        tune_bags, tune_labels = tune if tune is not None else ([], [])
        packed = self.pack(chain(bags, tune_bags))
        everyone = np.concatenate(
            [np.asarray(labels), np.asarray(tune_labels, dtype=np.asarray(labels).dtype)]
        )
        roles = np.split(np.arange(len(everyone)), [len(labels)])
        ((_, classes, fitted),) = self._fit_roles(
            packed, everyone, [(roles[0], roles[1])], [seed_of(self.random_state)]
        )
        self._take(classes, fitted)
        return self

    def fit_folds(
        self, bags: Sequence[Bag], labels: Labels, folds: Sequence[Fold], seeds: Sequence[int]
    ) -> Iterator[tuple[int, Self]]:
        """Yield the number of each fold with a fitted clone, trained many at a time."""
        roles = [(fold.train, fold.tune) for fold in folds]
        for number, classes, fitted in self._fit_roles(self.pack(bags), np.asarray(labels), roles, seeds):
            model = clone(self).set_params(random_state=seeds[number])
            model._take(classes, fitted)
            yield number, model

    def predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes)."""
        network = self.network()
        logits = self._forward(bags, lambda batch: network.logits(self.parameters_, batch)[0].double())
        return torch.cat([values for values, _ in logits]).softmax(dim=1).cpu().numpy()

    def per_instance(
        self, bags: Sequence[Bag], compute: Callable[[Batch], Tensor]
    ) -> list[NDArray[np.float64]]:
        """Cut what `compute` returns per instance, (1, slices, width), into one array per bag (n, width)."""
        return [
            values[0, is_real].double().cpu().numpy()
            for values, in_bag in self._forward(bags, compute)
            for is_real in in_bag[0]
        ]

    def per_instance_weights(
        self, bags: Sequence[Bag], compute: Callable[[Batch], Tensor]
    ) -> list[NDArray[np.float64]]:
        """Cut the weights that `compute` returns, (1, bags, slices), into one array per bag (n,)."""
        return [
            row[is_real].double().cpu().numpy()
            for weights, in_bag in self._forward(bags, compute)
            for row, is_real in zip(weights[0], in_bag[0], strict=True)
        ]

    def _forward(
        self, bags: Sequence[Bag], compute: Callable[[Batch], Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `compute` makes of a few bags at a time, and which slices are in which of them."""
        self.check_fitted()
        for (chosen,) in chunks_of_bags([np.arange(len(bags))]):
            with torch.inference_mode(), one_thread():
                packed = self.pack(bags[i] for i in chosen)
                batch = draw_batch(packed, [np.arange(len(chosen))], self.scaling_)
                values = compute(batch)
            yield values, batch.in_bag

    def learned_arrays(self) -> Arrays:
        """Return parameters and scaling."""
        tensors = {**self.parameters_, "scaling.mean": self.scaling_.mean, "scaling.std": self.scaling_.std}
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over parameters and scaling."""
        tensors = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
        self.scaling_ = Scaling(tensors.pop("scaling.mean"), tensors.pop("scaling.std"))
        self.parameters_ = tensors

    def pack(self, bags: Iterable[Bag]) -> PackedBags:
        """Lay bags end to end, as this model sees them."""
        return pack(bags, dtype=_DTYPES[self.precision], device=self.device)

    def _training(self) -> Training:
        return Training(
            epochs=self.epochs,
            patience=self.patience,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            bags_per_step=self.bags_per_step,
            dropout=self.dropout,
        )

    def _fit_roles(
        self,
        packed: PackedBags,
        labels: Labels,
        roles: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
        seeds: Sequence[int],
    ) -> Iterator[tuple[int, Labels, Fitted]]:
        jobs, all_classes = [], []
        for (train, tune), seed in zip(roles, seeds, strict=True):
            classes, train_codes = encode_labels(labels[train])
            codes = np.zeros(len(labels), dtype=np.intp)
            codes[train], codes[tune] = train_codes, codes_among(classes, labels[tune])
            jobs.append(Job(train, tune, codes, len(classes), seed, self.class_weight == "balanced"))
            all_classes.append(classes)
        for number, fitted in train_jobs(self.network(), self._training(), packed, jobs):
            yield number, all_classes[number], fitted

    def _take(self, classes: Labels, fitted: Fitted) -> None:
        self.classes_ = classes
        self.parameters_ = dict(fitted.parameters)
        self.scaling_ = fitted.scaling
        self.best_epoch_ = fitted.best_epoch

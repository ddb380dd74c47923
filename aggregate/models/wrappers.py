"""Estimators around another model: a grid, an ensemble, and calibration. All see train and tune only."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.model_selection import StratifiedKFold

from aggregate.chosen_bags import ChosenBags, JoinedBags
from aggregate.models import building
from aggregate.models.base import (
    Arrays,
    BagEstimator,
    Labels,
    Tune,
    codes_among,
    encode_labels,
    seed_of,
    softmax,
)
from aggregate.models.parameters import AtLeastTwo
from aggregate.models.plain import PLAIN_MODELS
from pipeline.bags import Bag
from pipeline.errors import ConfigError, FoldError
from pipeline.provenance import sha256_of_json


@dataclass(kw_only=True, eq=False, repr=False)
class Wrapper(BagEstimator):
    """A model with others of one kind inside, saved in folders below its own."""

    model: str = "attention_mil"
    """Kind of the model inside."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the model inside."""

    @classmethod
    def kinds_inside(cls) -> Mapping[str, type[BagEstimator]]:
        """Return what may stand inside, by kind."""
        return PLAIN_MODELS

    @classmethod
    def code_sha256(cls, parameters: Mapping[str, Any]) -> str:
        """Return the SHA-256 of code outside this package that the models inside need, or nothing."""
        inside = building.find(cls.kinds_inside(), str(parameters.get("model", cls.model)))
        given = dict(parameters.get("parameters", {}))
        choices = parameters.get("grid", {}).get("module", [given.get("module")])
        hashes = [inside.code_sha256({**given, "module": module}) for module in choices]
        return sha256_of_json(hashes) if any(hashes) else ""

    @property
    def is_savable(self) -> bool:  # type: ignore[override]  # of a wrapper it hangs on what is inside
        """Whether the model inside can be written without pickle."""
        return self.new_inner().is_savable

    def try_building(self, bag: Bag | None, n_classes: int) -> None:
        """Build the model inside, and what it builds."""
        self.new_inner().try_building(bag, n_classes)

    @abstractmethod
    def _fit(self, bags: Sequence[Bag], labels: Labels, tune: Tune | None) -> None:
        """Train on `bags` and `tune`; set `inner_` and `classes_`."""

    def predict_tune(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients, as the model inside may be judged by them."""
        return self.inner_.predict_tune(bags)

    def names_inside(self) -> Sequence[str]:
        """Return the folders of the models inside."""
        return ["inner"]

    def fitted_inside(self) -> Sequence[BagEstimator]:
        """Return the fitted models inside, in the order of their folders."""
        return [self.inner_]

    def set_fitted_inside(self, models: Sequence[BagEstimator]) -> None:
        """Take over what `fitted_inside` of a fitted model returned."""
        (self.inner_,) = models

    def save(self, folder: Path) -> None:
        """Write the wrapper, and the models inside below it."""
        super().save(folder)
        for name, model in zip(self.names_inside(), self.fitted_inside(), strict=True):
            model.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that `save` wrote."""
        model = super().load(folder)
        model.set_fitted_inside([building.load(cls.kinds_inside(), folder / n) for n in model.names_inside()])
        return model

    def new_inner(
        self, changes: Mapping[str, Any] | None = None, random_state: int | None = None
    ) -> BagEstimator:
        """Return the unfitted model inside, with some of its parameters changed, and a seed of its own if given.

        Raises:
            ConfigError: the kind, a parameter or a value is not allowed.
        """
        parameters = {**self.parameters, **(changes or {})}
        seed = seed_of(self.random_state if random_state is None else random_state)
        return building.build(self.kinds_inside(), self.model, parameters, seed)


@dataclass(kw_only=True, eq=False, repr=False)
class Grid(Wrapper):
    """The parameters of the lowest log loss on the tuning patients or on inner folds of the training patients."""

    kind: ClassVar[str] = "grid"

    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Parameter -> values to try, in all combinations."""
    chosen_on: Literal["tune", "inner folds"] = "tune"
    """Whose log loss decides. Inner folds of the training patients are more patients than the tuning ones, which then serve
    early stopping only; where there are no tuning patients they decide anyhow."""
    inner_folds: AtLeastTwo = 3
    """Number of those folds."""

    def try_building(self, bag: Bag | None, n_classes: int) -> None:
        """Build the model inside with each choice of its parameters."""
        for choice in self._choices():
            self.new_inner(choice).try_building(bag, n_classes)

    def _fit(self, bags: Sequence[Bag], labels: Labels, tune: Tune | None) -> None:
        """Train every combination on `bags` and keep the best; ties go to the first."""
        self.classes_, _ = encode_labels(labels)
        choices = self._choices()
        if tune is None or self.chosen_on == "inner folds":
            losses = [self._inner_loss(choice, bags, labels, tune) for choice in choices]
            best = int(np.argmin(losses))
            self.inner_ = self.new_inner(choices[best]).fit(bags, labels, tune=tune)
        else:
            fitted = [self.new_inner(choice).fit(bags, labels, tune=tune) for choice in choices]
            losses = [log_loss(model, *tune) for model in fitted]
            best = int(np.argmin(losses))
            self.inner_ = fitted[best]
        self.best_parameters_ = choices[best]

    def _predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes) of the best model."""
        return self.inner_.predict_proba(bags)

    def learned_arrays(self) -> Arrays:
        """Return the best parameters as JSON."""
        return {"best": np.frombuffer(json.dumps(self.best_parameters_).encode(), dtype=np.uint8)}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over the best parameters."""
        self.best_parameters_ = json.loads(arrays["best"].tobytes())

    def _choices(self) -> list[dict[str, Any]]:
        if not self.grid or not all(len(values) for values in self.grid.values()):
            raise ConfigError(f"grid over {self.model!r}: expected at least one value for each parameter")
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]

    def _inner_loss(
        self, choice: Mapping[str, Any], bags: Sequence[Bag], labels: Labels, tune: Tune | None
    ) -> float:
        _, counts = np.unique(labels, return_counts=True)
        n_folds = min(self.inner_folds, int(counts.min()))
        if n_folds < 2:
            raise FoldError("a grid chosen on inner folds needs two training patients of each class")
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed_of(self.random_state))
        total = 0.0
        for train, held_out in splitter.split(np.zeros(len(labels)), labels):
            model = self.new_inner(choice).fit(ChosenBags(bags, train), labels[train], tune=tune)
            total += len(held_out) * log_loss(model, ChosenBags(bags, held_out), labels[held_out])
        return total / len(labels)


@dataclass(kw_only=True, eq=False, repr=False)
class Ensemble(Wrapper):
    """Mean probabilities of several fits, each tuned on another share of the training and tuning patients together.

    The patients are dealt to the members, class by class: a member stops early on its share and learns from all others.
    So every patient is learned from, and no single early stop decides. A class of one patient is learned by every member.
    Attention and evidence are means over the members.
    """

    kind: ClassVar[str] = "ensemble"

    model: str = "phase_concat"
    """Kind of the models inside."""
    members: AtLeastTwo = 5
    """Number of fits, and of shares; the seed of each is its own."""

    @classmethod
    def kinds_inside(cls) -> Mapping[str, type[BagEstimator]]:
        """Return what may stand inside: a grid, too, so that each member chooses on its share."""
        return {**PLAIN_MODELS, Grid.kind: Grid}

    @property
    def weighs_slices(self) -> bool:
        """Whether every member has attention and evidence of single instances."""
        return all(model.weighs_slices for model in getattr(self, "members_", [self.new_inner()]))

    def _fit(self, bags: Sequence[Bag], labels: Labels, tune: Tune | None) -> None:
        """Fit every member on all but its share."""
        self.classes_, codes = encode_labels(labels)
        patients = bags
        if tune is not None:
            patients = JoinedBags(bags, tune[0])
            codes = np.concatenate([codes, codes_among(self.classes_, tune[1])])
        known = self.classes_[codes]
        seed = seed_of(self.random_state)
        share_of = _deal(codes, self.members, np.random.default_rng(seed))
        self.members_ = []
        for number, own in enumerate(np.random.SeedSequence(seed).generate_state(self.members)):
            rest, share = np.flatnonzero(share_of != number), np.flatnonzero(share_of == number)
            member = self.new_inner(random_state=int(own))
            member.fit(
                ChosenBags(patients, rest), known[rest], tune=(ChosenBags(patients, share), known[share])
            )
            self.members_.append(member)
        self.left_out_by_: dict[str, int] = {
            patients[i].patient_id: int(k) for i, k in enumerate(share_of) if k >= 0
        }

    def _predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the mean of the members' class probabilities (bags, classes)."""
        mean: NDArray[np.float64] = self._said(bags).mean(axis=0)
        return mean

    def predict_tune(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return what the member says of each patient that did not learn from him (bags, classes).

        Of a patient from whom all or none learned, and of everybody once the model has been saved and read, it is the mean.
        """
        said = self._said(bags)
        left_out = [self.left_out_by_.get(bag.patient_id) for bag in bags]
        means = said.mean(axis=0)
        return np.stack([means[i] if k is None else said[k, i] for i, k in enumerate(left_out)])

    def attention(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the weight of each instance (n,), summing to 1."""
        return self._means_of("attention", bags)

    def instance_evidence(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the evidence of each instance for each class (n, classes)."""
        return self._means_of("instance_evidence", bags)

    def learned_arrays(self) -> Arrays:
        """Return nothing: the members keep what they learned."""
        return {}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take nothing; who left out whom is about patients, and is not saved."""
        self.left_out_by_ = {}

    def names_inside(self) -> Sequence[str]:
        """Return the folders of the members."""
        return [f"member_{number}" for number in range(self.members)]

    def fitted_inside(self) -> Sequence[BagEstimator]:
        """Return the members."""
        return self.members_

    def set_fitted_inside(self, models: Sequence[BagEstimator]) -> None:
        """Take over the members."""
        self.members_ = list(models)

    def _said(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        return np.stack([member.predict_proba(bags) for member in self.members_])  # (members, bags, classes)

    def _means_of(self, name: str, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        self.check_fitted()
        per_member = [getattr(member, name)(bags) for member in self.members_]
        return [np.mean(of_bag, axis=0) for of_bag in zip(*per_member, strict=True)]


@dataclass(kw_only=True, eq=False, repr=False)
class Calibrated(Wrapper):
    """Temperature scaling (Guo et al. 2017): probabilities softmax(log p / T), T chosen on the tuning patients.

    Without tuning patients T is 1. The order of patients by any one class's odds stays nearly as it is.
    """

    kind: ClassVar[str] = "calibrated"

    @classmethod
    def kinds_inside(cls) -> Mapping[str, type[BagEstimator]]:
        """Return what may stand inside: anything but a calibrated model or a stack, which is calibrated."""
        return {**PLAIN_MODELS, Grid.kind: Grid, Ensemble.kind: Ensemble}

    def _fit(self, bags: Sequence[Bag], labels: Labels, tune: Tune | None) -> None:
        """Train the model inside, then choose the temperature of the lowest log loss on `tune`."""
        self.inner_ = self.new_inner().fit(bags, labels, tune=tune)
        self.classes_ = self.inner_.classes_
        self.temperature_ = 1.0
        if tune is not None:
            logs = _logs(self.inner_.predict_tune(tune[0]))
            self.temperature_ = best_temperature(logs, codes_among(self.classes_, tune[1]))

    def predict_tune(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return calibrated class probabilities of tuning patients (bags, classes)."""
        return softmax(_logs(self.inner_.predict_tune(bags)) / self.temperature_)

    def _predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return calibrated class probabilities (bags, classes)."""
        return softmax(_logs(self.inner_.predict_proba(bags)) / self.temperature_)

    def learned_arrays(self) -> Arrays:
        """Return the temperature."""
        return {"temperature": np.array([self.temperature_])}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over the temperature."""
        self.temperature_ = float(arrays["temperature"][0])


def _deal(codes: NDArray[np.intp], n_shares: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Deal patients to shares in turn, class by class, so that a class of two or more is in no share as a whole.

    scikit-learn's stratified folds warn of classes with fewer patients than folds.

    Returns:
        intp (n,), the share of each patient, -1 for the only one of a class.
    """
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    share_of = np.empty(len(codes), dtype=np.intp)
    share_of[order] = np.arange(len(codes)) % n_shares
    return np.where(np.bincount(codes)[codes] == 1, -1, share_of)


def best_temperature(logits: NDArray[np.float64], codes: NDArray[np.intp]) -> float:
    """Return the temperature between 1/20 and 20 of the lowest log loss of softmax(logits / T)."""
    rows = np.arange(len(codes))

    def loss(log_temperature: float) -> float:
        return float(-_logs(softmax(logits / np.exp(log_temperature)))[rows, codes].mean())

    found = minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def log_loss(model: BagEstimator, bags: Sequence[Bag], labels: Labels) -> float:
    """Return the mean of -log p of the true class."""
    codes = codes_among(model.classes_, labels)
    return float(-_logs(model.predict_proba(bags))[np.arange(len(codes)), codes].mean())


def _logs(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.maximum(probabilities, 1e-12))
    return logs

"""The estimator contract of stage 2, and what every classifier of bags shares."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from aggregate.models.parameters import Seed, checked_parameters
from aggregate.models.samples import BagCheck, BagShape, CheckedBags, check_any, checked_labels
from pipeline.bags import Bag
from pipeline.errors import FoldError, ResultsError

FORMAT = "phasemil-model"
VERSION = 3
_CONFIG = "config.json"
_ARRAYS = "arrays.safetensors"

Labels = NDArray[Any]
Tune = tuple[Sequence[Bag], Labels]
Arrays = Mapping[str, NDArray[Any]]


@runtime_checkable
class BagClassifier(Protocol):
    """A scikit-learn style classifier whose samples are bags."""

    classes_: Labels
    """Sorted distinct labels of the training patients, in the order of the probability columns."""

    def fit(self, bags: Sequence[Bag], labels: Labels, *, tune: Tune | None = None) -> Self:
        """Train on `bags`; `tune` serves early stopping and the choice of hyper-parameters only."""
        ...

    def predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes), rows summing to 1."""
        ...


@runtime_checkable
class Attends(Protocol):
    """A classifier that weighs the instances of a bag."""

    def attention(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the weight of each instance (n,), summing to 1."""
        ...


@runtime_checkable
class GivesEvidence(Protocol):
    """A classifier that lets every instance speak for the classes."""

    def instance_evidence(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the evidence of each instance for each class (n, classes), higher meaning more."""
        ...


@dataclass(kw_only=True, eq=False, repr=False)
class BagEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """What all classifiers of bags share: the check of what they are given, `predict`, and saving without pickle.

    A subclass is a dataclass whose fields are its parameters, so that the constructor only stores them; `fit` checks
    them as a configuration's are. Bags are checked as a model reads them, so that none is read twice for it.
    """

    kind: ClassVar[str]
    """Name of the model in a configuration."""
    unsaved: ClassVar[frozenset[str]] = frozenset()
    """Parameters that `save` leaves out."""

    is_savable: ClassVar[bool] = True
    """Whether a fitted model of this kind can be written without pickle."""

    random_state: Seed | None = None
    """Seed of everything random in `fit`; None draws one."""

    def fit(self, bags: Sequence[Bag], labels: Labels, *, tune: Tune | None = None) -> Self:
        """Train on `bags`; `tune` serves early stopping and the choice of hyper-parameters only.

        Raises:
            ConfigError: a parameter has a value that is not allowed.
            SampleError: bags and labels do not fit each other, a label is missing, or a bag cannot be used.
            FoldError: a class is missing among the training patients.
        """
        checked_parameters(type(self), self.kind, self.get_params(deep=False))
        self.__dict__.pop("bag_shape_", None)  # a fit that fails leaves no model behind
        check = BagCheck()
        known = checked_labels(bags, labels)
        tuning = None
        if tune is not None and (len(tune[0]) or len(tune[1])):
            tuning = CheckedBags(tune[0], check), checked_labels(*tune, role="tuning ")
        self._fit(CheckedBags(bags, check), known, tuning)
        self.bag_shape_: BagShape | None = check.shape
        return self

    def predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes), rows summing to 1.

        Raises:
            NotFittedError: scikit-learn's, before `fit`.
            SampleError: there is no bag, or one cannot be used or is unlike those of the training.
        """
        return self._predict_proba(self.checked(bags))

    def predict_tune(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients, from what did not learn from them (bags, classes).

        They serve thresholds and calibration. A model that learns from the tuning patients, too, says otherwise here than
        in `predict_proba`.
        """
        return self.predict_proba(bags)

    @abstractmethod
    def _fit(self, bags: Sequence[Bag], labels: Labels, tune: Tune | None) -> None:
        """Train on checked bags and labels; where there are no tuning bags, `tune` is None. Set `classes_`."""

    @abstractmethod
    def _predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes) of checked bags, after `fit`."""

    @abstractmethod
    def learned_arrays(self) -> Arrays:
        """Return what `fit` learned beside `classes_`, as arrays."""

    @abstractmethod
    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over what `learned_arrays` of a fitted model returned."""

    @classmethod
    def settings_names(cls, parameters: Mapping[str, Any]) -> list[str]:
        """Return the keys of a configuration that go into the parameter `settings`, for a kind that has one."""
        del parameters
        return []

    @classmethod
    def code_sha256(cls, parameters: Mapping[str, Any]) -> str:
        """Return the SHA-256 of code outside this package that decides a fit, or nothing."""
        del parameters
        return ""

    def try_building(self, bag: Bag | None, n_classes: int) -> None:
        """Build whatever `fit` would build from the parameters, to find out before any training that it can be built.

        Args:
            bag: one of those to come; None where there is none yet.
            n_classes: of the labels to come.

        Raises:
            ConfigError: a model inside or a network cannot be built.
        """
        del bag, n_classes

    @property
    def weighs_slices(self) -> bool:
        """Whether the model has attention and evidence of single instances, which the explanations need."""
        return isinstance(self, Attends) and isinstance(self, GivesEvidence)

    def predict(self, bags: Sequence[Bag]) -> Labels:
        """Return the most probable class of each bag."""
        probabilities = self.predict_proba(bags)
        return cast("Labels", self.classes_[probabilities.argmax(axis=1)])

    def checked(self, bags: Sequence[Bag]) -> Sequence[Bag]:
        """Return bags to predict, each checked as it is read.

        Raises:
            NotFittedError: scikit-learn's, before `fit`.
            SampleError: there is no bag.
        """
        self.check_fitted()
        check_any(bags)
        return CheckedBags(bags, BagCheck(self.bag_shape_))

    def check_fitted(self) -> None:
        """Raise scikit-learn's NotFittedError before `fit`."""
        check_is_fitted(self, "bag_shape_")

    def save(self, folder: Path) -> None:
        """Write the fitted model as config.json and arrays.safetensors.

        Raises:
            ResultsError: a model of this kind is not saved.
        """
        self.check_fitted()
        if not self.is_savable:
            raise ResultsError(
                f"a model of kind {self.kind!r} is not saved; take 'xgboost' for trees that are"
            )
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.learned_arrays().items()}
        # As bytes: safetensors' own writing of a file does not say which file a full disk refused.
        (folder / _ARRAYS).write_bytes(save(arrays))
        config = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "parameters": {k: v for k, v in self.get_params(deep=False).items() if k not in self.unsaved},
            "classes": self.classes_.tolist(),
            "code_sha256": self.code_sha256(self.get_params(deep=False)),
            "bags": None if self.bag_shape_ is None else asdict(self.bag_shape_),
        }
        (folder / _CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that `save` wrote.

        Raises:
            ResultsError: the folder holds no such model, one of another kind or version, or one whose code from
                outside this package has changed.
        """
        config = read_model_config(folder)
        if config["kind"] != cls.kind:
            raise ResultsError(f"{folder}: expected a model of kind {cls.kind!r}, found {config['kind']!r}")
        if config["code_sha256"] != cls.code_sha256(config["parameters"]):
            raise ResultsError(
                f"{folder}: the code of {config['parameters'].get('module')} is not the one this model was trained "
                "with; put back the file that was there, or run again"
            )
        model = cls(**config["parameters"])
        model.classes_ = np.asarray(config["classes"])
        bags = config["bags"]
        model.bag_shape_ = bags and BagShape(bags["n_features"], tuple(bags["phase_names"]))
        try:
            arrays = load((folder / _ARRAYS).read_bytes())
        except (OSError, SafetensorError) as error:
            raise ResultsError(f"{folder / _ARRAYS}: not the arrays of a saved model: {error}") from error
        model.set_learned_arrays(arrays)
        return model


def read_model_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a saved model.

    Raises:
        ResultsError: the folder holds no model, or one of another format or version.
    """
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{folder}: holds no saved model: {error}") from error
    found = (config.get("format"), config.get("version"))
    if found != (FORMAT, VERSION):
        raise ResultsError(
            f"{folder}: expected {FORMAT} version {VERSION}, found {found[0]} version {found[1]}"
        )
    return cast("dict[str, Any]", config)


def encode_labels(labels: Labels) -> tuple[Labels, NDArray[np.intp]]:
    """Return the sorted classes and the index of each label's class (n,).

    Raises:
        FoldError: fewer than two classes are left to tell apart.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(classes) < 2:
        raise FoldError(
            "expected at least two classes among the training patients, "
            f"found {len(classes)} class: {classes.tolist()}"
        )
    return classes, codes.astype(np.intp)


def codes_among(classes: Labels, labels: Labels) -> NDArray[np.intp]:
    """Return the index of each label in `classes` (n,).

    Raises:
        FoldError: a label is not among the classes of the training patients.
    """
    labels = np.asarray(labels)
    unseen = sorted(set(labels.tolist()) - set(classes.tolist()))
    if unseen:
        raise FoldError(
            f"no training patient has the class {unseen[0]!r} of a tuning patient; use fewer folds"
        )
    return np.searchsorted(classes, labels).astype(np.intp)


def balanced_weights(codes: NDArray[np.intp], n_classes: int) -> NDArray[np.float64]:
    """Return the weight of each class (n_classes,): n / (classes x patients of the class)."""
    counts = np.bincount(codes, minlength=n_classes)
    weights: NDArray[np.float64] = len(codes) / (n_classes * np.maximum(counts, 1))
    return weights


def seed_of(random_state: int | None) -> int:
    """Return the seed itself, or a fresh one for None."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else random_state


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn logits (..., classes) into probabilities."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return cast("NDArray[np.float64]", exponentials / exponentials.sum(axis=-1, keepdims=True))

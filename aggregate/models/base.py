"""The estimator contract of stage 2, and the base classes of all classifiers of bags."""

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

from aggregate.cohort.chosen import Chosen
from aggregate.cohort.patient import Reads
from aggregate.models.files_beside import with_files_beside
from aggregate.models.parameters import Seed, checked_parameters
from aggregate.models.samples import BagCheck, BagShape, check_any, checked_labels
from aggregate.models.views import Sample, SeenBags, View, as_patient
from pipeline.bags import Bag
from pipeline.errors import ConfigError, FoldError, ResultsError

FORMAT = "phasemil-model"
VERSION = 4
_CONFIG = "config.json"
_ARRAYS = "arrays.safetensors"

Labels = NDArray[Any]
Samples = Sequence[Sample]
TunePatients = tuple[Samples, Labels]
Tune = tuple[SeenBags, Labels]
Arrays = Mapping[str, NDArray[Any]]


@runtime_checkable
class Attends(Protocol):
    """A classifier with attention weights over the instances of a bag."""

    def attention(self, patients: Samples) -> list[NDArray[np.float64]]:
        """Return per patient the weight of each instance that the model uses (n,), summing to 1."""
        ...


@runtime_checkable
class GivesEvidence(Protocol):
    """A classifier with per-instance evidence (logits) for each class."""

    def instance_evidence(self, patients: Samples) -> list[NDArray[np.float64]]:
        """Return per patient the evidence of each instance for each class (n, classes); higher is more evidence."""
        ...


@dataclass(kw_only=True, eq=False, repr=False)
class PatientEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Base class of all classifiers of patients: `predict`, and saving without pickle.

    A subclass is a dataclass whose fields are its parameters, so that the constructor only stores them; `fit` checks
    them by the same rules as a configuration. A bag given instead of a patient is used as a patient with this one bag.
    """

    kind: ClassVar[str]
    """Name of the model in a configuration."""
    unsaved: ClassVar[frozenset[str]] = frozenset()
    """Parameters that `save` does not store."""
    task: ClassVar[str] = "classification"
    """What the kind predicts, as [aggregate] task names it."""
    not_read: ClassVar[frozenset[str]] = frozenset()
    """Parameters of a base class that this kind does not read, so that a configuration may not set them."""
    is_savable: ClassVar[bool] = True
    """Whether a fitted model of this kind can be written without pickle."""
    keeps_patients: ClassVar[bool] = False
    """Whether a saved model holds what was measured on single training patients, so that it must not leave the hospital."""

    random_state: Seed | None = None
    """Seed of all random numbers in `fit`; None draws a seed."""

    def fit(self, patients: Samples, labels: Labels, *, tune: TunePatients | None = None) -> Self:
        """Train on `patients`; `tune` is used for early stopping and the choice of hyper-parameters only.

        Raises:
            ConfigError: a parameter has a value that is not allowed, or names an unknown bag set, block or phase.
            SampleError: patients and labels differ in number, a label is missing, or a bag cannot be used.
            FoldError: a class is missing among the training patients.
        """
        checked_parameters(type(self), self.kind, self.get_params(deep=False))
        self.__dict__.pop("bag_shape_", None)  # a fit that fails leaves no model behind
        known = checked_labels(patients, labels)
        tuning = None
        if tune is not None and (len(tune[0]) or len(tune[1])):
            tuning = tune[0], checked_labels(*tune, role="tuning ")
        self.bag_shape_: BagShape | None = self._fit_patients(patients, known, tuning)
        return self

    def predict_proba(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities (patients, classes), rows summing to 1.

        Raises:
            NotFittedError: scikit-learn's, before `fit`.
            SampleError: there is no patient, or a bag cannot be used or differs in format from the training bags.
        """
        self.check_fitted()
        check_any(patients)
        return self._predict_patients(patients)

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients from what did not learn from them (patients, classes).

        They serve thresholds and calibration. They differ from `predict_proba` for a model that also learns from the tuning
        patients.
        """
        return self.predict_proba(patients)

    @classmethod
    def models_inside(
        cls, parameters: Mapping[str, Any]
    ) -> "list[tuple[type[PatientEstimator], Mapping[str, Any]]]":
        """Return every model that may be inside, through all depths, with its parameters.

        Raises:
            ConfigError: a kind is unknown.
        """
        del parameters
        return []

    @abstractmethod
    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> BagShape | None:
        """Train on checked labels, set `classes_`, and return the required shape of bags, if bags are read."""

    @abstractmethod
    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities (patients, classes), after `fit`."""

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Return whether there are data of each patient (patients,), without reading features from files."""
        return np.ones(len(patients), dtype=np.bool_)

    def seen_bags(self, patients: Samples) -> Sequence[Bag]:
        """Return the bags as this model uses them, for patients with data for it.

        Raises:
            ResultsError: a model of this kind reads no bags.
        """
        raise ResultsError(
            f"a model of kind {self.kind!r} reads no bags; {len(patients)} patients were given"
        )

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return the bag sets and covariates that a model with these parameters reads."""
        return Reads(
            bag_sets=frozenset({str(parameters.get("bags", ""))}),
            covariates=frozenset(parameters.get("covariates", ())),
        )

    @abstractmethod
    def learned_arrays(self) -> Arrays:
        """Return everything that `fit` learned except `classes_`, as arrays."""

    @abstractmethod
    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the arrays that `learned_arrays` of a fitted model returned."""

    def n_parameters(self) -> int | None:
        """Return how many numbers the fitted model has learned; None for trees, which have no such number."""
        return sum(a.size for a in self.learned_arrays().values() if np.issubdtype(a.dtype, np.floating))

    @classmethod
    def settings_names(cls, parameters: Mapping[str, Any]) -> list[str]:
        """Return the configuration keys that are collected in the parameter `settings`, for kinds that have it."""
        del parameters
        return []

    @classmethod
    def code_sha256(cls, parameters: Mapping[str, Any]) -> str:
        """Return the SHA-256 of code outside this package that a fit depends on; empty if there is none."""
        del parameters
        return ""

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the parts that `fit` builds from the parameters, to find errors before any training.

        Args:
            patients: the patients of the later fits; empty if not known yet.
            n_classes: number of classes of the later fits.

        Raises:
            ConfigError: an inner model or a network cannot be built, or a bag set, block, phase or covariate that the
                model reads does not exist.
        """
        del patients, n_classes

    @property
    def weighs_slices(self) -> bool:
        """Whether the model has attention and evidence per instance, which the explanations need."""
        return isinstance(self, Attends) and isinstance(self, GivesEvidence)

    def predict(self, patients: Samples) -> Labels:
        """Return the most probable class of each patient."""
        probabilities = self.predict_proba(patients)
        return cast("Labels", self.classes_[probabilities.argmax(axis=1)])

    def check_fitted(self) -> None:
        """Raise scikit-learn's NotFittedError before `fit`."""
        check_is_fitted(self, "bag_shape_")

    def save(self, folder: Path) -> None:
        """Write the fitted model as config.json and arrays.safetensors.

        Raises:
            ResultsError: a model of this kind cannot be saved.
        """
        self.check_fitted()
        if not self.is_savable:
            raise ResultsError(
                f"a model of kind {self.kind!r} cannot be saved; for trees that can be saved use 'xgboost'"
            )
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.learned_arrays().items()}
        # As bytes: an error of safetensors' own file writing, such as a full disk, does not name the file.
        (folder / _ARRAYS).write_bytes(save(arrays))
        config = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "parameters": {k: v for k, v in self.get_params(deep=False).items() if k not in self.unsaved},
            "classes": self.classes_.tolist(),
            "code_sha256": self.code_sha256(self.get_params(deep=False)),
            "bags": None if self.bag_shape_ is None else asdict(self.bag_shape_),
            "class_shares": getattr(self, "class_shares_", np.array([])).tolist(),
        }
        (folder / _CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that `save` wrote.

        Raises:
            ResultsError: the folder holds no such model, or a model of another kind or version, or the model's code
                outside this package has changed.
        """
        config = read_model_config(folder)
        if config["kind"] != cls.kind:
            raise ResultsError(f"{folder}: expected a model of kind {cls.kind!r}, found {config['kind']!r}")
        if config["code_sha256"] != cls.code_sha256(config["parameters"]):
            given = config["parameters"]
            file = given.get("module") or given.get("weights") or "a model inside"
            raise ResultsError(
                f"{folder}: the code or weights of {file} are not those this model was trained with; restore the "
                "earlier file, or run again"
            )
        model = cls(**config["parameters"])
        model.classes_ = np.asarray(config["classes"])
        bags = config["bags"]
        model.bag_shape_ = bags and BagShape.of_record(bags)
        try:
            arrays = load((folder / _ARRAYS).read_bytes())
        except (OSError, SafetensorError) as error:
            raise ResultsError(f"{folder / _ARRAYS}: not the arrays of a saved model: {error}") from error
        model.set_learned_arrays(arrays)
        if config["class_shares"]:
            model.class_shares_ = np.asarray(config["class_shares"])
        return model


@dataclass(kw_only=True, eq=False, repr=False)
class BagEstimator(PatientEstimator):
    """Base class of the classifiers that read one bag per patient: the choice of the bag set, blocks, phases and scales.

    Bags are checked while a model reads them, so that no bag is read twice. Patients without a bag in the set, or
    without any of the phases, are not used for training; they are predicted as the class shares of the training
    patients.
    """

    bags: str = ""
    """Name of the bag set ([aggregate.bags.NAME]); required if there are several."""
    features: tuple[str, ...] = ()
    """Feature blocks to look at, such as whole, lesion, rim; none for all that the bags have. ["measures"]: the
    measures alone; "radiomics": the radiomics of the phase, of bags made with [extract.radiomics]."""
    measures: bool = False
    """Add the physical measures of each instance (HU, mm) to its features."""
    phases: tuple[str, ...] = ()
    """Phases to use; an empty list uses all."""
    scales: tuple[str, ...] = ()
    """Scales to use ([extract.input] scales_mm); an empty list uses all."""
    join_scales: bool = False
    """Put the scales of a slice side by side as one instance, instead of an instance each. `features` then names a block at
    every scale; `lesion@tight` names it at one."""

    @abstractmethod
    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Train on bags as the model uses them and set `classes_`; without tuning bags `tune` is None."""

    @abstractmethod
    def _predict_proba(self, bags: SeenBags) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes) of bags as the model uses them, after `fit`."""

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Return whether each patient has a bag with at least one of the phases (patients,)."""
        view = self._view()
        seen = (view.has_bag(as_patient(patients[i])) for i in range(len(patients)))
        return np.fromiter(seen, dtype=np.bool_, count=len(patients))

    def seen_bags(self, patients: Samples) -> SeenBags:
        """Return the bags as this model uses them, each checked when it is read.

        Raises:
            NotFittedError: scikit-learn's, before `fit`.
            SampleError: there is no patient.
        """
        self.check_fitted()
        check_any(patients)
        return SeenBags(patients, self._view(), BagCheck(self.bag_shape_))

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Read the first bag, if there is one, as `fit` would."""
        if len(patients):
            seen = np.flatnonzero(self.sees(patients))
            if not len(seen):
                raise ConfigError(
                    f"a model of kind {self.kind!r} finds no data of any of the {len(patients)} patients; check its "
                    "`bags` and `phases`"
                )
            self._try_building(SeenBags(patients, self._view(), BagCheck())[int(seen[0])], n_classes)

    def _try_building(self, bag: Bag, n_classes: int) -> None:
        """Build the parts that `fit` builds for bags of this shape."""
        del bag, n_classes

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> BagShape | None:
        check = BagCheck()
        bags, known = self._seen_with_labels(patients, labels, check)
        if not len(known):
            raise FoldError(f"none of the {len(labels)} training patients has a bag that this model reads")
        tuning = None if tune is None else self._seen_with_labels(*tune, check)
        lost = sorted(set(labels.tolist()) - set(known.tolist()))
        if lost:
            raise FoldError(
                f"no training patient of class {lost[0]} has a bag that a model of kind {self.kind!r} reads"
            )
        self._fit(bags, known, tuning if tuning is not None and len(tuning[1]) else None)
        counts = np.array([np.sum(known == name) for name in self.classes_], dtype=np.float64)
        if getattr(self, "class_weight", "none") == "balanced":
            counts = np.ones_like(counts)  # as the model weighs the classes of the patients that it sees
        self.class_shares_ = counts / counts.sum()
        return check.shape

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        seen = self.sees(patients)
        if seen.all():
            return self._predict_proba(self.seen_bags(patients))
        result = np.tile(self.class_shares_, (len(patients), 1))
        if seen.any():
            result[seen] = self._predict_proba(self.seen_bags(Chosen(patients, np.flatnonzero(seen))))
        return result

    def _seen_with_labels(
        self, patients: Samples, labels: Labels, check: BagCheck
    ) -> tuple[SeenBags, Labels]:
        seen = self.sees(patients)
        if seen.all():
            return SeenBags(patients, self._view(), check), labels
        numbers = np.flatnonzero(seen)
        return SeenBags(Chosen(patients, numbers), self._view(), check), labels[numbers]

    def _view(self) -> View:
        names = (tuple(self.phases), tuple(self.scales))
        return View(self.bags, tuple(self.features), self.measures, *names, self.join_scales)


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
    return cast("dict[str, Any]", with_files_beside(config, folder))


def seed_of(random_state: int | None) -> int:
    """Return the seed, or a new random seed for None."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else random_state


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn logits (..., classes) into probabilities."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return cast("NDArray[np.float64]", exponentials / exponentials.sum(axis=-1, keepdims=True))

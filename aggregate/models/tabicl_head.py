"""TabICL, a network that has learned to learn tables, on one vector per patient: `kind = "tabicl"`.

    [aggregate.model.tabicl]
    kind = "tabicl"
    weights = "tabicl-classifier-v2-20260212.ckpt"    # relative to the configuration

Code (the extra `tabicl`) and published weights have the licence BSD-3-Clause. The weights are a file that is obtained
once from its authors (the hub repository jingang/TabICL); nothing is fetched here. The package reads it with
`torch.load(weights_only=True)`, which runs no code that a file holds.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from aggregate.models.base import Arrays, BagEstimator, Labels, Tune, seed_of
from aggregate.models.class_codes import encode_labels
from aggregate.models.contract import said
from aggregate.models.parameters import ClassWeight, Count
from aggregate.models.pooling import pool_phases, pool_phases_and_differences
from aggregate.models.training import one_thread
from aggregate.models.views import CovariateColumns, SeenBags
from pipeline.bags import Bag
from pipeline.errors import ConfigError
from pipeline.provenance import sha256_of_file

Floats = NDArray[np.float64]
_SOURCE = "the hub repository jingang/TabICL"
_LEARNED = ("filling", "mean", "std", "axes", "covariate_filling", "context", "codes")


class _Head(Protocol):
    """What is used of TabICL's classifier."""

    def fit(self, table: Floats, codes: NDArray[np.intp]) -> Self: ...
    def predict_proba(self, table: Floats) -> NDArray[np.float32]: ...


@dataclass(kw_only=True, eq=False, repr=False)
class TabICL(BagEstimator):
    """TabICL, not trained but shown the training patients (Qu et al.: TabICL, a tabular foundation model, ICML 2025).

    It reads the mean slice of each phase, standardised, and the covariates; the training mean stands in for what is
    missing. Its time grows with the columns, so that those of the bags become principal components of the training
    patients. A saved model holds these components of every training patient, since the network learns from nothing else.
    """

    kind: ClassVar[str] = "tabicl"
    keeps_patients: ClassVar[bool] = True

    weights: str = ""
    """Path of a checkpoint of TabICL, relative to the configuration, such as tabicl-classifier-v2-20260212.ckpt."""
    differences: bool = True
    """Add the difference between every two phases before the principal components; washout is one."""
    components: Count = 32
    """Largest number of principal components; at most as many as training patients are used. Chosen by time, not by
    results: a fit of 96 patients takes about 7 s of one core with 32, and twice that with 64."""
    n_estimators: Count = 8
    """Times that the table is shown, with columns, classes and scaling changed; the logits are averaged."""
    class_weight: ClassWeight = "balanced"
    """Whether probabilities are divided by the class shares of the training patients, as if classes were equally common."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table used in addition to the bags, as they are, beside the principal components."""

    @classmethod
    def code_sha256(cls, parameters: Mapping[str, Any]) -> str:
        """Return the SHA-256 of the weights, so that other weights lead to a new fit; empty if there is no such file."""
        path = Path(str(parameters.get("weights", "")))
        return sha256_of_file(path) if path.is_file() else ""

    def vectors(self, bags: Sequence[Bag]) -> Floats:
        """Return the means over the known slices of each phase, NaN where there is none (bags, phases x d, or more)."""
        pool = pool_phases_and_differences if self.differences else pool_phases
        return pool(bags, ["mean"])

    def _try_building(self, bag: Bag, n_classes: int) -> None:
        """Pool one bag, and show a table of two patients per class to the network, which finds faults of its file."""
        self.vectors([bag])
        codes = np.arange(2 * n_classes) % n_classes
        self._shown(np.eye(2 * n_classes), codes, seed=0)

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Show the training patients to the network; `tune` is not used."""
        del tune
        classes, self.codes_ = encode_labels(labels)
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, bags.patients)
        self._learn_columns(self.vectors(bags), self.covariate_columns_.columns(bags.patients))
        self.context_ = self._table(bags)
        self.seed_ = seed_of(self.random_state) % 2**31
        self.head_ = self._shown(self.context_, self.codes_, self.seed_)
        self.classes_ = classes

    def _predict_proba(self, bags: SeenBags) -> Floats:
        """Return class probabilities (bags, classes)."""
        if not hasattr(self, "head_"):  # of a model that was saved
            self.head_ = self._shown(self.context_, self.codes_, self.seed_)
        with one_thread():
            raw = np.asarray(self.head_.predict_proba(self._table(bags)), dtype=np.float64)
        if self.class_weight == "balanced":
            raw = raw / np.bincount(self.codes_)
        probabilities: Floats = raw / raw.sum(axis=1, keepdims=True)
        return probabilities

    def learned_arrays(self) -> Arrays:
        """Return what makes columns of a bag, and the columns and class codes of the training patients."""
        learned = {name: getattr(self, f"{name}_") for name in _LEARNED}
        return {**learned, "seed": np.array([self.seed_]), "covariates": self.covariate_columns_.as_array()}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the columns; the network is read when it is first asked."""
        for name in _LEARNED:
            setattr(self, f"{name}_", arrays[name])
        self.seed_ = int(arrays["seed"][0])
        self.covariate_columns_ = CovariateColumns.of_array(arrays["covariates"])

    def _learn_columns(self, vectors: Floats, covariates: Floats) -> None:
        """Learn how to fill, standardise and turn vectors (n, d) into components, and how to fill covariates (n, c)."""
        imputer, scaler = SimpleImputer(keep_empty_features=True), StandardScaler()
        standardised = scaler.fit_transform(imputer.fit_transform(vectors))
        self.filling_, self.mean_, self.std_ = imputer.statistics_, scaler.mean_, scaler.scale_
        n_patients, n_columns = vectors.shape
        self.axes_ = np.eye(n_columns)
        if n_columns > self.components:
            pca = PCA(min(self.components, n_patients), svd_solver="full")
            # If every column is constant, PCA divides by a variance of 0 for the explained variance, which is not used.
            with np.errstate(invalid="ignore"):
                self.axes_ = np.ascontiguousarray(pca.fit(standardised).components_.T)
        self.covariate_filling_ = np.zeros(covariates.shape[1])
        if covariates.shape[1]:
            self.covariate_filling_ = SimpleImputer(keep_empty_features=True).fit(covariates).statistics_

    def _table(self, bags: SeenBags) -> Floats:
        """Return the columns that the network sees (bags, components + covariates)."""
        vectors = self.vectors(bags)
        components = (
            (np.where(np.isnan(vectors), self.filling_, vectors) - self.mean_) / self.std_ @ self.axes_
        )
        covariates = self.covariate_columns_.columns(bags.patients)
        # The package leaves out a column that no patient of a prediction has, which must not hang on who is beside whom.
        filled = np.where(np.isnan(covariates), self.covariate_filling_, covariates)
        return np.hstack([components, filled])

    def _shown(self, table: Floats, codes: NDArray[np.intp], seed: int) -> _Head:
        """Return TabICL's classifier with the weights of the file, shown a table (n, columns) with class codes (n,).

        Raises:
            ConfigError: the extra is not installed, or the file is missing or holds no network for these classes.
        """
        path = Path(self.weights)
        if path.suffix != ".ckpt" or not path.is_file():
            raise ConfigError(
                f"model 'tabicl': expected `weights` to name a file *.ckpt, found {self.weights!r}; nothing is fetched: "
                f"obtain tabicl-classifier-v2-20260212.ckpt from {_SOURCE}"
            )
        head = _classifier()(
            n_estimators=self.n_estimators,
            # Without it every prediction would compute the training patients again.
            kv_cache=True,
            model_path=path,
            allow_auto_download=False,
            device="cpu",
            random_state=seed,
        )
        try:
            with one_thread():
                return head.fit(table, codes)
        except Exception as error:  # what the package raises for a wrong file cannot be listed
            raise ConfigError(f"{path}: TabICL cannot use this checkpoint: {said(error)}") from error


def _classifier() -> Callable[..., _Head]:
    """Return the class TabICLClassifier, with the network of the hub switched off before the package is read."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        from tabicl import TabICLClassifier  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise ConfigError(
            f"a model of kind 'tabicl' needs the extra `tabicl`: pip install 'phasemil[tabicl]' ({error})"
        ) from error
    return cast("Callable[..., _Head]", TabICLClassifier)

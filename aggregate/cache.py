"""Fits by content: what was fitted once, on the same patients with the same settings, is never fitted again."""

import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

import aggregate.models
from aggregate.folds import Fold
from aggregate.models.base import BagEstimator
from pipeline.files import naming, partial_of
from pipeline.provenance import sha256_of_file, sha256_of_json

_PREDICTIONS = "predictions.npz"
_DAMAGED = (ValueError, KeyError, EOFError, BadZipFile, zlib.error, TypeError)
"""What numpy raises at a file that is none of its own, or cut off."""
MODEL_FOLDER = "model"


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fitted model says of the patients it did not train on.

    Attributes:
        test: float64 (n_test, classes), rows sum to 1.
        tune: float64 (n_tune, classes), for thresholds and calibration.
    """

    test: NDArray[np.float64]
    tune: NDArray[np.float64]


def fit_key(
    *,
    model: Mapping[str, Any],
    seed: int,
    fold: Fold,
    contents: Sequence[str],
    labels: NDArray[np.intp],
    classes: Sequence[str],
) -> str:
    """Hash everything that decides a fit: the model, the code, the patients by content and role, the labels.

    `contents` names what a patient brings (content key of the bag, covariates), in the order of the fold's
    indices; `model` its kind, its parameters, and the hash of its code from outside this package.
    """
    roles = {role: [contents[i] for i in getattr(fold, role)] for role in ("train", "tune", "test")}
    known = [int(labels[i]) for i in (*fold.train, *fold.tune)]
    what = [dict(model), seed, roles, known, list(classes), code_sha256()]
    return sha256_of_json(what)[:32]


@cache
def code_sha256() -> str:
    """Return the hash of the code of all models."""
    folder = Path(aggregate.models.__file__).parent
    return sha256_of_json([sha256_of_file(path) for path in sorted(folder.rglob("*.py"))])


class FitCache:
    """A folder of fits, one sub-folder per key, each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> Fit | None:
        """Return the fit of a key, or None where there is none; a damaged one is removed, to be fitted anew."""
        path = self.folder / key / _PREDICTIONS
        if not path.exists():
            return None
        try:
            # Opened here: numpy leaves a file that is no archive open.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                return Fit(test=arrays["test"], tune=arrays["tune"])
        except _DAMAGED:
            shutil.rmtree(self.folder / key)
            return None

    def holds(self, key: str) -> bool:
        """Say whether there is a fit of a key, without reading it."""
        return (self.folder / key / _PREDICTIONS).is_file()

    def write(self, key: str, fit: Fit, model: BagEstimator) -> None:
        """Keep a fit, and the model where it can be written without pickle."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = partial_of(self.folder / key)
        try:
            with naming(self.folder / key, instead_of=partial):
                partial.mkdir()
                np.savez(partial / _PREDICTIONS, test=fit.test, tune=fit.tune)
                if model.is_savable:
                    (partial / MODEL_FOLDER).mkdir()
                    model.save(partial / MODEL_FOLDER)
                if not (self.folder / key).exists():
                    partial.replace(self.folder / key)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def model_folder(self, key: str) -> Path:
        """Return where the model of a key lies, if it could be written."""
        return self.folder / key / MODEL_FOLDER

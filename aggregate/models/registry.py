"""Models by their kind in a configuration."""

from collections.abc import Mapping
from pathlib import Path

from aggregate.models import building
from aggregate.models.average import Average
from aggregate.models.base import PatientEstimator
from aggregate.models.calibrated import Calibrated
from aggregate.models.either import Either
from aggregate.models.ensemble import Ensemble
from aggregate.models.halving import Halving
from aggregate.models.plain import PLAIN_MODELS
from aggregate.models.stack import Stack
from aggregate.models.wrappers import Grid
from aggregate.outcomes.models.kinds import OUTCOME_MODELS

MODELS: Mapping[str, type[PatientEstimator]] = {
    **PLAIN_MODELS,
    **{model.kind: model for model in (Grid, Ensemble, Calibrated, Average, Either, Stack, Halving)},
}
"""Name in a configuration -> class."""
_OF_EVERY_TASK = {**MODELS, **OUTCOME_MODELS}


def build_model(kind: str, parameters: Mapping[str, object], random_state: int) -> PatientEstimator:
    """Return the unfitted model of a kind with the given parameters.

    Raises:
        ConfigError: the kind or a parameter is unknown (the message gives the nearest valid name), or a value is
            not allowed.
    """
    return building.build(_OF_EVERY_TASK, kind, parameters, random_state)


def model_class(kind: str) -> type[PatientEstimator]:
    """Return the class of a kind.

    Raises:
        ConfigError: the kind is unknown; the message gives the nearest valid kind.
    """
    return building.find(_OF_EVERY_TASK, kind)


def may_weigh_slices(kind: str, parameters: Mapping[str, object]) -> bool:
    """Return whether a model has attention and per-slice evidence; True for a user's network before it is fitted.

    Raises:
        ConfigError: the model cannot be built.
    """
    return build_model(kind, parameters, random_state=0).weighs_slices


def load_model(folder: Path) -> PatientEstimator:
    """Read a fitted model of any kind that `save` wrote.

    Raises:
        ResultsError: the folder holds no model, or one of another format or version.
    """
    return building.load(_OF_EVERY_TASK, folder)

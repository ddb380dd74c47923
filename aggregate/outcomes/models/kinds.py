"""All models of outcomes by kind."""

from collections.abc import Mapping
from types import ModuleType

from aggregate.models.base import PatientEstimator
from aggregate.outcomes.models import boosted, constant, linear, networks
from aggregate.outcomes.models.base import OutcomeEstimator


def _kinds(*modules: ModuleType) -> Mapping[str, type[PatientEstimator]]:
    held = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    found = [one for one in held if issubclass(one, OutcomeEstimator) and "kind" in vars(one)]
    return {one.kind: one for one in found}


OUTCOME_MODELS: Mapping[str, type[PatientEstimator]] = _kinds(linear, boosted, networks, constant)
"""Name in a configuration -> class."""

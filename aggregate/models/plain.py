"""All models of this package that do not wrap another model, by kind."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module

import aggregate.models
from aggregate.models.base import PatientEstimator

_HOLD_OTHERS = frozenset(
    {
        "plain",
        "registry",
        "wrappers",
        "ensemble",
        "calibrated",
        "several",
        "average",
        "either",
        "stack",
        "halving",
        "building",
        "described",
    }
)
"""Modules that build, list or wrap models; they rest on this one."""


def _kinds() -> Mapping[str, type[PatientEstimator]]:
    """Collect the model classes, in the order of the module names."""
    found: dict[str, type[PatientEstimator]] = {}
    for module in pkgutil.iter_modules(aggregate.models.__path__):
        if module.name in _HOLD_OTHERS:
            continue
        held = vars(import_module(f"aggregate.models.{module.name}")).values()
        found |= {
            one.kind: one
            for one in held
            if isinstance(one, type) and issubclass(one, PatientEstimator) and "kind" in vars(one)
        }
    return found


PLAIN_MODELS: Mapping[str, type[PatientEstimator]] = _kinds()
"""Name in a configuration -> class."""

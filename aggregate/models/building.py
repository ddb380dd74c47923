"""Building and loading models from a table of kinds; every mistake is named with the nearest valid name."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from aggregate.models.base import BagEstimator, read_model_config
from pipeline.errors import ConfigError

Kinds = Mapping[str, type[BagEstimator]]


def build(kinds: Kinds, kind: str, parameters: Mapping[str, object], random_state: int) -> BagEstimator:
    """Return the unfitted model of a kind with the given parameters.

    Raises:
        ConfigError: the kind or a parameter is unknown (the nearest valid name is given), or a value is not
            allowed.
    """
    model = find(kinds, kind)
    own = _settable(model)
    of_settings = model.settings_names(parameters)
    for name in parameters:
        if name not in {*own, *of_settings}:
            raise ConfigError(
                f"model {kind!r}: unknown parameter {name!r}; {_nearest(name, [*own, *of_settings])}"
            )
    given = {name: value for name, value in parameters.items() if name in own}
    settings = {name: value for name, value in parameters.items() if name not in own}
    if settings:
        given["settings"] = {**dict(given.get("settings", {})), **settings}  # type: ignore[call-overload]
    try:
        checked = _schema(model).model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"model {kind!r}: {'; '.join(_explain(e) for e in error.errors())}") from None
    return model(random_state=random_state, **{name: getattr(checked, name) for name in given})


def find(kinds: Kinds, kind: str) -> type[BagEstimator]:
    """Return the class of a kind.

    Raises:
        ConfigError: the kind is unknown; the nearest valid one is named.
    """
    if kind not in kinds:
        raise ConfigError(f"unknown model {kind!r}; {_nearest(kind, kinds)}")
    return kinds[kind]


def load(kinds: Kinds, folder: Path) -> BagEstimator:
    """Read a fitted model of any kind that its `save` wrote.

    Raises:
        ResultsError: the folder holds no model, or one of another format or version.
    """
    return find(kinds, read_model_config(folder)["kind"]).load(folder)


def _settable(model: type[BagEstimator]) -> list[str]:
    return [field.name for field in fields(model) if field.name != "random_state"]


def _schema(model: type[BagEstimator]) -> type[BaseModel]:
    """Return a pydantic model that checks the values of a model's parameters."""
    hints = get_type_hints(model, include_extras=True)
    definitions: dict[str, Any] = {name: (hints[name], None) for name in _settable(model)}
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return create_model(model.__name__, __config__=config, **definitions)


def _explain(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"parameter {place}: {error['msg']}; found {json.dumps(error['input'], default=str)}"


def _nearest(name: str, valid: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.4)
    return f"nearest valid name: {near[0]!r}" if near else f"valid names: {', '.join(sorted(valid))}"

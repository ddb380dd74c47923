"""Allowed ranges of model parameters, checked when a configuration is read and again in `fit`."""

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from pipeline.errors import ConfigError

Count = Annotated[int, Field(ge=1)]
CountFromZero = Annotated[int, Field(ge=0)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Positives = Annotated[tuple[Positive, ...], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0)]
ClassWeight = Literal["balanced", "none"]
StatisticName = Literal["mean", "max", "std", "q25", "median", "q75"]


def checked_parameters(model: type[Any], kind: str, given: Mapping[str, object]) -> dict[str, Any]:
    """Check the values of some parameters of a model against its annotations; lists are returned as tuples.

    Args:
        model: a dataclass whose fields are its parameters.
        kind: name of the model in a configuration, for error messages.
        given: parameter -> value.

    Raises:
        ConfigError: a value is not allowed; the message lists each with the expected values.
    """
    schema = _schema(model)  # type: ignore[arg-type]  # mypy regards a class as not hashable
    try:
        checked = schema.model_validate({name: _plain(value) for name, value in given.items()})
    except ValidationError as error:
        raise ConfigError(f"model {kind!r}: {'; '.join(_explain(e) for e in error.errors())}") from None
    return {name: getattr(checked, name) for name in given}


@cache
def _schema(model: type[Any]) -> type[BaseModel]:
    """Return a pydantic model of a model's parameters; strict, because a model uses values without conversion."""
    hints = get_type_hints(model, include_extras=True)
    definitions: dict[str, Any] = {field.name: (hints[field.name], None) for field in fields(model)}
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, strict=True, allow_inf_nan=False)
    return create_model(model.__name__, __config__=config, **definitions)


def _plain(value: object) -> object:
    """Convert NumPy numbers, which scikit-learn's searches pass, to Python numbers, and lists to tuples."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(value) if isinstance(value, list | np.ndarray) else value


def _explain(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"parameter {place}: {error['msg']}; found {json.dumps(error['input'], default=str)}"

"""[aggregate.model.NAME] of a configuration: a model with its kind and parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from pipeline.config import Section


def _beside_config(module: str, info: ValidationInfo) -> str:
    """Take the file of FILE.py:CLASS relative to the folder of the configuration."""
    file, colon, name = module.rpartition(":")
    folder: Path | None = (info.context or {}).get("folder")
    if folder is None or not file.endswith(".py"):
        return module
    return f"{(folder / Path(file).expanduser()).resolve()}{colon}{name}"


def _weights_beside_config(weights: str, info: ValidationInfo) -> str:
    """Take a checkpoint (*.ckpt) relative to the folder of the configuration; leave another text of that name as it is."""
    folder: Path | None = (info.context or {}).get("folder")
    if folder is None or not weights.endswith(".ckpt"):
        return weights
    return str((folder / Path(weights).expanduser()).resolve())


def _inside_beside_config(values: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
    """Take likewise the files of every model inside another one, however deep, and those that a grid tries."""
    found = dict(values)
    for key, value in values.items():
        beside = _FILES.get(key)
        if isinstance(value, Mapping):
            found[key] = _inside_beside_config(value, info)
        elif beside and isinstance(value, str):
            found[key] = beside(value, info)
        elif beside and isinstance(value, list):
            found[key] = [beside(str(one), info) for one in value]
    return found


_FILES = {"module": _beside_config, "weights": _weights_beside_config}
"""Parameters of models that name a file."""
ModulePath = Annotated[str, AfterValidator(_beside_config)]
Inside = Annotated[Mapping[str, Any], AfterValidator(_inside_beside_config)]


class ModelSection(Section, extra="allow"):
    """[aggregate.model.NAME]: a model to compare. Keys that are not listed here are parameters of its kind."""

    kind: str
    """Kind of the model; `aggregate.py models` lists the kinds and their parameters."""
    module: ModulePath | None = None
    """For `kind = "module"`: FILE.py:CLASS, FILE relative to the configuration, or torchmil.models:CLASS."""
    parameters_inside: Inside | None = Field(None, alias="parameters")
    """For the kinds `grid`, `ensemble` and `calibrated`: parameters of the model inside."""
    grid: Inside | None = None
    """For `kind = "grid"`: parameter and the list of values to try."""
    models: Inside | None = None
    """For the kinds `stack`, `average`, `either` and `halving`: name of each model inside, with its `kind` and parameters."""

    @model_validator(mode="before")
    @classmethod
    def _weights_are_beside(cls, values: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - not validated yet
        weights = values.get("weights") if isinstance(values, Mapping) else None
        if not isinstance(weights, str):
            return values
        return {**values, "weights": _weights_beside_config(weights, info)}

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The keys beside `kind`; the model itself refuses those it does not know."""
        named = {"module": self.module, "parameters": self.parameters_inside, "grid": self.grid}
        named["models"] = self.models
        return {**{k: v for k, v in named.items() if v is not None}, **(self.model_extra or {})}

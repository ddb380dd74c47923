"""The [aggregate] table of a configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from aggregate.cohort.patient import ONLY_SET
from aggregate.statistics.config import StatisticsSection
from pipeline.config import ConfigPath, ExperimentConfig, Section


def _weights_beside_config(weights: str, info: ValidationInfo) -> str:
    """Take a checkpoint (*.ckpt) relative to the folder of the configuration."""
    folder: Path | None = (info.context or {}).get("folder")
    if folder is None or not weights.endswith(
        ".ckpt"
    ):  # such as an argument of this name of a user's network
        return weights
    return str((folder / Path(weights).expanduser()).resolve())


def _beside_config(module: str, info: ValidationInfo) -> str:
    """Take the file of FILE.py:CLASS relative to the folder of the configuration."""
    file, colon, name = module.rpartition(":")
    folder: Path | None = (info.context or {}).get("folder")
    if folder is None or not file.endswith(".py"):
        return module
    return f"{(folder / Path(file).expanduser()).resolve()}{colon}{name}"


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


class SplitsSection(Section):
    """[aggregate.splits]: which patients train, tune and test each model."""

    scheme: Literal["stratified", "leave-one-centre-out", "file"] = "stratified"
    """Repeated folds stratified by class and balanced by centre; leave-one-centre-out; or the splits in `file`."""
    folds: int = Field(5, ge=2)
    """Outer folds of the stratified scheme."""
    repeats: int = Field(5, ge=1)
    """Repeats of the stratified cross-validation, each with different folds."""
    tune_share: float = Field(0.2, gt=0.0, le=0.5)
    """Share of the training patients kept for early stopping, calibration and thresholds."""
    file: ConfigPath | None = None
    """For `scheme = "file"`: a CSV with the columns patient_id, repeat, fold, role."""

    @model_validator(mode="after")
    def _file_goes_with_its_scheme(self) -> Self:
        if (self.scheme == "file") != (self.file is not None):
            raise ValueError('a splits file and scheme = "file" go together')
        return self


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
    """For `kind = "stack"`: name of each model inside, with its `kind` and parameters."""

    @model_validator(mode="before")
    @classmethod
    def _weights_are_beside(cls, values: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - not validated yet
        weights = values.get("weights") if isinstance(values, Mapping) else None
        return (
            {**values, "weights": _weights_beside_config(weights, info)}
            if isinstance(weights, str)
            else values
        )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The keys beside `kind`; the model itself refuses those it does not know."""
        named = {"module": self.module, "parameters": self.parameters_inside, "grid": self.grid}
        named["models"] = self.models
        return {**{k: v for k, v in named.items() if v is not None}, **(self.model_extra or {})}


class TablesSection(Section):
    """[aggregate.tables]: how the CSV files are written."""

    separator: Literal[",", ";"] = ","
    """Separator of the columns."""
    decimal: Literal[".", ","] = "."
    """Decimal sign; must differ from the separator."""

    @model_validator(mode="after")
    def _separator_differs(self) -> Self:
        if self.separator == self.decimal:
            raise ValueError("separator and decimal must differ")
        return self


class BagSetSection(Section):
    """[aggregate.bags.NAME]: a folder of bags of one recipe (an encoder, an input, a modality)."""

    folder: ConfigPath
    """Folder with the files <patient_id>.h5; relative to the configuration."""


class AggregateSection(Section):
    """[aggregate]: models, splits and statistics."""

    bags: Mapping[str, BagSetSection] = {}
    """The bag sets that models read, by the name in their `bags`; by default one, the folder `bags` in `output`."""
    model: Mapping[str, ModelSection] = Field(min_length=1)
    """The models to compare; NAME is the name of the model in every table."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table that the baseline `covariates` reads."""
    baselines: bool = True
    """Also run the baselines: majority, bag size, tumour size, covariates, single phases, centre slice."""
    splits: SplitsSection = SplitsSection()
    statistics: StatisticsSection = StatisticsSection()
    tables: TablesSection = TablesSection()
    seed: int = Field(0, ge=0)
    """Seed of splits, models and bootstrap."""
    jobs: int = -1
    """Processes that fit models in parallel; -1: one per core."""
    explain: bool = True
    """Whether `run` also writes the explanations (attention, phases, concepts, pictures)."""
    explained_model: str | None = None
    """Model shown in pictures, slice votes and overlays, chosen before its results are seen; by default the first model of
    the configuration that has attention."""
    cache_limit_gb: float = Field(20.0, ge=0.0)
    """Size limit of the cache in 10^9 bytes: above it, the end of a run removes the entries used longest ago, but none
    that the run itself has used."""
    retrain_phases: bool = False
    """Whether the explanations include models retrained on every subset of the phases (slow)."""


class AggregateConfig(ExperimentConfig):
    """A configuration as stage 2 reads it."""

    aggregate: AggregateSection

    @property
    def bag_folders(self) -> Mapping[str, Path]:
        """Folder of each bag set by name, in the order of the configuration."""
        named = {name: section.folder for name, section in self.aggregate.bags.items()}
        return named or {ONLY_SET: self.bags_folder}

    @property
    def cache_folder(self) -> Path:
        """Folder of what was computed before, by content: fits, and measures of slices."""
        return self.output / "cache"

"""The [aggregate] table of a configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from aggregate.statistics.config import StatisticsSection
from pipeline.config import ConfigPath, ExperimentConfig, Section


def _beside_config(module: str, info: ValidationInfo) -> str:
    """Take the file of FILE.py:CLASS relative to the folder of the configuration."""
    file, colon, name = module.rpartition(":")
    folder: Path | None = (info.context or {}).get("folder")
    if folder is None or not file.endswith(".py"):
        return module
    return f"{(folder / Path(file).expanduser()).resolve()}{colon}{name}"


def _inside_beside_config(values: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
    """Take likewise the module of every model inside another one, however deep, and those that a grid tries."""
    found = dict(values)
    for key, value in values.items():
        if isinstance(value, Mapping):
            found[key] = _inside_beside_config(value, info)
        elif key == "module" and isinstance(value, str):
            found[key] = _beside_config(value, info)
        elif key == "module" and isinstance(value, list):
            found[key] = [_beside_config(str(one), info) for one in value]
    return found


ModulePath = Annotated[str, AfterValidator(_beside_config)]
Inside = Annotated[Mapping[str, Any], AfterValidator(_inside_beside_config)]


class SplitsSection(Section):
    """[aggregate.splits]: who trains, tunes and is tested."""

    scheme: Literal["stratified", "leave-one-centre-out", "file"] = "stratified"
    """Repeated stratified folds balanced by centre, one fold per centre, or the user's own file."""
    folds: int = Field(5, ge=2)
    """Outer folds of the stratified scheme."""
    repeats: int = Field(5, ge=1)
    """How often the stratified folds are drawn anew."""
    tune_share: float = Field(0.2, gt=0.0, le=0.5)
    """Share of the training patients kept for early stopping, calibration and thresholds."""
    file: ConfigPath | None = None
    """Of the scheme "file": a CSV with the columns patient_id, repeat, fold, role."""

    @model_validator(mode="after")
    def _file_goes_with_its_scheme(self) -> Self:
        if (self.scheme == "file") != (self.file is not None):
            raise ValueError('a splits file and scheme = "file" go together')
        return self


class ModelSection(Section, extra="allow"):
    """[aggregate.model.NAME]: `kind` names the model, every other key is a parameter of it."""

    kind: str
    module: ModulePath | None = None
    """Of the kind "module": FILE.py:CLASS, FILE relative to the configuration, or torchmil.models:CLASS."""
    parameters_inside: Inside | None = Field(None, alias="parameters")
    """Of the kinds "grid", "ensemble" and "calibrated": the parameters of the model inside."""
    grid: Inside | None = None
    """Of the kind "grid": parameter -> values to try."""
    models: Inside | None = None
    """Of the kind "stack": name -> `kind` and parameters of a model inside."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The keys beside `kind`; the model itself refuses those it does not know."""
        named = {"module": self.module, "parameters": self.parameters_inside, "grid": self.grid}
        named["models"] = self.models
        return {**{k: v for k, v in named.items() if v is not None}, **(self.model_extra or {})}


class TablesSection(Section):
    """[aggregate.tables]: how the CSV files are written."""

    separator: Literal[",", ";"] = ","
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _separator_differs(self) -> Self:
        if self.separator == self.decimal:
            raise ValueError("separator and decimal must differ")
        return self


class AggregateSection(Section):
    """[aggregate]: models, splits and statistics."""

    model: Mapping[str, ModelSection] = Field(min_length=1)
    """The models to compare, by the name they bear in every table."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table that the covariates baseline may read."""
    baselines: bool = True
    """Whether majority, bag size, tumour size, covariates, single phases and centre slice are run beside."""
    splits: SplitsSection = SplitsSection()
    statistics: StatisticsSection = StatisticsSection()
    tables: TablesSection = TablesSection()
    seed: int = Field(0, ge=0)
    """Seed of splits, models and bootstrap."""
    jobs: int = -1
    """Processes for models that are fitted one by one; -1 takes every core."""
    explain: bool = True
    """Whether `run` also writes the explanations."""
    explained_model: str | None = None
    """The model that pictures, slice votes and overlays show, chosen before its results are seen; None takes the
    first model of the configuration that weighs slices."""
    retrain_phases: bool = False
    """Whether these include the worth of each phase by training anew on every subset of the phases (slow)."""


class AggregateConfig(ExperimentConfig):
    """A configuration as stage 2 reads it."""

    aggregate: AggregateSection

    @property
    def cache_folder(self) -> Path:
        """Folder of fitted models and their predictions, by content."""
        return self.output / "cache"

    @property
    def concepts_folder(self) -> Path:
        """Folder of what was measured on the slices, by content."""
        return self.cache_folder / "concepts"

"""The [aggregate] table of a configuration."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from aggregate.cohort.matching import BagSource
from aggregate.cohort.patient import ONLY_SET
from aggregate.model_section import ModelSection
from aggregate.outcomes.section import OutcomeSection, Task
from aggregate.statistics.config import StatisticsSection
from aggregate.study_section import StudySection
from pipeline.config import ConfigPath, ExperimentConfig, PlainName, Section
from pipeline.errors import ResultsError
from pipeline.files import with_home

_FILES_OF_ENCODER = (".toml", ".pth", ".pt", ".safetensors")
"""Endings by which a card or weights of [extract] are a file and no name."""

_OF_CLASSES = ("study", "fusion", "logger", "explained_model", "retrain_phases", "shown_cases")
_STATISTICS_OF_CLASSES = (
    "threshold_rule",
    "threshold_target",
    "decision_classes",
    "subgroup_minimum",
    "subgroup_class_minimum",
    "subgroup_covariates",
)
"""Keys that have no meaning where no class is predicted."""


def _set_in(section: Section, names: Iterable[str]) -> list[str]:
    """Return which keys of a table have another value than the usual one."""
    usual = {name: field.default for name, field in type(section).model_fields.items()}
    return [name for name in names if getattr(section, name) != usual[name]]


class SplitsSection(Section):
    """[aggregate.splits]: which patients train, tune and test each model."""

    scheme: Literal["stratified", "leave-one-centre-out", "file"] = "stratified"
    """Repeated folds stratified by class and balanced by centre; leave-one-centre-out; or the splits in `file`."""
    folds: int = Field(5, ge=2, le=1000)
    """Outer folds of the stratified scheme."""
    repeats: int = Field(5, ge=1, le=1000)
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


class TablesSection(Section):
    """[aggregate.tables]: how the CSV files are written."""

    separator: Literal[",", ";"] = ","
    """Separator of the columns."""
    decimal: Literal[".", ","] = "."
    """Decimal sign; must differ from the separator."""
    byte_order_mark: bool = False
    """Whether each file begins with a byte order mark: Excel then shows letters such as ü as they are on a double click."""

    @model_validator(mode="after")
    def _separator_differs(self) -> Self:
        if self.separator == self.decimal:
            raise ValueError("separator and decimal must differ")
        return self


class FiguresSection(Section):
    """[aggregate.figures]: how the figures of the report and of `paper` are written as files."""

    formats: tuple[Literal["svg", "png"], ...] = Field(("svg", "png"), min_length=1)
    """Formats: `svg` keeps lines and text to be edited, `png` is what journals take; a letter that no font of the machine has
    is a box in `png`. The pictures of example patients are always there as `svg`, which the report shows."""
    dpi: int = Field(300, ge=72, le=1200)
    """Pixels per inch of `png`."""

    @property
    def png_dpi(self) -> int | None:
        """Pixels per inch of a PNG; None where none is written."""
        return self.dpi if "png" in self.formats else None


class FusionSection(Section):
    """[aggregate.fusion]: imaging and biopsy, alone and together, asked about one class (fusion.csv)."""

    imaging: str
    """Model of the scans."""
    biopsy: str
    """Model of the biopsies."""
    combined: tuple[str, ...] = ()
    """Models of both, such as an `average` or a `modality_attention`; the rules "either positive" and "both agree" are always
    made of the two above."""
    positive: str
    """The class asked about, such as cHCC-CCA."""


class BagSetSection(Section):
    """[aggregate.bags.NAME]: a folder of bags of one recipe (an encoder, an input, a modality)."""

    folder: ConfigPath
    """Folder with the files <patient_id>.h5; relative to the configuration. With another `format`, the folder of its files."""
    format: Literal["phasemil", "clam", "trident", "stamp"] = "phasemil"
    """What wrote the files: this package, or CLAM, TRIDENT or STAMP, whose histology features are read as they are."""
    slides: ConfigPath | None = None
    """For the formats of histology: a CSV with one row per slide, columns patient_id and file (or STAMP's PATIENT and FILENAME, or
    CLAM's case_id and slide_id); without it, the name of each file must be the patient_id."""

    @model_validator(mode="after")
    def _slides_are_of_histology(self) -> Self:
        if self.format == "phasemil" and self.slides is not None:
            raise ValueError('`slides` goes with format = "clam", "trident" or "stamp"')
        return self

    @property
    def source(self) -> BagSource:
        """The folder, and how its files are read."""
        return BagSource(self.folder, None if self.format == "phasemil" else self.format, self.slides)


class AggregateSection(Section):
    """[aggregate]: models, splits and statistics."""

    task: Task = "classification"
    """What is predicted of a patient: the class of the column `label`, or what [aggregate.outcome] names: survival, a number
    (regression), or a grade (ordinal)."""
    outcome: OutcomeSection = OutcomeSection()
    bags: Mapping[PlainName, BagSetSection] = {}
    """The bag sets that models read, by the name in their `bags`; by default the variants of stage 1, or without any the
    folder `bags` in `output`."""
    model: Mapping[PlainName, ModelSection] = {}
    """The models to compare; NAME is the name of the model in every table."""
    fusion: FusionSection | None = None
    """Models of scans and biopsies, alone and together, compared for one class."""
    study: StudySection | None = None
    """A grid of models instead, compared by `aggregate.py study`."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table that the baseline `covariates` reads."""
    described: tuple[str, ...] = ()
    """Further columns of the cohort table that cohort.csv and the report describe, such as a stage. Every column that neither this
    list nor a model nor a subgroup names stays out of all results: it may be a name or a date of birth."""
    baselines: bool = True
    """Also run the baselines: majority, bag size, tumour size, covariates, single phases, centre slice."""
    splits: SplitsSection = SplitsSection()
    statistics: StatisticsSection = StatisticsSection()
    tables: TablesSection = TablesSection()
    figures: FiguresSection = FiguresSection()
    seed: int = Field(0, ge=0)
    """Seed of splits, models and bootstrap."""
    jobs: int = -1
    """Processes that fit models in parallel; -1: one per core."""
    explain: bool = True
    """Whether `run` also writes the explanations (attention, phases, concepts, pictures)."""
    explained_model: str | None = None
    """Model shown in pictures, slice votes and overlays, chosen before its results are seen; by default the first model of
    the configuration that has attention."""
    logger: Literal["tensorboard"] | None = None
    """Also write the losses and the tuning AUC of every fit for TensorBoard, in the folder `tensorboard` of `output`; needs the
    extra `tensorboard`."""
    shown_cases: int = Field(1, ge=0, le=20)
    """Patients of each class whose pictures the report shows: as many typical right predictions and as many of the surest
    mistakes."""
    cache_limit_gb: float = Field(20.0, ge=0.0)
    """Size limit of the cache in 10^9 bytes: above it, the end of a run removes the entries used longest ago, but none
    that the run itself has used."""
    retrain_phases: bool = False
    """Whether the explanations include models retrained on every subset of the phases (slow)."""

    @model_validator(mode="after")
    def _outcome_goes_with_its_task(self) -> Self:
        faults = self.outcome.faults(self.task)
        if faults:
            raise ValueError(f'[aggregate.outcome] with task = "{self.task}": {"; ".join(faults)}')
        if self.task != "classification":
            given = [*_set_in(self, _OF_CLASSES), *_set_in(self.statistics, _STATISTICS_OF_CLASSES)]
            if self.statistics.primary is not None and self.statistics.primary.metric != "auc":
                given.append("statistics.primary.metric")
            if given:
                raise ValueError(f'`{given[0]}` is for task = "classification", found task = "{self.task}"')
        return self

    @model_validator(mode="after")
    def _models_or_a_study(self) -> Self:
        if not self.model and self.study is None:
            raise ValueError(
                "expected at least one table [aggregate.model.NAME], or a table [aggregate.study]"
            )
        if self.fusion is not None and self.study is not None:
            raise ValueError(
                "a table [aggregate.fusion] goes with models [aggregate.model.NAME]; in a study name the models in "
                "[aggregate.study.beside], and read its leaderboard"
            )
        return self


def _with_files_of_encoder(values: Any, folder: Path) -> Any:  # noqa: ANN401 - stage 1 reads it
    """Return the table [extract], or a variant in it, with the whole paths of the files of its encoder."""
    if not isinstance(values, Mapping):
        return values
    found = dict(values)
    for key in ("card", "weights"):
        name = found.get(key)
        if isinstance(name, str) and Path(name).suffix in _FILES_OF_ENCODER:
            found[key] = str((folder / with_home(name)).resolve())
    variants = found.get("variant")
    if isinstance(variants, Mapping):
        found["variant"] = {name: _with_files_of_encoder(inside, folder) for name, inside in variants.items()}
    return found


class AggregateConfig(ExperimentConfig):
    """A configuration as stage 2 reads it."""

    aggregate: AggregateSection

    @field_validator("extract")
    @classmethod
    def _files_of_stage_1(cls, extract: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - stage 1 reads it
        """Take the card and the weights that stage 1 names relative to the configuration, so that they are found later."""
        folder: Path | None = (info.context or {}).get("folder")
        return extract if folder is None else _with_files_of_encoder(extract, folder)

    @property
    def bag_folders(self) -> Mapping[str, Path]:
        """Folder of each bag set by name: those of [aggregate.bags], else the variants of stage 1, else the only one."""
        named = {name: section.folder for name, section in self.aggregate.bags.items()}
        variants = {name: self.bags_folder_of(name) for name in self.variant_names}
        return named or variants or {ONLY_SET: self.bags_folder}

    @property
    def bag_sources(self) -> Mapping[str, BagSource]:
        """What the bags of each set come from, by its name."""
        named = {name: section.source for name, section in self.aggregate.bags.items()}
        return named or {name: BagSource(folder) for name, folder in self.bag_folders.items()}

    def require_classes(self, what: str) -> None:
        """Refuse what is there for classes only.

        Raises:
            ResultsError: the task is another one.
        """
        if self.aggregate.task != "classification":
            raise ResultsError(
                f'{self.name}: {what} is for task = "classification", found task = "{self.aggregate.task}"'
            )

    @property
    def cache_folder(self) -> Path:
        """Folder of what was computed before, by content: fits, and measures of slices."""
        return self.output / "cache"

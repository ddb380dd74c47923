"""TOML configurations: one file per experiment, read by both stages, unknown keys refused by name."""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Self, TypeVar, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails

from pipeline.errors import ConfigError, Mistakes
from pipeline.files import path_hint, with_home

_LONGEST_NAME = 60
"""Of a phase or a class, which are parts of file names and headings of columns."""


def _names_a_file(name: str) -> bool:
    return (
        len(name) <= _LONGEST_NAME
        and not name.startswith(".")
        and name.isprintable()
        and not set("/\\[]$") & set(name)
    )


def _relative_to_config(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return path if folder is None else (folder / with_home(str(path))).resolve()


ConfigPath = Annotated[Path, AfterValidator(_relative_to_config)]
"""A path in a configuration, taken relative to the folder of the configuration file."""


FileSafeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that also names a file or folder, on every system."""


PlainName = Annotated[str, Field(pattern=r"^\w[\w .,:;@+()=%&'-]*(/\w[\w .,:;@+()=%&'-]*)*$", max_length=200)]
"""A name that stands in tables and figures, and means nothing to any of them; a study joins levels by a slash."""


class Section(BaseModel):
    """One table of a configuration; frozen, with every unknown key an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PhaseRolesSection(Section):
    """[cohort.phase_roles]: which of the phases is non-contrast, arterial, portal venous and delayed.

    A role that is not set is found from the names and aliases of the phases; "" says that no phase has the role.
    """

    non_contrast: str | None = None
    """Name of the phase without contrast agent."""
    arterial: str | None = None
    """Name of the (late) arterial phase."""
    portal: str | None = None
    """Name of the portal venous phase."""
    delayed: str | None = None
    """Name of the delayed phase."""


class CohortSection(Section):
    """[cohort]: the cohort table, and the names of phases and classes in it."""

    table: ConfigPath
    """The cohort table (CSV or .xlsx) with one row per patient and phase; stage 2 alone takes one of patient_id and label."""
    phases: tuple[str, ...] = Field(("NC", "AP", "PVP", "DP"), min_length=1)
    """Phase names in acquisition order."""
    classes: tuple[str, ...] = Field(("HCC", "iCCA", "cHCC-CCA"), min_length=2)
    """Class names, in the order in which every table lists them."""
    phase_roles: PhaseRolesSection = PhaseRolesSection()
    """Which phase is non-contrast, arterial, portal venous and delayed."""
    organ_mask: str = "liver_mask"
    """The column of the cohort table that names the mask of the organ in which the lesions lie."""
    phase_aliases: Mapping[str, str] = {}
    """Further spellings of the phases: `spelling = "phase"`; upper and lower case are the same."""
    label_aliases: Mapping[str, str] = {}
    """Further spellings of the classes: `spelling = "class"`; upper and lower case are the same."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for what, names in (("phases", self.phases), ("classes", self.classes)):
            forms = [name.strip().lower() for name in names]
            for i, form in enumerate(forms):
                if not form or form in forms[:i]:
                    raise ValueError(f"{what}: {names[i]!r} is empty or given twice (case does not count)")
                if not _names_a_file(form):
                    raise ValueError(
                        f"{what}: {names[i]!r} cannot be part of a file name; expected none of / \\ [ ] $, no control character, no leading dot, "
                        f"at most {_LONGEST_NAME} letters"
                    )
        return self


class ExperimentConfig(Section):
    """The tables of a configuration that both stages read; each stage derives its own class from it.

    The tables of the other stage stay unread, so one file serves both and neither imports the other.
    """

    name: FileSafeName
    """Name of the experiment, printed in every report."""
    output: ConfigPath
    """Folder that receives the bags, the slice store and the result tables."""
    slice_store: ConfigPath | None = None
    """Folder of the slice store, to share it between experiments; `slices.zarr` in `output` by default."""
    cohort: CohortSection
    phantom: Any = None
    """Synthetic cohort that `extract.py phantom` writes (stage 1)."""
    extract: Any = None
    """Stage 1: from scans to bags."""
    aggregate: Any = None
    """Stage 2: from bags to models, tables and report."""

    @property
    def bags_folder(self) -> Path:
        """Folder of the feature bags."""
        return self.output / "bags"

    @property
    def variant_names(self) -> tuple[str, ...]:
        """Names of the tables [extract.variant.NAME], in their order; empty where there are none."""
        variants = self.extract.get("variant") if isinstance(self.extract, Mapping) else None
        return tuple(variants) if isinstance(variants, Mapping) else ()

    def bags_folder_of(self, variant: str) -> Path:
        """Folder of the bags of a variant of stage 1; "" stands for a configuration without variants."""
        return self.bags_folder / variant

    @property
    def results_folder(self) -> Path:
        """Folder of the tables of stage 2: `output`, or `output/results` if the user's cohort.csv is there."""
        table = self.cohort.table
        is_in_the_way = table.parent == self.output and table.stem == "cohort"
        return self.output / "results" if is_in_the_way else self.output

    @property
    def store_path(self) -> Path:
        """Folder of the Zarr slice store."""
        return self.slice_store or self.output / "slices.zarr"


Config = TypeVar("Config", bound=BaseModel)


def load_config(path: Path, kind: type[Config], *, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML configuration as `kind`, with `overrides` such as "aggregate.repeats=2" applied on top.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown (the nearest valid one is named), or a
            value is not allowed; all such mistakes are listed at once.
    """
    mistakes = Mistakes()
    draft = draft_config(path, kind, mistakes, overrides=overrides)
    mistakes.raise_all()
    return cast("Config", draft.config)  # it lacks only where there was a mistake


@dataclass(frozen=True)
class Draft(Generic[Config]):
    """A configuration as far as it can be read."""

    config: Config | None
    """Without the faulty values, to find further mistakes; None if it cannot be read without them."""
    faulty: tuple[tuple[str, ...], ...] = ()
    """The faulty keys, each as a path of table names and key."""


def with_table(overrides: Sequence[str], config: type[Section], table: str) -> list[str]:
    """Return overrides with their top-level table, the given one where there is none, as in encoder=resnet50.

    Args:
        overrides: as on the command line, `key=value`.
        config: whose top-level keys may begin an override.
        table: what is meant where none of them does.
    """
    known = set(config.model_fields)
    return [o if o.partition(".")[0].partition("=")[0] in known else f"{table}.{o}" for o in overrides]


def draft_config(
    path: Path, kind: type[Config], mistakes: Mistakes, *, overrides: Sequence[str] = ()
) -> Draft[Config]:
    """Read a configuration as far as it can be read, and collect the mistakes in it.

    Raises:
        ConfigError: the file is missing or no TOML.
    """
    tables = read_tables(path, mistakes, overrides=overrides)
    context = {"folder": path.resolve().parent}
    try:
        return Draft(kind.model_validate(tables, context=context))
    except ValidationError as error:
        errors = error.errors()
    for one in errors:
        mistakes.add(ConfigError(f"{path}: {_explain(kind, one)}"))
    places = tuple(tuple(map(str, one["loc"])) for one in errors)
    try:
        return Draft(kind.model_validate(_without(tables, errors), context=context), places)
    except ValidationError:  # what is wrong without these values follows from their absence
        return Draft(None, places)


def read_tables(path: Path, mistakes: Mistakes, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a configuration as plain tables, with `overrides` applied on top, and collect the mistakes in these.

    Raises:
        ConfigError: the file is missing or no TOML.
    """
    tables = _read_toml(path)
    for override in overrides:
        with mistakes.gathered():
            apply_override(tables, override)
    return tables


def read_section(
    values: Mapping[str, Any], kind: type[Config], mistakes: Mistakes, *, path: Path, place: Sequence[str]
) -> Config | None:
    """Read one table as `kind`; None where it holds mistakes, which are collected.

    Args:
        values: the table.
        kind: its class.
        mistakes: takes what is wrong.
        path: the configuration; paths are relative to its folder.
        place: where the table stands in it, as the messages say it.
    """
    try:
        return kind.model_validate(values, context={"folder": path.resolve().parent})
    except ValidationError as error:
        for one in error.errors():
            mistakes.add(ConfigError(f"{path}: {_explain(kind, one, place)}"))
    return None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file{path_hint(str(path))}") from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: expected a configuration (TOML), found a folder; results go to `aggregate.py tables`, `explain` "
            "and `report`"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: expected a TOML file, found: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "; in a path write '/' for a backslash" if "\\" in str(error) else ""
        raise ConfigError(f"{path}: not a TOML file: {error}{hint}") from error


def _without(tables: Mapping[str, Any], errors: Sequence[ErrorDetails]) -> dict[str, Any]:
    """Return the tables without the values at fault; a table that lacks a key goes as a whole."""
    left: dict[str, Any] = deepcopy(dict(tables))
    for error in errors:
        keys = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
        table: Any = left
        for key, after in zip(keys, [*keys, None][1:], strict=True):
            inside = table.get(key)
            if not isinstance(inside, dict) or after not in inside:
                table.pop(key, None)
                break
            table = inside
    return left


def apply_override(tables: dict[str, Any], override: str) -> None:
    """Put a value such as `aggregate.repeats=2` into tables.

    Raises:
        ConfigError: it is not of this form, or a value stands where it needs a table.
    """
    keys, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"override {override!r}: expected key=value, such as aggregate.repeats=2")
    *parents, last = keys.strip().split(".")
    for key in parents:
        tables = tables.setdefault(key, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"override {override!r}: {key!r} is a value, not a table")
    try:
        tables[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        tables[last] = text


def _explain(kind: type[BaseModel], error: Mapping[str, Any], place: Sequence[str] = ()) -> str:
    """Describe an error in a table of a kind, which stands at a place of the configuration."""
    location = [*place, *(str(part) for part in error["loc"])]
    if error["type"] == "value_error":  # raised here: it says itself what was found
        return ": ".join(filter(None, (".".join(location), str(error["msg"]).removeprefix("Value error, "))))
    if error["type"] != "extra_forbidden":
        found = json.dumps(error["input"], default=str)
        return (
            f"{'.'.join(location)}: {error['msg']}; found {found if len(found) < 80 else found[:77] + '...'}"
        )
    *parents, key = location
    valid = _valid_keys(kind, parents[len(place) :])
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.4)
    hint = f"nearest valid key: {near[0]!r}" if near else f"valid keys: {', '.join(sorted(valid))}"
    return f"unknown key {'.'.join(location)!r}; {hint}"


def _valid_keys(kind: type[BaseModel], parents: Sequence[str]) -> list[str]:
    """Collect the keys of every section that `parents` can lead to (unions give several)."""
    kinds = [kind]
    for parent in parents:
        fields = [k.model_fields[parent].annotation for k in kinds if parent in k.model_fields]
        kinds = [s for field in fields for s in _sections_in(field)] or kinds
    return [key for k in kinds for key in k.model_fields]


def _sections_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections_in(part)]

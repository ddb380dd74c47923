"""Write docs/configuration.md from the types that read a configuration: `python docs/make_configuration.py`."""

import inspect
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from aggregate.config import AggregateConfig
from aggregate.models.base import BagEstimator, PatientEstimator
from aggregate.models.described import described_kind
from aggregate.models.mil import MILEstimator
from aggregate.models.registry import MODELS
from aggregate.outcomes.models.kinds import OUTCOME_MODELS
from aggregate.outcomes.models.networks import NetworkOutcome
from extract.config import ExtractConfig
from extract.phantom.commands import PhantomConfig
from extract.pretrain.settings import PretrainConfig
from pipeline.config import ExperimentConfig, Section
from pipeline.docstrings import field_meanings

PAGE = Path(__file__).with_name("configuration.md")
STAGES = {"phantom": PhantomConfig, "extract": ExtractConfig, "aggregate": AggregateConfig}
"""Top-level table -> the class that gives its type; the class that both stages share leaves it open."""

HEAD = """\
# Configuration

This page is generated from the classes that read a configuration: `python docs/make_configuration.py`.

One TOML file describes an experiment; both stages read it. `configs/demo.toml` and `configs/study.toml` are examples.
Paths are relative to the folder of the file. A key that is not on this page is an error that names the nearest valid
one. A value can be replaced on the command line, such as `aggregate.py run CONFIG model.attention.hidden=64`.
Tables with a fixed set of keys can be left out where no key of theirs is required. "-" as the default means: not set.
"""
KINDS_HEAD = """\
## Kinds of models

A table `[aggregate.model.NAME]` has `kind` and the parameters of that kind; `aggregate.py models` prints the same list.

### Parameters of every network

Of the kinds {networks}: the training with AdamW and early stopping on the tuning patients.
"""
OUTCOMES_HEAD = """\
## Kinds of models of survival, a number or a grade

For `[aggregate] task = "survival"`, `"regression"` and `"ordinal"`. Their networks have the parameters of every network above, but
`class_weight` and `bags_per_step`; a step sees all training patients, and `epochs` (300 by default) counts these steps, as does
`patience` (40). A run sets `times` and `grades` from `[aggregate.outcome]`.
"""
PRETRAIN_HEAD = """\
## Pretraining an encoder

`python -m extract.pretrain CONFIG` reads a file of its own; `configs/pretrain.toml` is an example.
"""
HEADER = "| key | type | default | meaning |\n|---|---|---|---|"
NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Path: "path",
    Any: "anything",
}
LIMITS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "pattern": "matching `{}`",
}


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD, *tables("", ExperimentConfig), *kinds(), PRETRAIN_HEAD, *tables("", PretrainConfig)]
    return "\n".join(parts)


def tables(name: str, section: type[Section]) -> Iterator[str]:
    """Yield a table of the configuration and every table within it, each with heading, text and keys."""
    if name:
        yield f"## `[{name}]`\n\n{about(section)}\n"
    if section.model_fields:
        yield "\n".join([HEADER, *rows(name, section)]) + "\n"
    for key, annotation in types_of(section).items():
        for inner in sections_in(annotation):
            yield from tables(path_of(name, key, annotation), inner)


def types_of(section: type[Section]) -> Mapping[str, Any]:
    """Return the type of each key, those of the stages' own tables from the stages."""
    types_ = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    stages = {key: kind.model_fields[key].annotation for key, kind in STAGES.items()}
    return (
        {key: stages.get(key, kind) for key, kind in types_.items()}
        if section is ExperimentConfig
        else types_
    )


def rows(name: str, section: type[Section]) -> Iterator[str]:
    """Yield a row for each key of a table."""
    meanings, annotations = field_meanings(section, Section), types_of(section)
    empty = defaults(section)
    for attribute, field in section.model_fields.items():
        key = field.alias or attribute
        annotation = annotations[key]
        kinds_of_type = type_text(annotation, limits(field.metadata))
        if inner := sections_in(annotation):
            target = path_of(name, key, annotation)
            # The last one: of a table of tables and other values it is the inner.
            link = f"table [`[{target}]`](#{anchor(target)})"
            kinds_of_type = link.join(kinds_of_type.rsplit("table", 1))
            meanings = {attribute: first_sentence(about(inner[0])), **meanings}
        yield row(key, kinds_of_type, empty[attribute], meanings.get(attribute, ""))


def defaults(section: type[Section]) -> Mapping[str, str]:
    """Return the default of each key as TOML, as it is when the whole table is left out."""
    try:
        empty: object = section()
    except ValidationError:  # a key is required, so there is no empty table
        empty = None
    found = {}
    for name, field in section.model_fields.items():
        default = field.default if empty is None else getattr(empty, name)
        found[name] = "required" if field.is_required() else toml(default)
    return found


def toml(value: object) -> str:
    """Write a default as TOML in code quotes; "-" for None, nothing for a table."""
    if value is None:
        return "-"
    return "" if isinstance(value, Section) else f"`{_toml(value)}`"


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }" if value else "{}"
        )
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def type_text(annotation: object, also: Iterable[str] = ()) -> str:
    """Return a type in words, with the values it allows."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(args[0], [*limits(args[1:]), *also])
    return ", ".join([_bare(annotation, origin, args), *also])


def _bare(annotation: object, origin: object, args: tuple[Any, ...]) -> str:
    if origin is Literal:
        return " or ".join(f"`{json.dumps(one)}`" for one in args)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(one) for one in args if one is not types.NoneType)
    if origin is tuple and args[-1] is not ...:
        return f"[{'; '.join(type_text(one) for one in args)}]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        value = type_text(args[1])
        return value if value == "table" else f"table: name = {value}"
    if origin is not None:
        return f"list of {type_text(args[0])}"
    return "table" if sections_in(annotation) else NAMES[annotation]


def limits(metadata: Iterable[Any]) -> list[str]:
    """Return the limits of a value in words."""
    flat = [one for m in metadata for one in (m.metadata if isinstance(m, FieldInfo) else [m])]
    found = [
        words.format(f"{value:g}" if isinstance(value, int | float) else value)
        for one in flat
        for name, words in LIMITS.items()
        if (value := getattr(one, name, None)) is not None
    ]
    return found + [f"{m.min_length} or more" for m in flat if getattr(m, "min_length", None)]


def kinds() -> Iterator[str]:
    """Yield the kinds of models with their parameters; those that every network has only once."""
    networks = ", ".join(f"`{name}`" for name, model in MODELS.items() if issubclass(model, MILEstimator))
    shared = list(parameter_rows("", MILEstimator))
    yield KINDS_HEAD.format(networks=networks)
    yield "\n".join([HEADER, *shared]) + "\n"
    yield from described(MODELS, shared)
    yield OUTCOMES_HEAD
    yield from described(OUTCOME_MODELS, [*shared, *parameter_rows("", NetworkOutcome)])


def described(models: Mapping[str, type[PatientEstimator]], shared: Sequence[str]) -> Iterator[str]:
    """Yield each kind with its task, if it is none of classes, and the parameters that not all networks share."""
    for name, model in models.items():
        kind = described_kind(name, model)
        task = "" if kind.task == "classification" else f' For `task = "{kind.task}"`.'
        own = [one for one in parameter_rows(name, model) if one not in shared]
        paper = f" Paper: {kind.paper}." if kind.paper else ""
        yield f"### `{name}`\n\n{kind.meaning}{task}{paper}\n"
        if own:
            yield "\n".join([HEADER, *own]) + "\n"


def parameter_rows(name: str, model: type[BagEstimator]) -> Iterator[str]:
    """Yield a row for each parameter of a kind of model."""
    annotations = get_type_hints(model, include_extras=True)
    own = {field.name: field for field in fields(model)}
    for parameter in described_kind(name, model).parameters:
        default = own[parameter.name].default
        text = toml(default) if isinstance(default, bool | str | tuple) else f"`{parameter.default}`"
        yield row(parameter.name, type_text(annotations[parameter.name]), text, parameter.meaning)


def row(*cells: str) -> str:
    """Return a row of a Markdown table; the first cell is code."""
    key, *others = (cell.replace("|", "\\|") for cell in cells)
    return f"| `{key}` | {' | '.join(others)} |".replace("|  |", "| |")


def about(section: type[Section]) -> str:
    """Return what a table is for: the docstring of its class without the name of the table at its beginning."""
    text = re.sub(r"^\[[\w.]+\][^:\n]*: ", "", inspect.getdoc(section) or "")
    return text[:1].upper() + text[1:]


def first_sentence(text: str) -> str:
    """Return the first paragraph on one line."""
    return " ".join(text.partition("\n\n")[0].split())


def path_of(name: str, key: str, annotation: object) -> str:
    """Return the dotted name of a table below another; one that the user names ends in NAME."""
    is_named = get_origin(annotation) not in (None, Union, types.UnionType)
    return ".".join(filter(None, (name, key, "NAME" if is_named else "")))


def sections_in(annotation: object) -> list[type[Section]]:
    """Return the tables that a type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]


def anchor(name: str) -> str:
    """Return the address of a table's heading within the page."""
    return re.sub(r"[^\w-]", "", name.lower())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

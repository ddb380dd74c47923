"""The model kinds with their parameters, read from the classes; printed by `aggregate.py models`."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from aggregate.models.base import PatientEstimator
from aggregate.models.registry import MODELS
from aggregate.outcomes.models.kinds import OUTCOME_MODELS
from pipeline.docstrings import field_meanings, first_paragraph

_PAPER = re.compile(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")
"""A reference in brackets, with its year."""


@dataclass(frozen=True)
class DescribedParameter:
    """A parameter of a kind of model."""

    name: str
    default: str
    """Written nearly as in a configuration."""
    meaning: str


@dataclass(frozen=True)
class DescribedKind:
    """A kind of model."""

    name: str
    meaning: str
    paper: str
    """From the docstring of the class or its module; empty if it names no paper."""
    parameters: tuple[DescribedParameter, ...]
    task: str = "classification"
    """What it predicts, as [aggregate] task names it."""


def described_kinds() -> list[DescribedKind]:
    """Describe every model kind of a configuration: those of classes in the order of the registry, then those of outcomes."""
    return [described_kind(name, model) for name, model in {**MODELS, **OUTCOME_MODELS}.items()]


def lines_of(kind: DescribedKind) -> Iterator[str]:
    """Yield a kind as lines of text: its meaning, its task if it predicts no class, its paper, its parameters."""
    yield f"{kind.name}: {kind.meaning}"
    if kind.task != "classification":
        yield f'    [aggregate] task = "{kind.task}"'
    if kind.paper:
        yield f"    paper: {kind.paper}"
    for parameter in kind.parameters:
        yield f"    {parameter.name} = {parameter.default}: {parameter.meaning}"


def described_kind(name: str, model: type[PatientEstimator]) -> DescribedKind:
    """Describe a class of models; `random_state`, which a run sets, is left out."""
    meanings = field_meanings(model, PatientEstimator)
    own = inspect.getdoc(model) or ""
    places = (own, inspect.getdoc(inspect.getmodule(model)) or "")
    papers = [found[1] for text in places if (found := _PAPER.search(text.partition("\n\n")[0]))]
    return DescribedKind(
        name=name,
        meaning=first_paragraph(own),
        paper=" ".join(papers[0].split()) if papers else "",
        parameters=tuple(
            DescribedParameter(field.name, _default(field), meanings[field.name])
            for field in fields(model)
            if field.name not in {"random_state", *model.not_read}
        ),
        task=model.task,
    )


def _default(field: Field[Any]) -> str:
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    if isinstance(value, tuple):
        value = list(value)
    return '"' + value + '"' if isinstance(value, str) else str(value)

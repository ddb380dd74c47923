"""Every kind of model with its parameters, as `aggregate.py models` prints it: read from the classes themselves."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from itertools import pairwise
from typing import Any

from aggregate.models.base import PatientEstimator
from aggregate.models.registry import MODELS

_PAPER = re.compile(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")
"""A reference in brackets, with its year."""


@dataclass(frozen=True)
class DescribedParameter:
    """A parameter of a kind of model."""

    name: str
    default: str
    """As it is written in a configuration, nearly."""
    meaning: str


@dataclass(frozen=True)
class DescribedKind:
    """A kind of model."""

    name: str
    meaning: str
    paper: str
    """As the docstring of its class or module names it; empty where it names none."""
    parameters: tuple[DescribedParameter, ...]


def described_kinds() -> list[DescribedKind]:
    """Describe every kind that a configuration may name, in the order of the registry."""
    return [_described(name, model) for name, model in MODELS.items()]


def lines_of(kind: DescribedKind) -> Iterator[str]:
    """Yield a kind as lines of text: its meaning, its paper, its parameters."""
    yield f"{kind.name}: {kind.meaning}"
    if kind.paper:
        yield f"    paper: {kind.paper}"
    for parameter in kind.parameters:
        yield f"    {parameter.name} = {parameter.default}: {parameter.meaning}"


def _described(name: str, model: type[PatientEstimator]) -> DescribedKind:
    meanings = _meanings(model)
    own = inspect.getdoc(model) or ""
    places = (own, inspect.getdoc(inspect.getmodule(model)) or "")
    papers = [found[1] for text in places if (found := _PAPER.search(text.partition("\n\n")[0]))]
    return DescribedKind(
        name=name,
        meaning=_one_line(own),
        paper=" ".join(papers[0].split()) if papers else "",
        parameters=tuple(
            DescribedParameter(field.name, _default(field), meanings[field.name])
            for field in fields(model)
            if field.name != "random_state"
        ),
    )


def _meanings(model: type[PatientEstimator]) -> Mapping[str, str]:
    """Return the text below each parameter in the source of the class and of those it inherits from."""
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if issubclass(parent, PatientEstimator):
            (body,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
            found |= _below_fields(body)
    return found


def _below_fields(body: ast.stmt) -> Iterator[tuple[str, str]]:
    statements = list(ast.iter_child_nodes(body))
    for field, text in pairwise(statements):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=str() as meaning)
            ):
                yield name, _one_line(inspect.cleandoc(meaning))


def _default(field: Field[Any]) -> str:
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    if isinstance(value, tuple):
        value = list(value)
    return '"' + value + '"' if isinstance(value, str) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())

"""What a model of a configuration is, and the parameters that it left at their defaults."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from aggregate.models.described import DescribedKind, described_kind
from aggregate.models.registry import MODELS
from pipeline.provenance import version_of

_OWN_MODULE = "module"


def method_of(section: Mapping[str, Any]) -> str:
    """Describe a model and the models inside, with their papers; of a user's network, its file alone is known."""
    kind = _described(section)
    if kind is None:
        return f"{section.get('kind', '')} {section.get(_OWN_MODULE) or ''}".strip()
    paper = f" ({kind.paper})" if kind.paper and kind.paper not in kind.meaning else ""
    inside = [f"{name} inside: {method_of(of_model)}" for name, of_model in _models_inside(section, kind)]
    return "; ".join([f"{kind.meaning.rstrip('.')}{paper}", *inside])


def defaults_in_words(section: Mapping[str, Any], of_version: str) -> str:
    """Tell the parameters of a model, and of the models inside, that its section does not set.

    Only the code that trained the models knows their defaults: those of another version are not told.

    Args:
        section: [aggregate.model.NAME], as run.json has it.
        of_version: of phasemil, that trained it.
    """
    if of_version != version_of("phasemil"):
        return f"those of phasemil {of_version}, which is not installed here"
    return "; ".join(_defaults(section, ""))


def _defaults(section: Mapping[str, Any], prefix: str) -> Iterator[str]:
    kind = _described(section)
    if kind is None:
        return
    inside = dict(_models_inside(section, kind))
    for parameter in kind.parameters:
        if section.get(parameter.name) is None and parameter.name not in ("parameters", "models"):
            yield f"{prefix}{parameter.name} = {parameter.default}"
    for name, of_model in inside.items():
        yield from _defaults(of_model, f"{prefix}{name}.")


def _models_inside(
    section: Mapping[str, Any], kind: DescribedKind
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (name, section) of the models that a wrapper fits."""
    defaults = {parameter.name: parameter.default.strip('"') for parameter in kind.parameters}
    if "model" in defaults:
        name = str(section.get("model") or defaults["model"])
        yield name, {"kind": name, **(section.get("parameters") or {})}
    if "models" in defaults:
        yield from (section.get("models") or {}).items()


def _described(section: Mapping[str, Any]) -> DescribedKind | None:
    kind = str(section.get("kind", ""))
    return None if kind == _OWN_MODULE or kind not in MODELS else _described_kind(kind)


@cache
def _described_kind(kind: str) -> DescribedKind:
    """Read the source of a model once: several models of a run are of one kind."""
    return described_kind(kind, MODELS[kind])

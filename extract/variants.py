"""The variants of a configuration: bag sets that one run makes from the same prepared slices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.config import (
    INPUT_OF_A_CARD,
    OF_A_CARD,
    ExtractConfig,
    ExtractSection,
    full_overrides,
    load_extract_config,
    resolved_config,
)
from extract.prepare import Preparation
from pipeline.config import Section, read_section, read_tables
from pipeline.errors import ConfigError, Mistakes
from pipeline.names import hint_of_nearest

_WHY = {
    "slices": "the slice store holds one choice of slices for all variants",
    "masks": "the slice store holds one reading of the masks for all variants",
    "radiomics": "they are computed once for all variants, while the scans are read",
    "shared_images": "it decides which scans are prepared for all variants",
    "store": "each variant after the first is made from the slice store",
}
"""The keys that decide what is prepared from the scans. The side of the squares does, too, but the largest holds the others."""


@dataclass(frozen=True)
class Variant:
    """One bag set of a configuration.

    Attributes:
        name: of the table [extract.variant.NAME]; "" for a configuration without any.
        config: the configuration with the keys of the variant in [extract].
    """

    name: str
    config: ExtractConfig

    @property
    def folder(self) -> Path:
        """Folder of the bags."""
        return self.config.bags_folder_of(self.name)


@dataclass(frozen=True)
class Experiment:
    """A configuration with its variants.

    Attributes:
        config: without what single variants replace.
        variants: at least one.
    """

    config: ExtractConfig
    variants: tuple[Variant, ...]

    @classmethod
    def of(cls, config: ExtractConfig) -> "Experiment":
        """Take a configuration without variants."""
        return cls(config, (Variant("", config),))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variants; empty where the configuration has none."""
        return tuple(variant.name for variant in self.variants if variant.name)

    @property
    def preparation(self) -> Preparation:
        """What is cut out of the scans: squares large enough for every variant."""
        return Preparation.for_all([variant.config.extract for variant in self.variants])

    def chosen(self, names: Sequence[str]) -> tuple[Variant, ...]:
        """Return the variants of some names, in the order of the configuration; all of them for no name.

        Raises:
            ConfigError: there is no variant of a name.
        """
        for name in names:
            if not self.names:
                raise ConfigError(
                    f"--variant {name}: expected tables [extract.variant.NAME] in the configuration, found none; "
                    "leave --variant out"
                )
            if name not in self.names:
                raise ConfigError(
                    f"--variant {name}: expected a variant of the configuration, {hint_of_nearest(name, self.names)}"
                )
        return tuple(variant for variant in self.variants if not names or variant.name in names)

    def the_one(self, name: str | None) -> Variant:
        """Return the variant of a name, or the only one.

        Raises:
            ConfigError: there are several and none is named, or there is none of this name.
        """
        found = self.chosen([] if name is None else [name])
        if len(found) > 1:
            raise ConfigError(
                f"expected one variant, found {', '.join(self.names)} in the configuration; name one with --variant"
            )
        return found[0]


def load_experiment(path: Path, overrides: Sequence[str]) -> Experiment:
    """Read a configuration with its variants; overrides without a top-level table mean [extract].

    Raises:
        ConfigError: the file, an override or a variant does not fit; all mistakes in variants are listed at once.
    """
    config = load_extract_config(path, overrides)
    if not config.variant_names:
        return Experiment.of(config)
    mistakes = Mistakes()
    base = read_tables(path, mistakes, overrides=full_overrides(overrides))["extract"]
    found = []
    for name, own in base.pop("variant").items():
        with mistakes.gathered():
            found.append(_read_variant(name, own, base, config, path=path))
    with mistakes.gathered():
        _check_together(config, path)
    mistakes.raise_all()
    return Experiment(config, tuple(found))


def _read_variant(
    name: str, own: Mapping[str, Any], base: Mapping[str, Any], config: ExtractConfig, *, path: Path
) -> Variant:
    """Read a variant from its own table and that of [extract], which was read without a mistake as `config`.

    Raises:
        ConfigError: a key or value is wrong, or would have scans prepared in another way.
    """
    place = ("extract", "variant", name)
    where = f"{path}: {'.'.join(place)}"
    if "variant" in own:
        raise ConfigError(
            f"{where}.variant: a variant has no variants of its own; write [extract.variant.NAME]"
        )
    mistakes = Mistakes()
    values = _merged(_without_alternatives(base, own), own, ExtractSection)
    section = read_section(values, ExtractSection, mistakes, path=path, place=place)
    mistakes.raise_all()
    assert section is not None  # there was no mistake
    read = resolved_config(config.model_copy(update={"extract": section}), where, str(path))
    for key in _prepared_otherwise(own, read.extract, config.extract):
        mistakes.add(
            ConfigError(
                f"{where}.{key}: expected the value of [extract], because {_WHY[key.partition('.')[0]]}, found another; set "
                "it in [extract], or make these bags by a configuration of their own with another `output`"
            )
        )
    mistakes.raise_all()
    return Variant(name, read)


def _without_alternatives(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return [extract] without the keys that say in another way what the variant says."""
    left = dict(base)
    gone = {"layer": ("layers",), "layers": ("layer",), "encoder": ("card",), "weights": ("card",)}
    for key in own:
        for other in OF_A_CARD if key == "card" else gone.get(key, ()):
            left.pop(other, None)
    if "card" in own:
        given = left.get("input", {}).items()
        left["input"] = {key: value for key, value in given if key not in INPUT_OF_A_CARD}
    return left


def _merged(base: Mapping[str, Any], own: Mapping[str, Any], kind: type[Section]) -> dict[str, Any]:
    """Return the keys of both tables, those of `own` first; tables that have a class of their own are merged likewise."""
    merged = {**base, **own}
    for key in base.keys() & own.keys() & kind.model_fields.keys():
        inner, are_tables = kind.model_fields[key].annotation, isinstance(own[key], Mapping)
        if are_tables and isinstance(inner, type) and issubclass(inner, Section):
            merged[key] = _merged(base[key], own[key], inner)
    return merged


def _prepared_otherwise(
    own: Mapping[str, Any], section: ExtractSection, base: ExtractSection
) -> Iterator[str]:
    """Yield the keys of a variant by which its slices would not be those in the store."""
    for key in (key for key in _WHY if key in own):
        value, expected = getattr(section, key), getattr(base, key)
        if isinstance(value, Section) and isinstance(expected, Section):
            yield from (f"{key}.{k}" for k in own[key] if getattr(value, k) != getattr(expected, k))
        elif value != expected:
            yield key


def _check_together(config: ExtractConfig, path: Path) -> None:
    names = config.variant_names
    alike = {name.lower(): name for name in names}
    for name in names:
        if alike[name.lower()] != name:
            raise ConfigError(
                f"{path}: extract.variant.{name}: expected names that differ not only in case, found {alike[name.lower()]}, "
                "too: some systems take their folders for one"
            )
    if not config.extract.store:
        raise ConfigError(
            f"{path}: extract.store: expected true with variants, because {_WHY['store']}, found false"
        )

"""Signs of tumours, drawn from the joint tables of `facts`: many tumours at once, no voxel needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from extract.phantom import facts

Flags = NDArray[np.bool_]
ANCILLARY = ("satellites", "retraction", "biliary_dilatation", "mosaic")
CLASSWISE = ("lobulated", "cirrhosis")


@dataclass(frozen=True, eq=False)
class Signs:
    """Which signs n tumours show.

    Attributes:
        label: intp (n,), index into facts.CLASSES.
        pattern: intp (n,), index into patterns_of(class): which row of the joint table was drawn.
        hcc_fraction: float64 (n,), share of HCC-like tissue.
    """

    label: NDArray[np.intp]
    pattern: NDArray[np.intp]
    hcc_fraction: NDArray[np.float64]
    nonrim_aphe: Flags
    rim_aphe: Flags
    washout: Flags
    capsule: Flags
    progressive: Flags
    lobulated: Flags
    cirrhosis: Flags
    satellites: Flags
    retraction: Flags
    biliary_dilatation: Flags
    mosaic: Flags

    def __len__(self) -> int:
        return len(self.label)

    def flags(self, names: Sequence[str]) -> Flags:
        """Return the named signs as columns, (n, names)."""
        return np.stack([getattr(self, name) for name in names], axis=1)

    @property
    def targetoid(self) -> Flags:
        """Whether a sign of iCCA-like tissue shows: a rim or progressive enhancement."""
        return self.rim_aphe | self.progressive

    def row(self, i: int) -> Mapping[str, bool]:
        """Return the signs of one tumour by name."""
        return {f.name: bool(getattr(self, f.name)[i]) for f in fields(self)[3:]}


def patterns_of(name: str) -> tuple[tuple[str, ...], ...]:
    """Return the patterns of a class in the order of the joint table."""
    return tuple(facts.PATTERNS[name])


def pattern_probabilities(name: str) -> NDArray[np.float64]:
    """Return the probability of each pattern of a class."""
    counts = np.array(list(facts.PATTERNS[name].values()), np.float64)
    return np.asarray(counts / counts.sum())


def draw_signs(label: NDArray[np.intp], rng: np.random.Generator) -> Signs:
    """Draw the signs of tumours with the given classes (indices into facts.CLASSES)."""
    n = len(label)
    pattern = np.zeros(n, np.intp)
    markers = np.zeros((n, len(facts.MARKERS)), bool)
    for of_class, name in _members(label):
        shares = pattern_probabilities(name)
        pattern[of_class] = rng.choice(len(shares), size=int(of_class.sum()), p=shares)
        markers[of_class] = _marker_table(name)[pattern[of_class]]
    shown = dict(zip(facts.MARKERS, markers.T, strict=True))
    targetoid = shown["rim_aphe"] | shown["progressive"]
    return Signs(
        label=label,
        pattern=pattern,
        hcc_fraction=_hcc_fraction(label, shown, rng),
        **shown,
        lobulated=rng.random(n) < _by_class(label, facts.LOBULATED),
        cirrhosis=rng.random(n) < _by_class(label, facts.CIRRHOSIS),
        **{name: _ancillary(name, targetoid, shown["nonrim_aphe"], rng) for name in ANCILLARY},
    )


def _ancillary(name: str, targetoid: Flags, nonrim: Flags, rng: np.random.Generator) -> Flags:
    share = np.where(nonrim, facts.ANCILLARY_NONRIM[name], 0.0)
    share = np.where(targetoid, np.maximum(share, facts.ANCILLARY_TARGETOID[name]), share)
    return np.asarray(rng.random(len(share)) < share)


def _hcc_fraction(
    label: NDArray[np.intp], shown: Mapping[str, Flags], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the HCC-like share: U(0.05, 0.97) over all cHCC-CCA, high where only signs of HCC show.

    cHCC-CCA are ranked by what shows: signs of iCCA alone lowest, signs of HCC alone highest, the rest between,
    each group taking that part of the range that equals its share of the joint table. A tumour of iCCA that
    looks like HCC is HCC-like throughout, the other iCCA not at all.
    """
    targetoid = shown["rim_aphe"] | shown["progressive"]
    hcc_like = shown["nonrim_aphe"] | shown["washout"] | shown["capsule"]
    only_icca, only_hcc = _mixed_limits()
    low = np.where(hcc_like & ~targetoid, only_hcc, np.where(targetoid & ~hcc_like, 0.0, only_icca))
    high = np.where(hcc_like & ~targetoid, 1.0, np.where(targetoid & ~hcc_like, only_icca, only_hcc))
    start, stop = facts.FRACTION
    mixed = start + (stop - start) * (low + (high - low) * rng.random(len(label)))
    pure = (label == facts.CLASSES.index("HCC")) | (hcc_like & ~targetoid)
    return np.where(label == facts.CLASSES.index("cHCC-CCA"), mixed, pure.astype(np.float64))


def _mixed_limits() -> tuple[float, float]:
    table = _marker_table("cHCC-CCA")
    shares = pattern_probabilities("cHCC-CCA")
    n, r, w, c, p = table.T
    only_icca = float(shares[(r | p) & ~(n | w | c)].sum())
    only_hcc = float(shares[(n | w | c) & ~(r | p)].sum())
    return only_icca, 1.0 - only_hcc


def _marker_table(name: str) -> Flags:
    return np.array([[m in pattern for m in facts.MARKERS] for pattern in facts.PATTERNS[name]])


def _members(label: NDArray[np.intp]) -> Iterator[tuple[Flags, str]]:
    for index, name in enumerate(facts.CLASSES):
        yield label == index, name


def _by_class(label: NDArray[np.intp], table: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array([table[name] for name in facts.CLASSES])[label]

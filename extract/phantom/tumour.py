"""A tumour as shapes: outline, rim, parts, necrosis, satellites, dilated ducts, dent of the liver."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from extract.phantom import facts
from extract.phantom.anatomy import Anatomy
from extract.phantom.geometry import (
    Ellipsoid,
    Field,
    Place,
    Points,
    Tube,
    Vector,
    Waves,
    blend,
    draw_waves,
    opacity,
)

_BULGE_MM = 5.0
_CANDIDATES = 600


@dataclass(frozen=True)
class Tumour:
    """Where a tumour lies and how it is built; its HU come per phase.

    Attributes:
        solid: the outline before its bumps.
        bumps: (share of the radius, field) of the outline.
        rim_mm: thickness of the rim of iCCA-like tissue.
        hcc_fraction: share of HCC-like tissue.
        parts: field that decides which tissue lies where, above `parts_limit` HCC-like.
        necrosis: field, above `necrosis_limit` necrotic; the limit is infinite without necrosis.
        mosaic_hu: HU by which nodules differ from each other; 0 without mosaic.
        capsule_mm: thickness of the capsule; 0 without.
        edge_mm: how gradually it passes into the liver.
    """

    solid: Ellipsoid
    bumps: tuple[float, Waves]
    rim_mm: float
    hcc_fraction: float
    parts: Waves
    parts_limit: float
    necrosis: Waves
    necrosis_limit: float
    mosaic_hu: float
    nodules: Waves
    texture: Waves
    capsule_mm: float
    edge_mm: float
    satellites: tuple[Ellipsoid, ...]
    ducts: tuple[Tube, ...]
    dent: Ellipsoid | None

    @property
    def reach(self) -> Vector:
        """Half the sides of a box that holds the tumour and its capsule."""
        x, y, z = (r * (1 + 3 * self.bumps[0]) + 5 for r in self.solid.radii)
        return x, y, z

    def depth(self, place: Place, liver: Field) -> Field:
        """Depth below the surface of the main tumour in mm; it bulges from the liver by 5 mm at most, and not where it dents it."""
        share, waves = self.bumps
        radius = self.solid.radius(place) + np.float32(share) * place.wave(waves)
        mean = np.float32(np.mean(self.solid.radii))
        bulge = 0.0 if self.dent is not None else _BULGE_MM
        return np.asarray(np.minimum((1 - radius) * mean, liver + np.float32(bulge)), np.float32)

    def hu(self, place: Place, depth: Field, levels: Mapping[str, float]) -> Field:
        """HU of the tissue at a given depth, without noise."""
        tissue: Field = np.asarray(levels["hcc"] + self.mosaic_hu * np.tanh(2.5 * place.wave(self.nodules)))
        if self.hcc_fraction < 1:
            uneven = np.float32(self.rim_mm) * (1 + np.float32(0.35) * place.wave(self.nodules))
            rim = opacity(np.asarray(uneven - depth, np.float32), 0.5 * self.rim_mm)
            targetoid = levels["core"] + (levels["rim"] - levels["core"]) * rim
            share = opacity(place.wave(self.parts) - self.parts_limit, 0.15)
            tissue = targetoid if self.hcc_fraction == 0 else blend(targetoid, tissue, share)
        tissue = tissue + np.float32(facts.TUMOUR_TEXTURE_HU) * place.wave(self.texture)
        if np.isfinite(self.necrosis_limit):
            inner = opacity(depth - 0.3 * float(np.mean(self.solid.radii)), 3)
            dead = inner * opacity(place.wave(self.necrosis) - self.necrosis_limit, 0.3)
            tissue = blend(tissue, levels["necrosis"], dead)
        return np.asarray(tissue, np.float32)


def draw_diameter(name: str, *, equal: bool, rng: np.random.Generator) -> float:
    """Draw the largest diameter in mm from a log-normal with the published median and quartiles."""
    median, low, high = facts.DIAMETER_POOLED if equal else facts.DIAMETER[name]
    sigma = np.log(high / low) / (2 * 0.6745)
    smallest, largest = facts.DIAMETER_LIMITS
    for _ in range(1000):
        diameter = median * np.exp(sigma * rng.standard_normal())
        if smallest <= diameter <= largest:
            return float(diameter)
    return median


def draw_tumour(
    anatomy: Anatomy,
    signs: Mapping[str, bool],
    *,
    diameter_mm: float,
    hcc_fraction: float,
    rng: np.random.Generator,
) -> Tumour:
    """Place and shape a tumour that shows the given signs."""
    radius = diameter_mm / 2
    axes = np.sort(rng.uniform(0.78, 1.0, 3))
    axes = rng.permutation(axes / axes[-1]) * radius
    centre = _seat(anatomy, radius, rng, at_surface=signs["retraction"])
    solid = Ellipsoid(centre, (float(axes[0]), float(axes[1]), float(axes[2])))
    bumps = (0.11, draw_waves(0.9 * radius, rng)) if signs["lobulated"] else (0.045, draw_waves(radius, rng))
    inside = Points((np.array(centre) + _in_ball(1500, rng) * axes).astype(np.float32))
    parts, necrosis = draw_waves(1.7 * radius, rng), draw_waves(0.8 * radius, rng)
    necrotic = diameter_mm > 50 and rng.random() < facts.NECROSIS
    targetoid = signs["rim_aphe"] or signs["progressive"]
    return Tumour(
        solid=solid,
        bumps=bumps,
        rim_mm=float(np.clip(facts.RIM_SHARE * radius, 2.5, 9)),
        hcc_fraction=hcc_fraction,
        parts=parts,
        parts_limit=float(np.quantile(inside.wave(parts), 1 - hcc_fraction)),
        necrosis=necrosis,
        necrosis_limit=float(np.quantile(inside.wave(necrosis), 0.75)) if necrotic else float("inf"),
        mosaic_hu=float(rng.uniform(10, 16)) if signs["mosaic"] else 0.0,
        nodules=draw_waves(float(np.clip(0.7 * radius, 12, 26)), rng),
        texture=draw_waves(9, rng, count=32),
        capsule_mm=float(rng.uniform(1.2, 3)) if signs["capsule"] else 0.0,
        edge_mm=1.0 if signs["capsule"] else float(rng.uniform(3, 5) if targetoid else rng.uniform(1.5, 3.5)),
        satellites=_satellites(anatomy, solid, rng) if signs["satellites"] else (),
        ducts=_ducts(anatomy, solid, rng) if signs["biliary_dilatation"] else (),
        dent=_dent(anatomy, solid, rng) if signs["retraction"] else None,
    )


def _seat(anatomy: Anatomy, radius: float, rng: np.random.Generator, *, at_surface: bool) -> Vector:
    """Choose a centre as deep in the liver as the tumour is large, or, for a retraction, nearer the surface."""
    liver = anatomy.liver
    xyz = np.array(liver.centre) + rng.uniform(-1, 1, (_CANDIDATES, 3)) * np.array(liver.reach)
    depth = anatomy.liver_depth(Points(xyz.astype(np.float32)))
    wanted = min(0.75 * radius, 0.9 * float(depth.max()))
    fitting = np.flatnonzero(depth >= wanted)
    chosen = fitting[np.argmin(depth[fitting])] if at_surface else rng.choice(fitting)
    return _vector(xyz[chosen])


def _satellites(anatomy: Anatomy, solid: Ellipsoid, rng: np.random.Generator) -> tuple[Ellipsoid, ...]:
    """Place two to five nodules of 5 to 14 mm within 20 mm of the tumour, inside the liver."""
    directions = _unit(rng.standard_normal((40, 3)))
    radii = rng.uniform(2.5, 7, 40)
    away = np.array(solid.radii) + (radii + rng.uniform(3, 20, 40))[:, None]
    xyz = np.array(solid.centre) + directions * away
    fitting = np.flatnonzero(anatomy.liver_depth(Points(xyz.astype(np.float32))) > radii)
    chosen = fitting[: rng.integers(2, 6)]
    return tuple(Ellipsoid(_vector(xyz[i]), (radii[i], radii[i], radii[i])) for i in chosen)


def _ducts(anatomy: Anatomy, solid: Ellipsoid, rng: np.random.Generator) -> tuple[Tube, ...]:
    """Lead three to five ducts of 3 to 8 mm from the tumour towards the nearest liver surface."""
    directions = _unit(rng.standard_normal((60, 3)))
    start = np.array(solid.centre) + directions * np.array(solid.radii) * 0.95
    end = start + directions * rng.uniform(22, 45, (60, 1))
    fitting = np.flatnonzero(anatomy.liver_depth(Points(end.astype(np.float32))) > 4)
    chosen = fitting[: rng.integers(3, 6)]
    return tuple(Tube(_vector(start[i]), _vector(end[i]), rng.uniform(2.5, 4), 1.5) for i in chosen)


def _dent(anatomy: Anatomy, solid: Ellipsoid, rng: np.random.Generator) -> Ellipsoid:
    """Press a ball into the liver where its surface is nearest to the tumour, 10 mm deep."""
    steps = np.linspace(0, 120, 61)
    directions = _unit(rng.standard_normal((80, 3)))
    points = np.array(solid.centre) + directions[:, None] * steps[:, None]
    depth = anatomy.liver_depth(Points(points.reshape(-1, 3).astype(np.float32))).reshape(80, 61)
    first_outside = np.where((depth < 0).any(axis=1), np.argmax(depth < 0, axis=1), 60)
    nearest = int(np.argmin(first_outside))
    ball = rng.uniform(14, 20)
    centre = np.array(solid.centre) + directions[nearest] * (steps[first_outside[nearest]] + ball - 10)
    return Ellipsoid(_vector(centre), (ball, ball, ball))


def _in_ball(n: int, rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.asarray(_unit(rng.standard_normal((n, 3))) * rng.random((n, 1)) ** (1 / 3))


def _unit(
    vectors: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _vector(xyz: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Vector:
    x, y, z = (float(c) for c in xyz)
    return x, y, z

"""The upper abdomen without the tumour: drawn as solids in mm, then read on any grid."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.phantom.geometry import Ellipsoid, Field, Grid, Place, Tube, Vector, Waves, draw_waves, union

LIVER_BOTTOM_MM, LIVER_TOP_MM = -100.0, 88.0
_INF = float("inf")
_SPINE_BED = Ellipsoid((0, -78, 0), (44, 44, _INF))


@dataclass(frozen=True)
class Liver:
    """The liver as two lobes, less the organs and fissures that press into it."""

    right: Ellipsoid
    left: Ellipsoid
    pressed_by: tuple[Ellipsoid, ...]
    relief: tuple[tuple[float, Waves], ...]
    """(amplitude in mm, field) of the bumps of the surface."""
    texture: tuple[float, Waves]
    """(amplitude in HU, field) of the parenchyma."""

    def depth(self, place: Place, cavity: Field) -> Field:
        """Depth below the capsule in mm; `cavity` is the depth below the abdominal wall."""
        x, _, z = place.mesh
        lobes = union(self.right.depth(place), self.left.depth(place), blend_mm=12)
        underside = 0.8 * (z + 42 + np.float32(0.7) * (x - 20))
        depth = np.minimum(np.minimum(lobes, underside), cavity - 2)
        for solid in self.pressed_by:
            depth = np.minimum(depth, -solid.depth(place))
        for amplitude, waves in self.relief:
            depth = depth + np.float32(amplitude) * place.wave(waves)
        return np.asarray(depth, np.float32)

    @property
    def centre(self) -> Vector:
        """Middle of the box that holds the liver."""
        return 30.0, 5.0, (LIVER_BOTTOM_MM + LIVER_TOP_MM) / 2

    @property
    def reach(self) -> Vector:
        """Half the sides of that box."""
        return 125.0, 105.0, (LIVER_TOP_MM - LIVER_BOTTOM_MM) / 2 + 6


@dataclass(frozen=True)
class Part:
    """A solid with the organ whose HU it takes."""

    organ: str
    solid: Ellipsoid | Tube


@dataclass(frozen=True)
class Anatomy:
    """One patient without the tumour.

    Attributes:
        body: half width and half depth of the skin in mm.
        fat_mm, wall_mm: thickness of the subcutaneous fat and of the muscles below it.
        parts: organs outside the liver, painted in order.
        vessels: portal and hepatic veins inside the liver.
        rib_phase: where along the wall the ribs start, in radians.
    """

    body: tuple[float, float]
    fat_mm: float
    wall_mm: float
    liver: Liver
    parts: tuple[Part, ...]
    vessels: tuple[Part, ...]
    rib_phase: float

    def skin(self, place: Place) -> Field:
        """Depth below the skin in mm; the same in every slice."""
        x, y, _ = place.mesh
        return _oval(x, y, self.body)

    def cavity(self, place: Place) -> Field:
        """Depth below the inner side of the abdominal wall in mm."""
        rind = self.fat_mm + self.wall_mm
        x, y, _ = place.mesh
        return _oval(x, y, (self.body[0] - rind, self.body[1] - rind))

    def liver_depth(self, place: Place) -> Field:
        """Depth below the liver capsule in mm."""
        return self.liver.depth(place, self.cavity(place))

    def lung(self, grid: Grid) -> Field:
        """Height above the diaphragm in mm, inside the cavity."""
        x, y, z = grid.mesh
        right = ((x - 62) / 90) ** 2 + (y / 102) ** 2
        left = ((x + 80) / 80) ** 2 + (y / 95) ** 2
        dome = np.maximum(_dome(right, 78), _dome(left, 66))
        middle = 95 * np.exp(-((x / 34) ** 2)) * np.exp(-((np.maximum(np.abs(y) - 60, 0) / 40) ** 2))
        chest = np.minimum(self.cavity(grid) - 2, -_SPINE_BED.depth(Grid(grid.x, grid.y, grid.z[:1])))
        return np.asarray(np.minimum(z - np.maximum(dome, middle), chest), np.float32)


def draw_anatomy(*, cirrhosis: bool, rng: np.random.Generator) -> Anatomy:
    """Draw the body of one patient."""
    size = rng.uniform(0.94, 1.06)
    fat = rng.uniform(8, 26)
    body = (148 * size + fat, 107 * size + 0.8 * fat)
    liver = _draw_liver(size, rng, cirrhosis=cirrhosis)
    return Anatomy(
        body=body,
        fat_mm=fat,
        wall_mm=rng.uniform(11, 15),
        liver=liver,
        parts=tuple(_draw_parts(size, rng, cirrhosis=cirrhosis)),
        vessels=tuple(_draw_vessels(size, rng)),
        rib_phase=rng.uniform(0, 2 * np.pi),
    )


def _oval(x: Field, y: Field, radii: tuple[float, float]) -> Field:
    """Depth in a rounded rectangle, the cross-section of a trunk."""
    power = 2.4
    q = (np.abs(x / radii[0]) ** power + np.abs(y / radii[1]) ** power) ** (1 / power)
    return np.asarray((1 - q) * np.float32(np.mean(radii)), np.float32)


def _dome(square: NDArray[np.floating[Any]], height: float) -> Field:
    """Height of a hemidiaphragm: an arch that falls off into the costophrenic angle."""
    arch = height * np.sqrt(np.maximum(1 - square, 0))
    return np.asarray(12 + arch - 70 * np.maximum(np.sqrt(square) - 1, 0), np.float32)


def _draw_liver(size: float, rng: np.random.Generator, *, cirrhosis: bool) -> Liver:
    shrink, grow = (0.93, 1.12) if cirrhosis else (1.0, 1.0)
    right = _jittered(Ellipsoid((62, 0, 0), (80 * shrink, 90 * shrink, 84)), size, rng)
    left = _jittered(Ellipsoid((-12, 40, 22), (80 * grow, 44 * grow, 42 * grow)), size, rng)
    pressed_by = (
        Ellipsoid((-2, -66, 0), (44, 56, _INF)),  # spine and great vessels
        Ellipsoid((58, -66, -78), (37, 36, 62)),  # right kidney
        Ellipsoid((4, 62, -24), (2.6, 24, 30)),  # fissure of the ligamentum teres
        Ellipsoid((40, 44, -52), (17, 22, 30)),  # gallbladder
    )
    relief = [(2.0, draw_waves(75, rng))]
    if cirrhosis:
        relief.append((1.1, draw_waves(16, rng, count=32)))
    texture = (5.0 if cirrhosis else 1.5, draw_waves(11, rng, count=32))
    scaled = tuple(_scaled(solid, size) for solid in pressed_by)
    return Liver(right, left, scaled, tuple(relief), texture)


def _draw_parts(size: float, rng: np.random.Generator, *, cirrhosis: bool) -> Iterable[Part]:
    swollen = rng.uniform(1.1, 1.35) if cirrhosis else rng.uniform(0.9, 1.05)
    solids: Mapping[str, tuple[Ellipsoid, ...]] = {
        "bowel": (
            Ellipsoid((-40, 55, -72), (24, 20, 20)),
            Ellipsoid((-82, 40, -60), (20, 24, 26)),
            Ellipsoid((5, 62, -78), (22, 17, 16)),
            Ellipsoid((-50, 10, -82), (26, 22, 16)),
            Ellipsoid((40, 60, -92), (24, 18, 16)),
            Ellipsoid((90, 38, -96), (20, 24, 14)),
            Ellipsoid((36, 6, -66), (13, 14, 24)),  # duodenum
            Ellipsoid((-108, 22, -48), (15, 22, 40)),  # left flexure of the colon
        ),
        "muscle": (
            Ellipsoid((13, -44, 25), (5, 15, 60)),  # crura of the diaphragm
            Ellipsoid((-31, -47, 25), (5, 15, 60)),
            Ellipsoid((33, -78, -110), (17, 16, 55)),  # psoas
            Ellipsoid((-33, -78, -110), (17, 16, 55)),
        ),
        "stomach": (Ellipsoid((-70, 24, 16), (44, 42, 48)), Ellipsoid((-28, 46, -32), (36, 22, 18))),
        "spleen": (Ellipsoid((-108, -38, 14), (26 * swollen, 44 * swollen, 48 * swollen)),),
        "kidney_cortex": (Ellipsoid((58, -56, -70), (29, 28, 52)), Ellipsoid((-62, -56, -54), (29, 28, 52))),
        "kidney_medulla": (Ellipsoid((54, -54, -70), (18, 17, 38)), Ellipsoid((-58, -54, -54), (18, 17, 38))),
        "renal_sinus": (Ellipsoid((46, -50, -70), (13, 8, 20)), Ellipsoid((-50, -50, -54), (13, 8, 20))),
        "pancreas": (Ellipsoid((-20, 6, -40), (44, 10, 13)), Ellipsoid((18, 10, -58), (16, 15, 22))),
        "bile": (Ellipsoid((40, 44, -56), (14, 19, 26)),),
        "heart": (Ellipsoid((-16, 34, 112), (62, 48, 44)),),
    }
    for organ, group in solids.items():
        for solid in group:
            yield Part(organ, _jittered(solid, size, rng, shift_mm=3))
    x, y = -13 + rng.uniform(-4, 4), -40 + rng.uniform(-3, 3)
    yield Part("aorta", Ellipsoid((x, y, 0), (11.5, 11.5, _INF)))
    yield Part("hepatic_veins", Ellipsoid((x + 34, y + 6, 0), (13, 10, _INF)))  # inferior vena cava
    yield Part("portal_vein", Tube((6 * size, -4, -62), (24 * size, 4, -10), 6.5, 6.5))


def _draw_vessels(size: float, rng: np.random.Generator) -> Iterable[Part]:
    hilum, cava = (24, 4, -10), (19, -30, 60)
    trunks: Iterable[tuple[str, float, tuple[Vector, ...]]] = (
        ("portal_vein", 5.5, (hilum, (56, 0, -2), (84, 36, 16))),
        ("portal_vein", 4.5, ((56, 0, -2), (94, -30, -18))),
        ("portal_vein", 4.0, ((56, 0, -2), (92, 18, -44))),
        ("portal_vein", 4.5, (hilum, (2, 36, 10), (-44, 46, 24))),
        ("hepatic_veins", 5.5, (cava, (58, -18, 42), (104, -6, 2))),
        ("hepatic_veins", 5.0, (cava, (44, 24, 38), (54, 58, -2))),
        ("hepatic_veins", 4.5, (cava, (-2, 18, 50), (-46, 44, 30))),
    )
    for organ, radius, route in trunks:
        moved = [_moved(point, size, rng, 4 if i else 0) for i, point in enumerate(route)]
        for start, end in pairwise(moved):
            yield Part(organ, Tube(start, end, radius, 0.75 * radius))
            yield from _twigs(organ, start, end, 0.5 * radius, rng)


def _twigs(organ: str, start: Vector, end: Vector, radius: float, rng: np.random.Generator) -> Iterable[Part]:
    for share in (0.25, 0.45, 0.6, 0.75, 0.9, 1.0):
        root = np.add(start, share * np.subtract(end, start))
        direction = np.subtract(end, start) / np.linalg.norm(np.subtract(end, start))
        direction = direction + rng.normal(0, 0.8, 3)
        tip = root + direction / np.linalg.norm(direction) * rng.uniform(18, 44)
        yield Part(organ, Tube(_vector(root), _vector(tip), radius, 0.5 * radius))


def _jittered(solid: Ellipsoid, size: float, rng: np.random.Generator, *, shift_mm: float = 4.0) -> Ellipsoid:
    x, y, z = (size * c + rng.uniform(-shift_mm, shift_mm) for c in solid.centre)
    a, b, c = (size * r * rng.uniform(0.95, 1.05) for r in solid.radii)
    return Ellipsoid((x, y, z), (a, b, c))


def _scaled(solid: Ellipsoid, size: float) -> Ellipsoid:
    return replace(solid, centre=_vector(np.multiply(size, solid.centre)),
                   radii=_vector(np.multiply(size, solid.radii)))  # fmt: skip


def _moved(point: Vector, size: float, rng: np.random.Generator, by_mm: float) -> Vector:
    return _vector(np.multiply(size, point) + rng.uniform(-by_mm, by_mm, 3))


def _vector(xyz: Iterable[float]) -> Vector:
    x, y, z = (float(c) for c in xyz)
    return x, y, z

"""Solids and smooth random fields, evaluated on the voxels of a box or at single points.

A solid is its depth in mm: positive inside, negative outside, exact at the surface and roughly a distance near
it. Patient coordinates are RAS+: x towards the right, y anterior, z superior.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random field of mean 0 and variance 1, the same wherever and on whatever grid it is read.

    The sum of K plane waves of one wavelength. On a grid a plane wave is a product of three vectors, so the sum
    is one matrix product: as cheap as a handful of additions per voxel.

    Attributes:
        vectors: float64 (K, 3), wave vectors in radians per mm.
        offsets: float64 (K,), phases in radians.
    """

    vectors: NDArray[np.float64]
    offsets: NDArray[np.float64]


def draw_waves(wavelength_mm: float, rng: np.random.Generator, *, count: int = 20) -> Waves:
    """Draw a field whose hills are about half a wavelength wide."""
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = wavelength_mm * rng.uniform(0.75, 1.35, (count, 1))
    return Waves(directions * 2 * np.pi / lengths, rng.uniform(0, 2 * np.pi, count))


class Place(Protocol):
    """Where solids and fields are read: a grid, or loose points."""

    @property
    def mesh(self) -> tuple[Field, Field, Field]:
        """Coordinates along x, y and z, broadcasting against each other."""

    def wave(self, waves: Waves) -> Field:
        """Read a random field."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxel centres of a box: float32 coordinates in mm along x (columns), y (rows) and z (slices).

    Arrays over a grid have the shape (z, y, x), the order in which NIfTI stores voxels.
    """

    x: Field
    y: Field
    z: Field

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return len(self.z), len(self.y), len(self.x)

    @property
    def mesh(self) -> tuple[Field, Field, Field]:
        """Coordinates shaped (1, 1, x), (1, y, 1) and (z, 1, 1)."""
        return self.x[None, None, :], self.y[None, :, None], self.z[:, None, None]

    def wave(self, waves: Waves) -> Field:
        """Read a random field, float32 (z, y, x)."""
        x, y, z = (np.exp(1j * np.outer(axis, waves.vectors[:, i])) for i, axis in
                   enumerate((self.x, self.y, self.z)))  # fmt: skip
        x = x * np.exp(1j * waves.offsets)
        rows = (z[:, None, :] * y[None, :, :]).reshape(-1, len(waves.offsets))
        left = np.concatenate([rows.real, -rows.imag], axis=1).astype(np.float32)  # (z * y, 2 K)
        right = np.concatenate([x.real, x.imag], axis=1).astype(np.float32)  # (x, 2 K)
        scale = np.float32(np.sqrt(2 / len(waves.offsets)))
        return np.asarray((left @ (scale * right.T)).reshape(self.shape), np.float32)

    def near(self, centre: Vector, reach: Vector) -> tuple[Box, "Grid"]:
        """Return the part of the grid within `reach` of a point: as slices (z, y, x) and as a grid."""
        x, y, z = (_within(axis, c, r) for axis, c, r in
                   zip((self.x, self.y, self.z), centre, reach, strict=True))  # fmt: skip
        return (z, y, x), Grid(self.x[x], self.y[y], self.z[z])

    def __bool__(self) -> bool:
        return 0 not in self.shape


@dataclass(frozen=True, eq=False)
class Points:
    """Loose points, float32 (n, 3)."""

    xyz: Field

    @property
    def mesh(self) -> tuple[Field, Field, Field]:
        """Coordinates, three times (n,)."""
        return self.xyz[:, 0], self.xyz[:, 1], self.xyz[:, 2]

    def wave(self, waves: Waves) -> Field:
        """Read a random field, float32 (n,)."""
        angles = self.xyz @ waves.vectors.T + waves.offsets
        return np.asarray(np.cos(angles).sum(axis=1) * np.sqrt(2 / len(waves.offsets)), np.float32)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the axes; a radius of infinity makes it a cylinder."""

    centre: Vector
    radii: Vector

    def radius(self, place: Place) -> Field:
        """Distance from the centre in units of the surface: 0 there, 1 on the surface."""
        squares = [((axis - np.float32(c)) * np.float32(1 / r)) ** 2
                   for axis, c, r in zip(place.mesh, self.centre, self.radii, strict=True)]  # fmt: skip
        return np.asarray(np.sqrt(squares[0] + squares[1] + squares[2]), np.float32)

    def depth(self, place: Place) -> Field:
        """Depth below the surface in mm."""
        finite = [r for r in self.radii if np.isfinite(r)]
        return np.asarray((1 - self.radius(place)) * np.float32(np.mean(finite)), np.float32)

    @property
    def reach(self) -> Vector:
        """Half the sides of a box that holds it with a margin."""
        x, y, z = (r + 6 for r in self.radii)
        return x, y, z


@dataclass(frozen=True)
class Tube:
    """A straight tube with round ends whose radius changes from `start` to `end`."""

    start: Vector
    end: Vector
    start_radius: float
    end_radius: float

    def depth(self, place: Place) -> Field:
        """Depth below the surface in mm."""
        axis = np.subtract(self.end, self.start)
        x, y, z = (p - np.float32(s) for p, s in zip(place.mesh, self.start, strict=True))
        ax, ay, az = (np.float32(a) for a in axis)
        along = np.clip((ax * x + ay * y + az * z) * np.float32(1 / max(axis @ axis, 1e-6)), 0, 1)
        square = (x - along * ax) ** 2 + (y - along * ay) ** 2 + (z - along * az) ** 2
        radius = self.start_radius + (self.end_radius - self.start_radius) * along
        return np.asarray(radius - np.sqrt(square), np.float32)

    @property
    def centre(self) -> Vector:
        """Middle of the tube."""
        x, y, z = np.add(self.start, self.end) / 2
        return float(x), float(y), float(z)

    @property
    def reach(self) -> Vector:
        """Half the sides of a box that holds it with a margin."""
        margin = max(self.start_radius, self.end_radius) + 3
        x, y, z = np.abs(np.subtract(self.end, self.start)) / 2 + margin
        return float(x), float(y), float(z)


def union(a: Field, b: Field, *, blend_mm: float) -> Field:
    """Return the depth in either of two solids, with the crease between them filled."""
    crease = np.maximum(blend_mm - np.abs(a - b), 0)
    return np.asarray(np.maximum(a, b) + crease * crease * np.float32(0.25 / blend_mm), np.float32)


def opacity(depth: Field, edge_mm: float) -> Field:
    """Return how much of a voxel a solid fills, from 0 to 1, over an edge of the given width."""
    return np.asarray(np.clip(depth * np.float32(1 / edge_mm) + np.float32(0.5), 0, 1), np.float32)


def blend(below: Field, above: Field | float, share: Field) -> Field:
    """Return `below` covered by `above` to the given share."""
    return np.asarray(below + share * (above - below), np.float32)


def _within(axis: Field, centre: float, reach: float) -> slice:
    inside = np.flatnonzero(np.abs(axis - centre) <= reach)
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)

"""Acquire a drawn patient: the voxels of one phase, a slab of slices at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from extract.phantom.anatomy import Anatomy, Part
from extract.phantom.geometry import Field, Grid, blend, opacity
from extract.phantom.subjects import ScanPlan, Subject
from extract.phantom.tumour import Tumour

_VOXELS_PER_SLAB = 3_000_000
_AIR_HU, _LUNG_HU = -1000.0, -850.0
_FIXED_HU = {"bowel": 35.0, "stomach": 30.0, "renal_sinus": -90.0}
"""[A] Organs without a row in the table."""
_HU_RANGE = (-1024, 3071)
_PADDING_HU = -1024


@dataclass(frozen=True, eq=False)
class Slab:
    """Neighbouring slices of a scan, arrays of shape (z, y, x).

    Attributes:
        hu: int16, Hounsfield units.
        tumour: bool, tumour and satellites.
        liver: bool, liver with the tumour.
    """

    hu: NDArray[np.int16]
    tumour: NDArray[np.bool_]
    liver: NDArray[np.bool_]


def affine(plan: ScanPlan, matrix: int) -> NDArray[np.float64]:
    """Return the 4 x 4 matrix from voxel to scanner coordinates (RAS+, mm)."""
    to_x, to_y = plan.orientation
    half = (matrix - 1) / 2 * plan.spacing_mm
    result = np.diag([to_x * plan.spacing_mm, to_y * plan.spacing_mm, plan.thickness_mm, 1.0])
    result[:3, 3] = -to_x * half, -to_y * half, plan.bottom_mm
    return result


def acquire(subject: Subject, plan: ScanPlan, matrix: int) -> Iterator[Slab]:
    """Scan one phase from bottom to top; memory is bounded by the slab, not by the scan."""
    rng = np.random.default_rng(plan.noise_seed)
    whole = patient_grid(plan, matrix)
    step = max(1, _VOXELS_PER_SLAB // matrix**2)
    outside = _outside_reconstruction(matrix)
    for first in range(0, plan.n_slices, step):
        grid = Grid(whole.x, whole.y, whole.z[first : first + step])
        picture = paint(subject, plan, grid)
        hu = _reconstruct(picture.hu, plan, rng)
        hu[:, outside] = _PADDING_HU
        yield Slab(hu, picture.tumour, picture.liver)


@dataclass(frozen=True, eq=False)
class Picture:
    """A painted grid before kernel and noise: float32 HU, and the two masks."""

    hu: Field
    tumour: NDArray[np.bool_]
    liver: NDArray[np.bool_]


def paint(subject: Subject, plan: ScanPlan, grid: Grid) -> Picture:
    """Paint the patient on a grid in patient coordinates."""
    edge = _edge_mm(plan)
    hu = _trunk(subject.anatomy, plan, grid)
    for part in subject.anatomy.parts:
        _paint_part(hu, grid, part, plan, edge)
    liver, tumour = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    box, inner = grid.near(subject.anatomy.liver.centre, subject.anatomy.liver.reach)
    if inner:
        _paint_liver(hu[box], liver[box], inner, subject, plan)
    box, inner = grid.near(subject.tumour.solid.centre, subject.tumour.reach)
    if inner:
        _paint_tumour(hu[box], tumour[box], inner, subject, plan)
    for nodule in subject.tumour.satellites:
        box, inner = grid.near(nodule.centre, nodule.reach)
        if inner:
            depth = nodule.depth(inner)
            tissue = plan.hu["hcc"] if subject.tumour.hcc_fraction >= 0.5 else plan.hu["rim"]
            hu[box] = blend(hu[box], tissue, opacity(depth, edge + 1))
            tumour[box] |= depth > 0
    return Picture(hu, tumour, liver | tumour)


def _edge_mm(plan: ScanPlan) -> float:
    """Width over which a surface fades, more in thick slices (partial volume)."""
    return plan.spacing_mm + 0.12 * plan.thickness_mm


def patient_grid(plan: ScanPlan, matrix: int) -> Grid:
    """Return the voxel centres of a scan in patient coordinates, which breathing has moved."""
    matrix_to_scanner = affine(plan, matrix)
    axes = [
        matrix_to_scanner[i, i] * np.arange(n) + matrix_to_scanner[i, 3] - plan.shift_mm[i]
        for i, n in enumerate((matrix, matrix, plan.n_slices))
    ]
    x, y, z = (axis.astype(np.float32) for axis in axes)
    return Grid(x, y, z)


def _trunk(anatomy: Anatomy, plan: ScanPlan, grid: Grid) -> Field:
    """Paint skin, fat, muscles, spine, ribs and lungs; all but ribs and lungs are the same in every slice."""
    flat = Grid(grid.x, grid.y, grid.z[:1])
    x, y, _ = flat.mesh
    skin, cavity = anatomy.skin(flat), anatomy.cavity(flat)
    edge = plan.spacing_mm
    fat, muscle = plan.hu["fat"], plan.hu["muscle"]
    base = np.full(flat.shape, _AIR_HU, np.float32)
    base = blend(base, 40.0, opacity(skin, edge))
    base = blend(base, fat, opacity(skin - 2, edge))
    base = blend(base, muscle, opacity(np.minimum(cavity + anatomy.wall_mm, 200), edge))
    base = blend(base, fat, opacity(cavity, edge))
    back = np.minimum(_flat_ellipse(x, y, (0, -98), (74, 34)), skin - anatomy.fat_mm)
    base = blend(base, muscle, opacity(back, edge))
    bone = np.minimum(_spine(x, y), skin - np.float32(0.6 * anatomy.fat_mm + 3))
    base = blend(base, _bone(x, y, edge), opacity(bone, edge))
    base = blend(base, 20.0, opacity(_flat_ellipse(x, y, (0, -92), (9, 8)), edge))
    hu = np.repeat(base, len(grid.z), axis=0)
    _paint_ribs(hu, grid, anatomy, cavity[0])
    _paint_lungs(hu, grid, anatomy)
    return hu


def _flat_ellipse(x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float]) -> Field:
    q = np.sqrt(((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2)
    return np.asarray((1 - q) * np.float32(np.mean(radii)), np.float32)


def _spine(x: Field, y: Field) -> Field:
    body = _flat_ellipse(x, y, (0, -68), (23, 18))
    arch = _flat_ellipse(x, y, (0, -92), (17, 14))
    process = _flat_ellipse(x, y, (0, -110), (4, 14))
    sides = np.maximum(_flat_ellipse(x, y, (24, -96), (17, 5)), _flat_ellipse(x, y, (-24, -96), (17, 5)))
    return np.asarray(np.maximum(np.maximum(body, arch), np.maximum(process, sides)), np.float32)


def _bone(x: Field, y: Field, edge: float) -> Field:
    """Spongy inside, dense at the surface."""
    return blend(np.full_like(x + y, 480.0), 170.0, opacity(_spine(x, y) - 2.5, edge + 1))


def _paint_ribs(hu: Field, grid: Grid, anatomy: Anatomy, cavity: Field) -> None:
    """Cut slanting ribs out of the middle of the wall, only where there is wall."""
    middle = np.abs(cavity + 0.45 * anatomy.wall_mm) - 4.0
    rows, columns = np.nonzero(middle < 1.5)
    if not len(rows):
        return
    angle = np.arctan2(grid.y[rows], grid.x[columns])
    along = np.cos(11 * angle + anatomy.rib_phase + grid.z[:, None] / 9)
    front = grid.y[rows] > 62  # cartilage and soft tissue in front
    across = opacity(-middle[rows, columns], 3.0) * ~front
    share = across * opacity((along - 0.55).astype(np.float32), 0.5)
    hu[:, rows, columns] = blend(hu[:, rows, columns], 330.0, share.astype(np.float32))


def _paint_lungs(hu: Field, grid: Grid, anatomy: Anatomy) -> None:
    first = int(np.searchsorted(grid.z, -60.0))
    above = Grid(grid.x, grid.y, grid.z[first:])
    if above:
        hu[first:] = blend(hu[first:], _LUNG_HU, opacity(anatomy.lung(above), 3.0))


def _paint_part(hu: Field, grid: Grid, part: Part, plan: ScanPlan, edge: float) -> None:
    box, inner = grid.near(part.solid.centre, part.solid.reach)
    if inner:
        level = _FIXED_HU.get(part.organ) or plan.hu["portal_vein" if part.organ == "heart" else part.organ]
        hu[box] = blend(hu[box], level, opacity(part.solid.depth(inner), edge))
        if part.organ in ("stomach", "bowel"):
            _paint_gas(hu[box], inner, part)


def _paint_gas(hu: Field, grid: Grid, part: Part) -> None:
    """Let gas float in front of the fluid level (patients lie on their backs)."""
    _, y, _ = grid.mesh
    level = part.solid.centre[1] + 0.45 * part.solid.reach[1]
    gas = np.minimum(part.solid.depth(grid) - 4, y - np.float32(level))
    hu[...] = blend(hu, -900.0, opacity(gas, 2.0))


def _paint_liver(hu: Field, mask: NDArray[np.bool_], grid: Grid, subject: Subject, plan: ScanPlan) -> None:
    anatomy, tumour, edge = subject.anatomy, subject.tumour, _edge_mm(plan)
    depth = _liver_depth(anatomy, tumour, grid)
    amplitude, texture = anatomy.liver.texture
    tissue = np.float32(plan.hu["liver"]) + np.float32(amplitude) * grid.wave(texture)
    hu[...] = blend(hu, tissue, opacity(depth, edge))
    mask |= depth > 0
    ducts = tuple(Part("bile", duct) for duct in tumour.ducts)
    for part in (*anatomy.vessels, *ducts):
        box, inner = grid.near(part.solid.centre, part.solid.reach)
        if inner:
            inside = np.minimum(part.solid.depth(inner), depth[box] - 2)
            hu[box] = blend(hu[box], plan.hu[part.organ], opacity(inside, edge))


def _liver_depth(anatomy: Anatomy, tumour: Tumour, grid: Grid) -> Field:
    depth = anatomy.liver_depth(grid)
    return depth if tumour.dent is None else np.minimum(depth, -tumour.dent.depth(grid))


def _paint_tumour(hu: Field, mask: NDArray[np.bool_], grid: Grid, subject: Subject, plan: ScanPlan) -> None:
    tumour = subject.tumour
    depth = tumour.depth(grid, _liver_depth(subject.anatomy, tumour, grid))
    tissue = tumour.hu(grid, depth, plan.hu)
    hu[...] = blend(hu, tissue, opacity(depth, max(_edge_mm(plan), tumour.edge_mm)))
    mask |= depth > 0
    if tumour.capsule_mm:
        ring = np.float32(0.5 * tumour.capsule_mm) - np.abs(depth)
        hu[...] = blend(hu, plan.hu["capsule"], opacity(ring, plan.spacing_mm))


def _reconstruct(hu: Field, plan: ScanPlan, rng: np.random.Generator) -> NDArray[np.int16]:
    """Add noise and smooth both with the kernel, so that noise has its texture and the stated deviation."""
    sigma = max(plan.kernel_mm / plan.spacing_mm, 0.4)
    hu += np.float32(plan.noise_hu / _damping(sigma)) * rng.standard_normal(hu.shape, np.float32)
    smooth = gaussian_filter(hu, (0, sigma, sigma), output=np.float32, mode="nearest", truncate=3.0)
    return np.asarray(np.rint(np.clip(smooth, *_HU_RANGE)), np.int16)


def _outside_reconstruction(matrix: int) -> NDArray[np.bool_]:
    """Return the corners that no scanner reconstructs, (y, x)."""
    place = np.arange(matrix) - (matrix - 1) / 2
    return np.asarray(np.hypot(place[:, None], place[None, :]) > matrix / 2)


@lru_cache
def _damping(sigma: float) -> float:
    """Return the standard deviation that the kernel leaves of white noise."""
    impulse = np.zeros((65, 65))
    impulse[32, 32] = 1
    return float(np.sqrt((gaussian_filter(impulse, sigma, truncate=3.0) ** 2).sum()))

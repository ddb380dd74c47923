"""From headers to series that hold one volume each, and the reason for every image that is in none.

A series of an archive can hold several phases, a localiser beside the slices, or the same slice twice. What cannot be told
apart is refused.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from extract.dicom.geometry import SAME_PLACE_MM, SeriesError, Stack, along_normal_mm, plane_of, stacked
from extract.dicom.headers import ImageHeader, kind_of
from extract.dicom.pixels import same_pixels

_PROJECTIONS = frozenset({"MIP", "MINIP", "MAX_IP", "MIN_IP", "VR", "VRT", "PROJECTION IMAGE", "3D"})
_SCOUTS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"})
_REPORTS = ("Structured Report", " SR ", "SR Storage", "Dose")
_MODALITIES = frozenset(
    {"MR", "PT", "US", "NM", "XA", "CR", "DX", "MG", "OT", "RTDOSE", "RTPLAN", "REG", "PR", "KO", "DOC"}
)
_ROUNDING = 1e-3
_TELL_APART: tuple[tuple[str, Callable[[ImageHeader], object]], ...] = (
    ("acquisition number", lambda header: header.acquisition),
    ("temporal position", lambda header: header.temporal),
    ("acquisition time", lambda header: header.acquired),
)


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume of one series.

    Attributes:
        stack: its slices.
        part: which part of its series it is, such as `acquisition number 2 of 3`; empty for a whole series.
        remarks: what was decided on the way.
        copies: files that hold a slice once more.
    """

    stack: Stack
    part: str = ""
    remarks: tuple[str, ...] = ()
    copies: tuple[Path, ...] = ()

    @property
    def first(self) -> ImageHeader:
        """The header of the lowest slice."""
        return self.stack.slices[0]


@dataclass(frozen=True, eq=False)
class Refused:
    """Images of one series that make no volume."""

    headers: tuple[ImageHeader, ...]
    reason: str


@dataclass
class Sorted:
    """The images of a tree, sorted."""

    volumes: list[Volume] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def sort_series(headers: Iterable[ImageHeader]) -> Sorted:
    """Sort images into volumes; masks are not looked at."""
    found = Sorted()
    for members in _by(headers, lambda header: (header.patient, header.study, header.series)):
        images: list[ImageHeader] = []
        for skipped in _by(members, why_no_slice):
            reason = why_no_slice(skipped[0])
            if reason is None:
                images = skipped
            else:
                found.refused.append(Refused(tuple(skipped), reason))
        grids = _grids(images)
        for i, grid in enumerate(grids, start=1):
            _sort_grid(grid, f"grid of voxels, part {i} of {len(grids)}" if len(grids) > 1 else "", found)
    return found


def why_no_slice(header: ImageHeader) -> str | None:
    """Return why an image is no slice of a volume; None where it can be one."""
    if not header.is_ct:
        return _other_kind(header)
    words = set(header.image_type)
    if words & _SCOUTS:
        return "a localiser (scout)"
    if words & _PROJECTIONS:
        return "a projection or rendering of a volume, and no CT slice"
    if header.obstacle:
        return header.obstacle
    try:
        plane = plane_of(header)
    except SeriesError as error:
        return str(error)
    if plane is None:
        return "no position in the patient: a screenshot or a report"
    return None if plane == "axial" else f"a reformat in the {plane} plane"


def _other_kind(header: ImageHeader) -> str:
    kind = kind_of(header)
    if any(word in kind for word in _REPORTS):
        return "a dose report or another structured report"
    if "Secondary Capture" in kind:
        return "a secondary capture (a screenshot, key image or dose report)"
    if header.obstacle and kind == "Enhanced CT Image Storage":
        return header.obstacle
    modality = f", modality {header.modality}" if header.modality in _MODALITIES else ""
    return f"no CT: {kind}{modality}"


def _sort_grid(grid: list[ImageHeader], which: str, found: Sorted) -> None:
    """Sort images of one series, orientation and pixel grid.

    Args:
        grid: the images.
        which: which of several grids of the series it is.
        found: where the outcome is added.
    """
    try:
        kept, copies = _without_copies(grid)
        parts = _parts(kept)
    except SeriesError as error:
        found.refused.append(Refused(tuple(grid), str(error)))
        return
    for i, (part, slices) in enumerate(parts):
        try:
            stack = stacked(slices)
        except SeriesError as error:
            found.refused.append(Refused((*slices, *(copies if i == 0 else ())), str(error)))
            continue
        own = tuple(copy.path for copy in copies) if i == 0 else ()
        name = "; ".join(filter(None, (which, part)))
        found.volumes.append(Volume(stack, name, tuple(_remarks(stack, name, own)), own))


def _without_copies(grid: Sequence[ImageHeader]) -> tuple[list[ImageHeader], list[ImageHeader]]:
    """Return slices, each once, and the copies of them.

    Raises:
        SeriesError: two files have one UID and different voxels.
    """
    kept: list[ImageHeader] = []
    copies: list[ImageHeader] = []
    for place in _places(grid):
        own: list[ImageHeader] = []
        for header in place:
            same = next((other for other in own if same_pixels(other, header)), None)
            if same is None and any(other.sop == header.sop for other in own):
                raise SeriesError(
                    f"expected one image for each UID, found two with different voxels at {along_normal_mm([header])[0]:.1f} mm "
                    "along the normal; export the series again"
                )
            (own if same is None else copies).append(header)
        kept += own
    return kept, copies


def _places(grid: Sequence[ImageHeader]) -> list[list[ImageHeader]]:
    """Return slices by position along the normal, in order."""
    along = along_normal_mm(grid)
    order = np.argsort(along, kind="stable")
    places: list[list[ImageHeader]] = []
    last = -np.inf
    for i in order:
        if along[i] - last > SAME_PLACE_MM:
            places.append([])
            last = along[i]
        places[-1].append(grid[i])
    return places


def _parts(slices: Sequence[ImageHeader]) -> list[tuple[str, list[ImageHeader]]]:
    """Return the volumes of a series by what tells repeated positions, or slices of two acquisitions between each other, apart.

    Raises:
        SeriesError: nothing tells repeated positions apart.
    """
    n = max(len(place) for place in _places(slices))
    if n == 1:
        interleaved = next((key for key in _TELL_APART[:2] if _are_interleaved(slices, key[1])), None)
        return (
            _named_parts(interleaved[0], _by(slices, interleaved[1])) if interleaved else [("", list(slices))]
        )
    if len(_places(slices)) == 1:
        raise SeriesError(f"{n} images at one position: bolus tracking or perfusion, and no volume")
    for name, key in _TELL_APART:
        parts = _by(slices, key)
        if len(parts) > 1 and all(len(part) > 1 and len(_places(part)) == len(part) for part in parts):
            return _named_parts(name, parts)
    raise SeriesError(
        f"up to {n} different images at one position, and neither acquisition number nor temporal position nor acquisition time "
        "tells them apart; export one series for each phase"
    )


def _named_parts(name: str, parts: Sequence[list[ImageHeader]]) -> list[tuple[str, list[ImageHeader]]]:
    return [(f"{name}, part {i} of {len(parts)}", part) for i, part in enumerate(parts, start=1)]


def _are_interleaved(slices: Sequence[ImageHeader], key: Callable[[ImageHeader], object]) -> bool:
    """Whether slices of one key lie between those of another; keys of one slice each tell nothing."""
    groups = _by(slices, key)
    along = [key(place[0]) for place in _places(slices)]
    n_runs = 1 + sum(a != b for a, b in pairwise(along))
    return n_runs > len(groups) and all(len(group) > 1 for group in groups)


def _remarks(stack: Stack, part: str, copies: Sequence[Path]) -> Iterable[str]:
    first = stack.slices[0]
    columns, rows, n = stack.shape
    yield (
        f"{n} slices of {rows} x {columns}, {stack.spacing_mm:.3g} mm apart, sorted by their position along the normal"
    )
    if part:
        yield f"one of several volumes of its series: {part}"
    if copies:
        n_copies = "1 copy of a slice" if len(copies) == 1 else f"{len(copies)} copies of slices"
        yield f"{n_copies} with equal voxels left out"
    if stack.oblique_degrees > 1:
        yield f"the slices lie {stack.oblique_degrees:.1f} degrees off the axial plane, one above the other"
    if first.tilt_degrees and abs(first.tilt_degrees) > 1 and stack.oblique_degrees <= 1:
        yield "the scanner says that its gantry was tilted, and the positions say that it was not; the positions were used"
    if any(header.lossy for header in stack.slices):
        yield "voxels went through a lossy compression"
    if "DERIVED" in first.image_type:
        yield "computed from other images (DERIVED), such as a reformat or a virtual phase"


def _grids(images: Iterable[ImageHeader]) -> list[list[ImageHeader]]:
    """Return images by what those of one volume have in common; scanners write its numbers rounded."""
    grids: list[list[ImageHeader]] = []
    for header in images:
        own = next((grid for grid in grids if _on_one_grid(grid[0], header)), None)
        if own is None:
            grids.append([header])
        else:
            own.append(header)
    return grids


def _on_one_grid(a: ImageHeader, b: ImageHeader) -> bool:
    return (
        (a.shape, a.frame_of_reference) == (b.shape, b.frame_of_reference)
        and np.allclose(a.orientation or (), b.orientation or (), rtol=0, atol=_ROUNDING)
        and (a.pixel_spacing_mm is None) == (b.pixel_spacing_mm is None)
        and np.allclose(a.pixel_spacing_mm or (), b.pixel_spacing_mm or (), rtol=_ROUNDING, atol=0)
    )


def _by(headers: Iterable[ImageHeader], key: Callable[[ImageHeader], object]) -> list[list[ImageHeader]]:
    """Return headers in groups of one key, in order of their first."""
    groups: dict[object, list[ImageHeader]] = {}
    for header in headers:
        groups.setdefault(key(header), []).append(header)
    return list(groups.values())

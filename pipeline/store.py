"""The slice store (contract 3): prepared slices of every patient as Zarr v3, before any windowing.

    <name>/slices.zarr/                   group; attributes format = "phasemil-slices", format_version = 1
        <patient_id>/                     group; attributes key, faults (phase -> reason), remarks, phases (columns, measures, radiomics, source)
            <phase>/crops_hu              int16 (n, height, width), one chunk per slice, one shard per phase
            <phase>/masks                 bool  (n, height, width)
            <phase>/neighbours            int16 (n, 2, height, width), only for 2.5D
            <phase>/context_hu            int16 (n, rows, columns), the whole slices, coarser; none in a store of an earlier release
            <phase>/planes_hu             int16 (planes, rows, columns), a box of the scan that holds all slabs, only where slabs are wanted;
            <phase>/planes_masks          bool  (planes, rows, columns); where the box begins stands in phases as planes_first

A patient's group is whole or absent: it is written beside the store, flushed to the disk and renamed into it. Its attributes have
`files`, the size and SHA-256 of each file below it, and `attributes_sha256`, that of all other attributes; both are compared when it
is read, since a missing shard would read as zeros and a flipped bit as another voxel. A group of an earlier release has neither.
The store can be deleted at any time; stage 1 rebuilds it from the scans.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pipeline.bags import Source
from pipeline.errors import StoreError
from pipeline.files import flush_folder, naming, partial_of, written_whole
from pipeline.measures import MEASURE_NAMES
from pipeline.provenance import sha256_of_file, sha256_of_json
from pipeline.slices import PhaseSlices, SlabPlanes

FORMAT = "phasemil-slices"
VERSION = 1
PLACE = "place in the header"
"""Kind of a remark: the header of a scan leaves in doubt where its voxels lie."""
_COLUMNS = {
    "slice_index": np.int32,
    "z_mm": np.float32,
    "tumour_area_mm2": np.float32,
    "lesion": np.int16,
}
_PLACES = ("middle", "corner")
_IMAGES = ("crops_hu", "masks", "neighbours", "context_hu")
_MAY_LACK = frozenset(("neighbours", "context_hu"))
_PLANES_HU, _PLANES_MASKS = "planes_hu", "planes_masks"
_CHECKSUM = "attributes_sha256"
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)
"""What zarr, its codecs and the parsers raise on what is damaged."""


@dataclass(frozen=True, eq=False)
class StoredPatient:
    """The prepared slices of one patient.

    Attributes:
        key: hash of the scans and of the settings that they were prepared with.
        phases: in the order of preparation; at least one.
        faults: phase -> why it could not be prepared.
        remarks: phase -> (kind, reason) of everything found about its scan, faults included.
    """

    key: str
    phases: tuple[PhaseSlices, ...]
    faults: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)

    def is_place_doubtful(self, phase: str) -> bool:
        """Whether the header of a phase leaves in doubt where the voxels lie, and with it which side is right."""
        return any(kind == PLACE for kind, _ in self.remarks.get(phase, ()))


class SliceStore:
    """A folder of prepared slices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds(self, patient_id: str, key: str) -> bool:
        """Say whether slices of that key are stored, with every file in its size; reading compares their contents, too."""
        if self.key_of(patient_id) != key:
            return False
        try:
            attributes = self._attributes(patient_id)
            _check_files(self.folder / patient_id, attributes, lambda _: False)
        except (StoreError, OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def key_of(self, patient_id: str) -> str | None:
        """Return the key that a patient's slices were stored with, or None where there are none."""
        try:
            return str(self._attributes(patient_id)["key"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def content_of(self, patient_id: str) -> str:
        """Return the SHA-256 of all that is stored of one patient, as it lies on the disk.

        Raises:
            StoreError: nothing is stored of the patient.
        """
        folder = self.folder / patient_id
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            raise StoreError(f"{self.folder}: no slices of patient {patient_id}; run stage 1 to store them")
        return sha256_of_json([[str(p.relative_to(folder)), sha256_of_file(p)] for p in files])

    def read_phases(self, patient_id: str, *, with_planes: bool = False) -> Sequence[PhaseSlices]:
        """Read the slices of one patient, without the planes of slabs unless these are wanted, too.

        Raises:
            StoreError: they are not in the store, or unreadable.
        """
        return self.read(patient_id, with_planes=with_planes).phases

    def read(self, patient_id: str, *, with_planes: bool = True) -> StoredPatient:
        """Read what is stored of one patient: everything, or all but the planes of slabs, which are many times the slices.

        Raises:
            StoreError: it is not in the store, or unreadable.
        """
        try:
            attributes = self._attributes(patient_id)
            folder = self.folder / patient_id
            _check_files(folder, attributes, lambda name: with_planes or "/planes_" not in name)
            phases = tuple(
                _phase(self.folder / patient_id / name, name, about, with_planes=with_planes)
                for name, about in attributes["phases"].items()
            )
            # A store of an earlier release has no remarks.
            remarks = attributes.get("remarks", {})
            return StoredPatient(attributes["key"], phases, attributes["faults"], remarks)
        except FileNotFoundError:
            raise StoreError(
                f"{self.folder}: no slices of patient {patient_id}; run stage 1 to store them"
            ) from None
        except _DAMAGE as error:
            raise StoreError(
                f"{self.folder / patient_id}: damaged slices: {error}; delete this folder and run stage 1 again, which prepares them anew"
            ) from error

    def write(self, patient_id: str, patient: StoredPatient) -> None:
        """Store one patient, in the place of what was stored before.

        Raises:
            StoreError: the folder is no store of this version.
            OSError: the disk is full or cannot be written to; it names the folder of the patient.
        """
        self._make_root()
        partial = partial_of(self.folder)
        try:
            with naming(self.folder / patient_id, instead_of=partial):
                _write_patient(partial, patient)
                _put_in_place(partial, self.folder / patient_id)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _make_root(self) -> None:
        path = self.folder / "zarr.json"
        if not path.exists():
            with written_whole(path) as sibling:
                sibling.write_text(_group({"format": FORMAT, "format_version": VERSION}), encoding="utf-8")
        try:
            about = json.loads(path.read_text(encoding="utf-8"))["attributes"]
            found = (about["format"], about["format_version"])
        except (ValueError, KeyError, TypeError):
            found = ("nothing that can be read", "")
        if found != (FORMAT, VERSION):
            raise StoreError(
                f"{self.folder}: expected {FORMAT} version {VERSION}, found {found[0]} {found[1]}; delete the folder"
            )

    def _attributes(self, patient_id: str) -> dict[str, Any]:
        text = (self.folder / patient_id / "zarr.json").read_text(encoding="utf-8")
        attributes: dict[str, Any] = json.loads(text)["attributes"]
        return attributes


def _group(attributes: Mapping[str, Any]) -> str:
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=1) + "\n"


def _write_patient(folder: Path, patient: StoredPatient) -> None:
    for phase in patient.phases:
        _write_images(folder / phase.phase, phase)
    attributes = {
        "key": patient.key,
        "faults": dict(patient.faults),
        "remarks": dict(patient.remarks),
        "phases": {phase.phase: _about(phase) for phase in patient.phases},
    }
    attributes |= {"files": _files_in(folder)}
    attributes |= {_CHECKSUM: _checksum_of(attributes)}
    (folder / "zarr.json").write_text(_group(attributes), encoding="utf-8")
    flush_folder(folder)


def _files_in(folder: Path) -> Mapping[str, Sequence[Any]]:
    """Return the size and SHA-256 of each file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, sha256_of_file(path)] for path in files
    }


def _checksum_of(attributes: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all attributes but the checksum itself, as they read back."""
    others = {name: value for name, value in attributes.items() if name != _CHECKSUM}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def _check_files(folder: Path, attributes: Mapping[str, Any], is_read: Callable[[str], bool]) -> None:
    """Compare what lies in a patient's folder with what was written: names and sizes, and the contents of what is read.

    Raises:
        ValueError: something is missing, too much, or changed; it is named.
    """
    if _CHECKSUM not in attributes:  # of an earlier release
        return
    if attributes[_CHECKSUM] != _checksum_of(attributes):
        raise ValueError("zarr.json was changed")
    written = attributes["files"]
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    found.pop("zarr.json", None)
    if found.keys() != written.keys():
        name = min(found.keys() ^ written.keys())
        raise ValueError(f"{name} is {'missing' if name in written else 'no file of it'}")
    for name, (n_bytes, sha256) in written.items():
        if found[name].stat().st_size != n_bytes or (is_read(name) and sha256_of_file(found[name]) != sha256):
            raise ValueError(f"{name} was changed")


def _put_in_place(partial: Path, final: Path) -> None:
    """Rename a folder; what stood in its place goes, unless another run is quicker."""
    if final.exists():
        old = partial.with_name(f"old-{partial.name}")
        final.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        partial.rename(final)
    except OSError:
        if not final.exists():  # another run has put the same patient there in between
            raise


def _about(phase: PhaseSlices) -> Mapping[str, Any]:
    columns: dict[str, Any] = {name: getattr(phase, name).tolist() for name in _COLUMNS}
    for name in _PLACES:
        place = getattr(phase, name)
        columns[name] = None if place is None else place.tolist()
    return {
        "columns": columns,
        "spacing_mm": list(phase.spacing_mm),
        "liver_hu": phase.liver_hu,
        "context_step": phase.context_step,
        "measures": _by_name(phase.measures),
        "radiomics": None if phase.radiomics is None else _told(phase.radiomics),
        "source": vars(phase.source),
        **({"planes_first": list(phase.planes.first)} if phase.planes else {}),
    }


def _write_images(folder: Path, phase: PhaseSlices) -> None:
    (folder).mkdir(parents=True)
    (folder / "zarr.json").write_text(_group({}), encoding="utf-8")
    found: dict[str, NDArray[Any] | None] = {name: getattr(phase, name) for name in _IMAGES}
    if phase.planes is not None:
        found |= {_PLANES_HU: phase.planes.hu, _PLANES_MASKS: phase.planes.masks}
    for name, images in found.items():
        if images is not None:
            zarr.create_array(
                store=str(folder / name),
                data=np.ascontiguousarray(images),
                chunks=(1, *images.shape[1:]),
                shards=images.shape,
                compressors=ZstdCodec(level=1),
            )


def _phase(folder: Path, name: str, about: Mapping[str, Any], *, with_planes: bool) -> PhaseSlices:
    images = {n: _images(folder / n) for n in _IMAGES if n not in _MAY_LACK or (folder / n).exists()}
    columns = {n: np.array(about["columns"][n], dtype=dtype) for n, dtype in _COLUMNS.items()}
    row, column = about["spacing_mm"]
    source = about["source"]
    return PhaseSlices(
        phase=name,
        spacing_mm=(row, column),
        source=Source(**{**source, "spacing_mm": tuple(source["spacing_mm"])}),
        middle=_places(about["columns"]["middle"]),
        # A store of an earlier release lacks the corners, the liver, the measures, the radiomics and the whole slices.
        corner=_places(about["columns"].get("corner")),
        liver_hu=about.get("liver_hu"),
        measures=_measures(about.get("measures")),
        radiomics=None if about.get("radiomics") is None else _known(about["radiomics"]),
        context_step=int(about.get("context_step", 1)),
        planes=_planes(folder, about.get("planes_first")) if with_planes else None,
        **images,
        **columns,
    )


def _planes(folder: Path, first: Sequence[int] | None) -> SlabPlanes | None:
    if first is None:  # no slab was wanted, or the store is of an earlier release
        return None
    z, row, column = first
    return SlabPlanes(_images(folder / _PLANES_HU), _images(folder / _PLANES_MASKS), (z, row, column))


def _places(found: Sequence[Sequence[int]] | None) -> NDArray[np.int32] | None:
    return None if found is None else np.array(found, dtype=np.int32)


def _by_name(measures: NDArray[np.float32] | None) -> Mapping[str, Any] | None:
    """Return measure -> value of each slice, None for one that cannot be had, since JSON has no NaN."""
    if measures is None:
        return None
    columns = [[value if math.isfinite(value) else None for value in c] for c in measures.T.tolist()]
    return dict(zip(MEASURE_NAMES, columns, strict=True))


def _told(values: Mapping[str, float]) -> Mapping[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _known(values: Mapping[str, float | None]) -> Mapping[str, float]:
    return {name: math.nan if value is None else value for name, value in values.items()}


def _measures(found: Mapping[str, Any] | None) -> NDArray[np.float32] | None:
    if found is None:
        return None
    return np.stack([np.array(found[name], dtype=np.float32) for name in MEASURE_NAMES], axis=1)


def _images(folder: Path) -> NDArray[Any]:
    images: NDArray[Any] = np.asarray(zarr.open_array(store=str(folder), mode="r")[...])
    return images

"""The bag (contract 2): one HDF5 file of slice features per patient, format `phasemil-bag`, version 1.

A bag file MUST be named `<patient_id>.h5` and hold, for n slices and d features:

    /features         float32 (n, d), contiguous, finite; never float16, whatever the forward precision was
    /feats            a hard link to /features
    /coords           int64 (n, 2): phase index, slice index
    /phase            int8 (n,): index into the attribute phase_names
    /slice_index      int32 (n,): 0-based along z of the canonical array, inferior to superior
    /z_mm             float32 (n,): patient coordinate of the slice centre
    /tumour_area_mm2  float32 (n,)
    /lesion           int16 (n,): number of the connected or given lesion, from 1; 0 where there is none
    /scale            int8 (n,): index into the attribute scale_names

n MUST be at least 1. Instances MUST be sorted by phase, then scale, then slice index. A phase without a scan
MUST be absent from the arrays and named in phases_missing with the reason; it MUST NOT be filled with zeros.

The root MUST have the attributes format = "phasemil-bag", format_version = 1, patient_id, phase_names,
phases_present, scale_names (arrays of text), phases_missing (JSON, phase -> reason), encoder, layer,
weights_name, weights_sha256, preprocessing (JSON), preprocessing_sha256, sources (JSON per phase), precision,
software (JSON), content_key, created_utc and complete = True, and, so that STAMP reads the file,
feat_type = "tile", extractor, unit = "um", tile_size_um, tile_size_px. It MUST NOT have stamp_version. A bag of an
untrained encoder MUST also have the attribute warning = "RANDOM WEIGHTS".

A bag MUST NOT hold a label: relabelling never needs a new extraction. A reader MUST refuse a file whose format
or version it does not know, or whose attribute patient_id is not its name, and MAY ignore attributes and datasets it
does not know.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BagError
from pipeline.files import written_whole
from pipeline.provenance import canonical_json, sha256_of_json, software_versions, utc_now

FORMAT = "phasemil-bag"
VERSION = 1
SUFFIX = ".h5"
RANDOM_PREFIX = "random:"
RANDOM_BANNER = "RANDOM WEIGHTS"

_COLUMNS = {
    "phase": np.int8,
    "slice_index": np.int32,
    "z_mm": np.float32,
    "tumour_area_mm2": np.float32,
    "lesion": np.int16,
    "scale": np.int8,
}


@dataclass(frozen=True)
class Source:
    """The files behind one phase of a bag."""

    file: str
    image_sha256: str
    mask_sha256: str
    mask_source: str
    """`drawn`, or `propagated:<phase>`, or how else the slices were chosen."""
    spacing_mm: tuple[float, float, float]
    """Along x, y, z."""
    n_slices: int
    """Slices of the whole volume."""
    n_before_thinning: int | None = None
    """Slices of the region that the kept ones stand for, before every_mm and at_most; None where it was not recorded."""


@dataclass(frozen=True)
class Recipe:
    """What turned slices into features; bags of different recipes must not be mixed."""

    encoder: str
    layer: str
    weights_name: str
    weights_sha256: str
    precision: str
    preprocessing: Mapping[str, Any]
    """Crop, windows, sizes and normalisation, as plain JSON values."""

    @property
    def preprocessing_sha256(self) -> str:
        """SHA-256 of the preprocessing as canonical JSON."""
        return sha256_of_json(self.preprocessing)

    @property
    def has_random_weights(self) -> bool:
        """Whether the features rest on an untrained network."""
        return self.weights_name.startswith(RANDOM_PREFIX)

    @property
    def key(self) -> str:
        """Hash of everything that decides the features of a given image and mask."""
        parts = (self.encoder, self.layer, self.weights_sha256, self.precision, self.preprocessing_sha256)
        return sha256_of_json(parts)


@dataclass(frozen=True)
class BagHeader:
    """Everything a bag says about itself beside its arrays."""

    patient_id: str
    phase_names: tuple[str, ...]
    phases_missing: Mapping[str, str]
    scale_names: tuple[str, ...]
    recipe: Recipe
    sources: Mapping[str, Source]
    content_key: str
    """Hash of the inputs and of the recipe; equal keys mean equal features."""
    tile_size_um: float
    """Side of the tissue square shown to the encoder, in micrometres (STAMP's unit)."""
    tile_size_px: int

    @property
    def phases_present(self) -> tuple[str, ...]:
        """The phases with a scan, in the order of phase_names."""
        return tuple(name for name in self.phase_names if name in self.sources)


@dataclass(frozen=True, eq=False)
class Bag:
    """All embedded slices of one patient.

    Attributes:
        header: what the file says about itself.
        features: float32 (n, d).
        phase: int8 (n,), index into header.phase_names.
        slice_index: int32 (n,), 0-based, inferior to superior.
        z_mm: float32 (n,).
        tumour_area_mm2: float32 (n,).
        lesion: int16 (n,).
        scale: int8 (n,), index into header.scale_names.
    """

    header: BagHeader
    features: NDArray[np.float32]
    phase: NDArray[np.int8]
    slice_index: NDArray[np.int32]
    z_mm: NDArray[np.float32]
    tumour_area_mm2: NDArray[np.float32]
    lesion: NDArray[np.int16]
    scale: NDArray[np.int8]

    @property
    def patient_id(self) -> str:
        """Identifier of the patient, as in the cohort table."""
        return self.header.patient_id

    def __len__(self) -> int:
        return len(self.features)

    def take(self, instances: NDArray[Any]) -> "Bag":
        """Return the bag of the instances that an index or boolean array selects, in its order."""
        arrays = {f.name: getattr(self, f.name)[instances] for f in fields(self) if f.name != "header"}
        return Bag(header=self.header, **arrays)

    def in_phases(self, names: Iterable[str]) -> "Bag":
        """Return the bag of the instances of the named phases; it may be empty."""
        is_wanted = np.zeros(len(self.header.phase_names), dtype=np.bool_)
        is_wanted[[self.header.phase_names.index(name) for name in names]] = True
        return self.take(is_wanted[self.phase])

    def slices_per_phase(self) -> Mapping[str, int]:
        """Count the instances of each phase name."""
        return {name: int(np.sum(self.phase == i)) for i, name in enumerate(self.header.phase_names)}


def bag_path(folder: Path, patient_id: str) -> Path:
    """Return where the bag of a patient lies."""
    return folder / f"{patient_id}{SUFFIX}"


def list_bags(folder: Path) -> Mapping[str, Path]:
    """Return the path of every bag in a folder by patient identifier, sorted."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def write_bag(folder: Path, bag: Bag) -> Path:
    """Write a bag whole or not at all, after re-opening and checking it; return its path.

    Raises:
        BagError: the arrays do not agree in length, are empty or unsorted, or hold a value that is not finite.
        OSError: the disk is full or cannot be written to; it names the path.
    """
    path = bag_path(folder, bag.patient_id)
    _check(bag, path)
    image = _hdf5(bag)
    with written_whole(path) as sibling:
        sibling.write_bytes(image)
        written = _read(sibling, bag.patient_id)
        if not np.array_equal(written.features, bag.features):
            raise BagError(f"{path}: the disk gave back other features than were written")
    return path


def read_bag(path: Path) -> Bag:
    """Read and check one bag.

    Raises:
        BagError: the file is missing or unreadable, of another format or version, bears another patient's name, or
            breaks the specification.
    """
    bag = _read(path, _patient_of(path))
    _check(bag, path)
    return bag


def read_header(path: Path) -> BagHeader:
    """Read what a bag says about itself, without its arrays.

    Raises:
        BagError: the file is missing or unreadable, of another format or version, or bears another patient's name.
    """
    with _open(path) as file:
        return _header(file.attrs, path, _patient_of(path))


def check_one_recipe(headers: Iterable[BagHeader]) -> Recipe:
    """Return the recipe that all bags share.

    Raises:
        BagError: there is no bag, or two bags differ in encoder, layer, weights, precision or preprocessing, or
            in their phase or scale names; both patients and the difference are named.
    """
    iterator = iter(headers)
    first = next(iterator, None)
    if first is None:
        raise BagError("no bag to read; run stage 1 first")
    for other in iterator:
        for what, a, b in _differences(first, other):
            raise BagError(
                f"the bags of {first.patient_id} and {other.patient_id} differ in {what}: {a} against {b}; "
                "bags of different recipes are never mixed: extract both again with one configuration"
            )
    return first.recipe


def _differences(a: BagHeader, b: BagHeader) -> Iterable[tuple[str, object, object]]:
    for name in ("encoder", "layer", "weights_sha256", "precision", "preprocessing_sha256"):
        if getattr(a.recipe, name) != getattr(b.recipe, name):
            yield name, getattr(a.recipe, name), getattr(b.recipe, name)
    for name in ("phase_names", "scale_names"):
        if getattr(a, name) != getattr(b, name):
            yield name, getattr(a, name), getattr(b, name)


def _check(bag: Bag, path: Path) -> None:
    if bag.features.ndim != 2 or bag.features.dtype != np.float32 or not len(bag):
        found = f"{bag.features.dtype} {bag.features.shape}"
        raise BagError(f"{path}: expected features as float32 (n, d) with n at least 1, found {found}")
    for name, dtype in _COLUMNS.items():
        column = getattr(bag, name)
        if column.shape != (len(bag),) or column.dtype != dtype:
            expected = f"{np.dtype(dtype)} ({len(bag)},)"
            raise BagError(f"{path}: expected {name} as {expected}, found {column.dtype} {column.shape}")
    for name in ("features", "z_mm", "tumour_area_mm2"):
        if not np.isfinite(getattr(bag, name)).all():
            raise BagError(f"{path}: {name} holds a value that is not finite")
    order = np.lexsort((bag.slice_index, bag.scale, bag.phase))
    if not np.array_equal(order, np.arange(len(bag))):
        raise BagError(f"{path}: expected instances sorted by phase, scale and slice index")


def _hdf5(bag: Bag) -> bytes:
    """Return the file of a bag, made in memory: HDF5 that meets a full disk ends the process with a segmentation fault."""
    with h5py.File(bag.patient_id, "w", driver="core", backing_store=False) as file:
        _write_arrays(file, bag)
        for name, value in _attributes(bag.header).items():
            file.attrs[name] = value
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _write_arrays(file: h5py.File, bag: Bag) -> None:
    file.create_dataset("features", data=np.ascontiguousarray(bag.features))
    file["feats"] = file["features"]
    file.create_dataset("coords", data=np.stack([bag.phase, bag.slice_index], axis=1).astype(np.int64))
    for name in _COLUMNS:
        file.create_dataset(name, data=getattr(bag, name))


def _attributes(header: BagHeader) -> Mapping[str, Any]:
    recipe = header.recipe
    text = h5py.string_dtype()
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "patient_id": header.patient_id,
        "phase_names": np.array(header.phase_names, dtype=text),
        "phases_present": np.array(header.phases_present, dtype=text),
        "phases_missing": canonical_json(header.phases_missing),
        "scale_names": np.array(header.scale_names, dtype=text),
        "encoder": recipe.encoder,
        "layer": recipe.layer,
        "weights_name": recipe.weights_name,
        "weights_sha256": recipe.weights_sha256,
        "preprocessing": canonical_json(recipe.preprocessing),
        "preprocessing_sha256": recipe.preprocessing_sha256,
        "sources": canonical_json({phase: vars(source) for phase, source in header.sources.items()}),
        "precision": recipe.precision,
        "software": canonical_json(software_versions()),
        "content_key": header.content_key,
        "feat_type": "tile",
        "extractor": recipe.encoder,
        "unit": "um",
        "tile_size_um": header.tile_size_um,
        "tile_size_px": header.tile_size_px,
        "created_utc": utc_now(),
        "complete": True,
        **({"warning": RANDOM_BANNER} if recipe.has_random_weights else {}),
    }


def _open(path: Path) -> h5py.File:
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise BagError(f"{path}: no such bag") from None
    except OSError as error:
        raise BagError(f"{path}: not a readable HDF5 file: {error}") from error
    found = (file.attrs.get("format"), int(file.attrs.get("format_version", -1)))
    if found != (FORMAT, VERSION) or not file.attrs.get("complete", False):
        file.close()
        raise BagError(
            f"{path}: expected {FORMAT} version {VERSION}, complete; found {found[0]} version {found[1]}; "
            "extract it again, or read it with the release that wrote it"
        )
    return file


def _patient_of(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)


def _read(path: Path, patient_id: str) -> Bag:
    with _open(path) as file:
        try:
            arrays = {name: file[name][()] for name in ("features", *_COLUMNS)}
        except (KeyError, OSError) as error:
            raise BagError(f"{path}: {error}") from error
        return Bag(header=_header(file.attrs, path, patient_id), **arrays)


def _header(attributes: Mapping[str, Any], path: Path, patient_id: str) -> BagHeader:
    try:
        header = _understood(attributes)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BagError(f"{path}: an attribute of the bag is missing or damaged: {error}") from error
    if header.patient_id != patient_id:
        raise BagError(
            f"{path}: the file is named after patient {patient_id!r}, its header says {header.patient_id!r}"
            f"{how_alike(patient_id, header.patient_id)}; rename the file, or extract it again"
        )
    return header


def how_alike(a: str, b: str) -> str:
    """Say of two names that look the same what tells them apart, such as ", which ..."; empty for all others."""
    if a == b or unicodedata.normalize("NFC", a).casefold() != unicodedata.normalize("NFC", b).casefold():
        return ""
    if unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b):
        return f", which differ in their Unicode form only ({a!a} and {b!a})"
    return ", which differ in upper and lower case only"


def _understood(attributes: Mapping[str, Any]) -> BagHeader:
    recipe_names = ("encoder", "layer", "weights_name", "weights_sha256", "precision")
    sources = json.loads(attributes["sources"])
    return BagHeader(
        patient_id=attributes["patient_id"],
        phase_names=_texts(attributes["phase_names"]),
        phases_missing=json.loads(attributes["phases_missing"]),
        scale_names=_texts(attributes["scale_names"]),
        recipe=Recipe(
            **{name: attributes[name] for name in recipe_names},
            preprocessing=json.loads(attributes["preprocessing"]),
        ),
        sources={p: Source(**{**s, "spacing_mm": tuple(s["spacing_mm"])}) for p, s in sources.items()},
        content_key=attributes["content_key"],
        tile_size_um=float(attributes["tile_size_um"]),
        tile_size_px=int(attributes["tile_size_px"]),
    )


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)

"""Files of histology features as CLAM, TRIDENT and STAMP write them: one per slide, read as they are.

| format | file | features | coordinates | what it says of itself |
|---|---|---|---|---|
| clam | `<slide>.h5`, or `<slide>.pt` with one tensor | `features` (tiles, d) | `coords` (tiles, 2), pixels | nothing, or attributes |
| trident | `<slide>.h5` | `features` (tiles, d), often float16; of a slide encoder (d,) | `coords` (tiles, 2), pixels | attributes of both datasets |
| stamp | `<slide>.h5` | `feats`, earlier `patch_embeddings` (tiles, d) | `coords` (tiles, 2 or 3), micrometres | attributes of the file |

Features become float32. Coordinates are checked and not used: no model reads them. Links to other files are never followed, and
a `.pt` file is read by PyTorch's loader of weights, which runs no code of the file.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.bags import FORMAT as PHASEMIL_BAG
from pipeline.errors import BagError
from pipeline.own_datasets import opened_hdf5, own_dataset
from pipeline.provenance import sha256_of_json

SlideFormat = Literal["clam", "trident", "stamp"]
UNKNOWN = "unknown"
"""The encoder of files that do not name it."""
H5, PT = ".h5", ".pt"
SUFFIXES: Mapping[SlideFormat, tuple[str, ...]] = {"clam": (H5, PT), "trident": (H5,), "stamp": (H5,)}
_DAMAGE = (KeyError, ValueError, TypeError, OSError, RuntimeError, MemoryError)
"""What h5py raises on a damaged file."""
_FEATURES: Mapping[SlideFormat, tuple[str, ...]] = {
    "clam": ("features",),
    "trident": ("features",),
    "stamp": ("feats", "patch_embeddings"),
}
"""Names of the dataset of features, the first one that is there."""
_ALL_NAMES = ("features", "feats", "patch_embeddings")
_SETTINGS = ("feat_type", "patch_size", "patch_level", "target_magnification", "overlap", "tile_size_px", "tile_size_um", "unit", "code_hash")  # fmt: skip
"""Attributes that say how tiles were made: part of the recipe, so that files of two settings are not mixed."""
_LEVELS = {"tile", "slide", "patient"}
_PRECISIONS = ("float16", "float32", "float64")
_MOST_COMPRESSED = 1100
"""Deflate makes at most 1,032 bytes of one; a file that promises more lies."""


@dataclass(frozen=True, eq=False)
class SlideFile:
    """What one file of histology features holds.

    Attributes:
        features: float32 (tiles, d), finite.
        encoder: as the file names it, or UNKNOWN.
        precision: number format of the features in the file.
        settings: how the tiles were made, as far as the file says.
        sha256: hash of features, coordinates, encoder and settings.
    """

    features: NDArray[np.float32]
    encoder: str
    precision: str
    settings: Mapping[str, Any]
    sha256: str

    def number(self, setting: str) -> float | None:
        """Return what the file says of a setting; None where that is nothing, or no number, such as a pair of sides."""
        value = self.settings.get(setting)
        return float(value) if isinstance(value, int | float) else None


def read_slide(path: Path, how: SlideFormat) -> SlideFile:
    """Read and check the features of one slide.

    Raises:
        BagError: the file is missing or unreadable, of another format, links to another file, has no tile, a value that is not
            finite, coordinates of another number of tiles, or says two things; what was expected and found is named.
    """
    coords: NDArray[Any] | None = None
    said: dict[str, Any] = {}
    if path.suffix == PT:
        features = _tensor_of(path)
    else:
        with opened_hdf5(path, missing="no such file", damage=_DAMAGE) as file:
            features, coords, said = _arrays_of(file, path, how)
    precision = str(features.dtype)
    if precision not in _PRECISIONS:
        raise BagError(f"{path}: expected features as floating numbers, found {precision}")
    rows = _as_rows(features, path)
    if coords is not None and len(coords) != len(rows):
        raise BagError(f"{path}: expected coords of the {len(rows)} tiles, found {len(coords)}")
    single = _finite(rows, path)
    encoder = str(said.pop("encoder", UNKNOWN))
    hashes = [
        hashlib.sha256(np.ascontiguousarray(a).data).hexdigest() for a in (single, coords) if a is not None
    ]
    key = sha256_of_json([*hashes, list(single.shape), encoder, precision, said])
    return SlideFile(single, encoder, precision, said, key)


def _finite(rows: NDArray[Any], path: Path) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # it is told here
        single = np.ascontiguousarray(rows, dtype=np.float32)
    n_bad = int((~np.isfinite(single)).sum())
    if n_bad:
        raise BagError(
            f"{path}: expected finite features, found {n_bad} of {single.size} values NaN, infinite or beyond float32"
        )
    return single


def _as_rows(features: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return features as (tiles, d); the one vector of a slide encoder is one row."""
    rows = features[None] if features.ndim == 1 else features
    if rows.ndim != 2 or not rows.size:
        raise BagError(
            f"{path}: expected features (tiles, d) of at least one tile, found shape {tuple(features.shape)}"
        )
    return rows


def _tensor_of(path: Path) -> NDArray[Any]:
    import torch  # noqa: PLC0415 - only who has such files waits for it here

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BagError(f"{path}: no such file") from None
    except Exception as error:  # whatever a damaged or hostile file makes the loader raise
        # The loader's own text advises to run the code of the file.
        raise BagError(
            f"{path}: not a file of one tensor that can be read without running code ({type(error).__name__}); save it anew as "
            "a tensor, where it came from"
        ) from error
    if not isinstance(tensor, torch.Tensor):
        raise BagError(
            f"{path}: expected one tensor (tiles, d), as CLAM writes it, found {type(tensor).__name__}"
        )
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise BagError(
            f"{path}: expected a dense tensor, as CLAM writes it, found {tensor.layout} {tensor.dtype}"
        )
    exact = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.asarray(exact.detach().numpy())


def _arrays_of(
    file: h5py.File, path: Path, how: SlideFormat
) -> tuple[NDArray[Any], NDArray[Any] | None, dict[str, Any]]:
    """Return features, coordinates if there are any, and what the file says: encoder and settings."""
    there = [name for name in _ALL_NAMES if name in file]
    dataset = own_dataset(file, _name_of_features(file, there, path, how), path)
    features = _read(dataset, path)
    for other in (name for name in there if name != dataset.name.lstrip("/")):
        if not np.array_equal(_read(own_dataset(file, other, path), path), features):
            raise BagError(
                f"{path}: holds {' and '.join(there)}, which differ; it cannot be told which is meant"
            )
    places = own_dataset(file, "coords", path) if "coords" in file else None
    said = _told([dict(file.attrs), dict(dataset.attrs), {} if places is None else dict(places.attrs)], path)
    level = said.get("feat_type", "tile")
    if level not in _LEVELS:
        raise BagError(f"{path}: expected feat_type {', '.join(sorted(_LEVELS))}, found {level!r}")
    if how == "stamp" and places is not None and said.get("unit", "um") != "um":
        raise BagError(f"{path}: expected coords in um, as STAMP writes them, found unit {said['unit']!r}")
    is_tiles = places is not None and features.ndim == 2 and level == "tile"
    return features, _read(places, path) if places is not None and is_tiles else None, said


def _name_of_features(file: h5py.File, there: Sequence[str], path: Path, how: SlideFormat) -> str:
    if file.attrs.get("format") == PHASEMIL_BAG:
        raise BagError(f"{path}: is a bag of this package, not a file of {how}; leave `format` out")
    wanted = [name for name in _FEATURES[how] if name in there]
    if not wanted:
        other = next((one for one, names in _FEATURES.items() if set(names) & set(there)), None)
        hint = f'; it looks like format = "{other}"' if other else ""
        found = ", ".join(sorted(file)) or "nothing"
        raise BagError(
            f"{path}: expected a dataset {' or '.join(_FEATURES[how])}, as {how} writes it, found {found}{hint}"
        )
    return wanted[0]


def _read(dataset: h5py.Dataset, path: Path) -> NDArray[Any]:
    """Read a dataset whose shape promises no more than the file holds."""
    n_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    plan = dataset.id.get_create_plist()
    factor = _MOST_COMPRESSED if plan.get_nfilters() else 1
    n_stored = min(dataset.id.get_storage_size(), path.stat().st_size)
    if n_bytes > n_stored * factor:
        raise BagError(
            f"{path}: {dataset.name} {dataset.shape} would be {n_bytes} bytes, found {n_stored}: the file is cut off"
        )
    return np.asarray(dataset[()])


def _told(attributes: Sequence[Mapping[str, Any]], path: Path) -> dict[str, Any]:
    """Return encoder and settings that the attributes of file and datasets name."""
    found: dict[str, Any] = {}
    for given in attributes:
        for name, value in given.items():
            key = "encoder" if name in ("encoder", "extractor") else name
            if key != "encoder" and key not in _SETTINGS:
                continue
            plain = _plain(value)
            if found.setdefault(key, plain) != plain:
                raise BagError(f"{path}: says two things of {key}: {found[key]!r} and {plain!r}")
    return found


def _plain(value: object) -> Any:  # noqa: ANN401 - as JSON has it
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    plain = value.item() if isinstance(value, np.generic) else value
    is_told = isinstance(plain, str | int) or (isinstance(plain, float) and math.isfinite(plain))
    return plain if is_told else str(plain)  # NaN as a word, since it is not equal to itself

"""The same pixels under two patients or phases: a mix-up, and a leak between the folds of stage 2."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pipeline.files import naming

Key = tuple[str, str]
"""(patient_id, phase)."""
_EVERY = 4
"""Rows that are hashed: the noise of a CT makes equal rows mean equal slices, at a quarter of the cost."""
_HEX = 16


def slice_digests(planes_hu: NDArray[np.int16]) -> tuple[str, ...]:
    """Hash every slice of int16 (z, rows, columns), whatever the file was compressed with.

    Slices of one value alone, which are padding, are left out: they say nothing about the patient.
    """
    thinned = (plane[::_EVERY] for plane in planes_hu)
    return tuple(
        hashlib.sha256(plane.tobytes()).hexdigest()[:_HEX]
        for plane in thinned
        if (plane != plane.flat[0]).any()
    )


def shared_pixels(digests: Mapping[Key, Iterable[str]]) -> Mapping[Key, Key]:
    """Find scans that have a hash, of the file or of a slice, in common.

    Args:
        digests: (patient_id, phase) -> hashes.

    Returns:
        (patient_id, phase) -> another with the same pixels, of another patient if there is one.
    """
    owners: dict[str, list[Key]] = {}
    for key, own in digests.items():
        for digest in dict.fromkeys(own):
            owners.setdefault(digest, []).append(key)
    found: dict[Key, Key] = {}
    for key, own in digests.items():
        others = [owners[digest] for digest in dict.fromkeys(own) if len(owners[digest]) > 1]
        strangers = (other for same in others for other in same if other[0] != key[0])
        another = next(strangers, None) or next((o for same in others for o in same if o != key), None)
        if another:
            found[key] = another
    return found


def describe_shared(key: Key, other: Key) -> str:
    """Say that two scans have the same pixels, and what to do."""
    where = (
        f"phase {other[1]} of this patient" if other[0] == key[0] else f"patient {other[0]}, phase {other[1]}"
    )
    return f"the same pixels occur under {where}; correct the cohort table, or set [extract] shared_images = 'allow'"


class PixelMemory:
    """Hashes of the slices that were decoded from each image, kept beside the slice store between runs.

    A text file with one line per image: its SHA-256, then the hashes of its slices. Lines are only appended,
    each before the bag that depends on it is written, so a killed run or two runs at once lose
    no line that is needed; an incomplete line is ignored. Without a path the hashes are kept in memory alone.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = Lock()
        self._known: dict[str, set[str]] = {}
        text = path.read_text(encoding="ascii", errors="replace") if path and path.exists() else ""
        for line in text.splitlines():
            image, *digests = line.split() if line.strip() else ("",)
            if len(image) == hashlib.sha256().digest_size * 2:
                self._known.setdefault(image, set()).update(d for d in digests if len(d) == _HEX)

    def of(self, image_sha256: str) -> Iterable[str]:
        """Return the hash of an image file and the hashes of those of its slices that were decoded in any run."""
        return (image_sha256, *sorted(self._known.get(image_sha256, ())))

    def remember(self, image_sha256: str, planes_hu: NDArray[np.int16]) -> None:
        """Add the slices of an image; safe from several threads and processes."""
        digests = slice_digests(planes_hu)
        with self._lock:
            known = self._known.setdefault(image_sha256, set())
            if known.issuperset(digests):
                return
            known.update(digests)
            if self.path is None:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with naming(self.path), self.path.open("a", encoding="ascii") as stream:
                # The first line break ends a line that a killed run may have cut off.
                stream.write(f"\n{image_sha256} {' '.join(digests)}\n")

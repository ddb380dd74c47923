"""Content hashes of the files of a cohort, cached by file size and modification time."""

import json
from pathlib import Path

from extract.prepare import Fingerprint
from extract.regions import RegionPlan
from pipeline.cohort import Scan
from pipeline.errors import ImageError, MaskError, ScanError
from pipeline.files import check_regular, path_hint, written_whole
from pipeline.provenance import sha256_of_file, sha256_of_json

_ENTRY_LENGTH = 3
"""Of a file: size, modification time and hash."""


class FileHashes:
    """SHA-256 of files; a file whose size and modification time (in nanoseconds) are unchanged is not read again.

    Args:
        path: where they are kept between runs; None keeps them in memory alone.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        try:
            known = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}  # no memory yet, or an unreadable one: every file is read
        entries = known.items() if isinstance(known, dict) else ()
        self._known: dict[str, list[object]] = {
            name: entry for name, entry in entries if isinstance(entry, list) and len(entry) == _ENTRY_LENGTH
        }

    def sha256(self, path: Path) -> str:
        """Return the hash of a file.

        Raises:
            OSError: the file cannot be read, or is no regular one.
        """
        check_regular(path)
        resolved = path.resolve()
        about = resolved.stat()
        size, changed, digest = self._known.get(str(resolved), [None, None, ""])
        if (size, changed) != (about.st_size, about.st_mtime_ns):
            digest = sha256_of_file(resolved)
            self._known[str(resolved)] = [about.st_size, about.st_mtime_ns, digest]
        return str(digest)

    def knew(self, path: Path) -> bool:
        """Return whether a file was there in this run or an earlier one."""
        return str(path.resolve()) in self._known

    def save(self) -> None:
        """Write the cache file atomically, where there is one."""
        if self.path is None:
            return
        with written_whole(self.path) as sibling:
            sibling.write_text(json.dumps(self._known, sort_keys=True), encoding="utf-8")


def fingerprint(plan: RegionPlan, hashes: FileHashes) -> Fingerprint | ScanError:
    """Return the hashes of the files of a scan, or what is wrong with them."""
    scan = plan.scan
    who = {"patient_id": scan.patient_id, "phase": scan.phase}
    try:
        image = hashes.sha256(scan.image)
    except OSError as error:
        return ImageError(
            f"{scan.image}: expected an image file, found: {error.strerror}{path_hint(str(scan.image))}",
            **who,
        )
    masks = []
    for name, path in plan.mask_files:
        try:
            masks.append((name, hashes.sha256(path)))
        except OSError as error:
            return MaskError(
                f"{path}: expected a mask file, found: {error.strerror}{path_hint(str(path))}", **who
            )
    mask = masks[0][1] if len(masks) == 1 else sha256_of_json([masks, plan.z_range_mm])
    return Fingerprint(image, mask, _organ_hash(scan, hashes))


def _organ_hash(scan: Scan, hashes: FileHashes) -> str:
    try:
        return hashes.sha256(scan.liver_mask) if scan.liver_mask else ""
    except OSError:
        return ""  # told when the scan is read; the scan can do without

"""The memory of file hashes."""

import hashlib

import pytest

from extract.fingerprints import FileHashes


@pytest.mark.parametrize("memory", ["", "[1]", "3", '{"FILE": 3}', '{"FILE": [1]}', "\x00"])
def test_a_damaged_memory_is_as_good_as_none(memory, tmp_path):
    file, kept = tmp_path / "scan.nii", tmp_path / "fingerprints.json"
    file.write_bytes(b"voxels")
    kept.write_text(memory.replace("FILE", str(file)))
    hashes = FileHashes(kept)
    assert hashes.sha256(file) == hashlib.sha256(b"voxels").hexdigest()
    hashes.save()
    assert FileHashes(kept).sha256(file) == hashes.sha256(file)

"""Pseudonyms under a key that only its owner can read."""

import csv
import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from extract.dicom.pseudonyms import KeyFileError, open_key


def test_a_pseudonym_is_the_keyed_hash_of_the_identifier(tmp_path):
    key = tmp_path / "key"
    key.write_text("00" * 32)
    key.chmod(0o600)
    digest = hmac.new(bytes(32), b"p\0" + b"0815", hashlib.sha256).hexdigest()
    assert open_key(key).patient("0815") == f"p{digest[:12]}"


def test_a_key_is_made_where_there_is_none_and_used_again(tmp_path):
    made = open_key(tmp_path / "keys" / "key")
    again = open_key(tmp_path / "keys" / "key")
    assert (made.is_new, again.is_new) == (True, False)
    assert made.patient("0815") == again.patient("0815")
    assert stat.S_IMODE((tmp_path / "keys" / "key").stat().st_mode) == 0o600


def test_another_key_gives_other_pseudonyms(tmp_path):
    assert open_key(tmp_path / "a").patient("0815") != open_key(tmp_path / "b").patient("0815")


def test_what_pseudonyms_stand_for_is_written_for_the_owner_of_the_key(tmp_path):
    first = open_key(tmp_path / "key")
    patient = first.patient("0815")
    path = first.write_originals()
    second = open_key(tmp_path / "key")
    series = second.series("1.2.3", Path("a/b/1.dcm"))
    second.write_originals()
    with path.open(newline="") as stream:
        assert {row["pseudonym"]: row["original"] for row in csv.DictReader(stream)} == {
            patient: "0815",
            series: "1.2.3 in a/b",
        }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_others_can_read_is_refused(tmp_path):
    open_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(KeyFileError, match="others can read the key; take their rights away: chmod 600"):
        open_key(tmp_path / "key")


@pytest.mark.parametrize("text", ["", "secret", "00" * 16])
def test_what_is_no_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(KeyFileError, match="expected a key of 32 bytes in hexadecimal digits"):
        open_key(tmp_path / "key")

"""The content store: whole entries or none, damage is never taken for content, the oldest use goes first."""

import json
import multiprocessing
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from aggregate.store.content_store import ContentStore, EntryKind

KEYS = tuple(letter * 32 for letter in "abcdef")


@pytest.fixture
def store(tmp_path) -> ContentStore:
    return ContentStore(tmp_path / "cache")


def write(store: ContentStore, key: str, content: bytes = b"content", *, of: str = "mean") -> None:
    with store.writing(key, EntryKind.FIT, of=of) as folder:
        (folder / "model").mkdir()
        (folder / "numbers").write_bytes(content)
        (folder / "model" / "weights").write_bytes(content[::-1])


def used_in_order(store: ContentStore, *keys: str) -> None:
    for second, key in enumerate(keys, start=1000):
        os.utime(store.path_of(key, "about.json"), (second, second))


def test_what_was_written_is_read_and_described(store):
    write(store, KEYS[0], b"abc")
    assert store.holds(KEYS[0])
    assert store.read(KEYS[0], "numbers") == b"abc"
    (entry,) = store.entries()
    assert (entry.key, entry.kind, entry.of, entry.n_bytes) == (KEYS[0], EntryKind.FIT, "mean", 6)


def test_a_key_that_is_not_there_is_read_as_none_and_nothing_is_made(store):
    assert store.read(KEYS[0], "numbers") is None
    assert not store.holds(KEYS[0])
    assert store.entries() == []
    assert not store.folder.exists()


def test_a_block_that_fails_leaves_nothing(store):
    def half_of_it() -> None:
        with store.writing(KEYS[0], EntryKind.FIT, of="mean") as folder:
            (folder / "numbers").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_of_it()
    assert list(store.folder.iterdir()) == []


def change_a_byte(entry: Path) -> None:
    content = bytearray((entry / "model" / "weights").read_bytes())
    content[0] ^= 1
    (entry / "model" / "weights").write_bytes(content)


def change_about(entry: Path, **values: object) -> None:
    about = json.loads((entry / "about.json").read_text())
    (entry / "about.json").write_text(json.dumps({**about, **values}))


DAMAGES = {
    "a byte of another file than the one read": change_a_byte,
    "a file cut off": lambda entry: (entry / "numbers").write_bytes(b"con"),
    "a file gone": lambda entry: (entry / "numbers").unlink(),
    "a folder gone": lambda entry: shutil.rmtree(entry / "model"),
    "an empty description": lambda entry: (entry / "about.json").write_bytes(b""),
    "a binary description": lambda entry: (entry / "about.json").write_bytes(b"\x00\xff\x80"),
    "a list as description": lambda entry: (entry / "about.json").write_text("[1]"),
    "another checksum": lambda entry: change_about(entry, sha256={"numbers": "0" * 64}),
    "another version": lambda entry: change_about(entry, version=2),
    "another key": lambda entry: change_about(entry, key=KEYS[1]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_removed_and_can_be_made_again(store, damage):
    write(store, KEYS[0])
    damage(store.folder / KEYS[0])
    assert len(store.entries()) == 1  # described without a fault
    assert store.read(KEYS[0], "numbers") is None
    assert list(store.folder.iterdir()) == []
    write(store, KEYS[0])
    assert store.read(KEYS[0], "numbers") == b"content"


def test_an_entry_written_over_a_damaged_one_takes_its_place_and_a_whole_one_stays(store):
    (store.folder / KEYS[0]).mkdir(parents=True)
    (store.folder / KEYS[0] / "rest").touch()
    write(store, KEYS[1])
    change_a_byte(store.folder / KEYS[1])
    write(store, KEYS[2], b"first")
    for key in KEYS[:3]:
        write(store, key, b"second")
    assert [store.read(key, "numbers") for key in KEYS[:3]] == [b"second", b"second", b"first"]


def write_and_read(folder: Path) -> int:
    store, n_wrong = ContentStore(folder), 0
    for turn in range(60):
        key = KEYS[turn % 3]
        write(store, key, key.encode())
        n_wrong += store.read(key, "numbers") not in (key.encode(), None)
        if turn % 7 == 0:
            store.remove(store.entries()[:1])
    return n_wrong


def test_processes_that_write_read_and_remove_at_once_see_whole_entries_or_none(store):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(write_and_read, [store.folder] * 3) == [0, 0, 0]
    assert not list(store.folder.glob("*.partial"))
    assert {entry.kind for entry in store.entries()} <= {EntryKind.FIT}


def test_the_limit_removes_what_was_used_longest_ago_and_no_more_than_it_must(store):
    for key in KEYS[:4]:
        write(store, key, b"12345")
    used_in_order(store, *KEYS[:4])
    store.read(KEYS[0], "numbers")  # the oldest is used again
    removed = store.shrink(20, keep=(), used_since=float("inf"))
    assert [entry.key for entry in removed] == [KEYS[1], KEYS[2]]
    assert {entry.key for entry in store.entries()} == {KEYS[0], KEYS[3]}
    assert store.shrink(20, keep=(), used_since=float("inf")) == []


def test_no_limit_removes_what_a_run_has_used(store):
    for key in KEYS[:4]:
        write(store, key)
    used_in_order(store, *KEYS[:4])
    removed = store.shrink(0, keep=[KEYS[0]], used_since=1002)
    assert [entry.key for entry in removed] == [KEYS[1]]


def test_the_order_of_entries_is_that_of_their_last_use(store):
    for key in KEYS:
        write(store, key)
    times = [entry.last_used for entry in store.entries()]
    assert all(before <= after for before, after in pairwise(times))


def test_the_layout_of_earlier_releases_is_told_and_removed_and_other_files_stay(store):
    old = store.folder / KEYS[0]
    old.mkdir(parents=True)
    (old / "predictions.npz").write_bytes(b"1234")
    (store.folder / "concepts").mkdir()
    (store.folder / "concepts" / f"{KEYS[1]}.json").write_text("{}")
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "my folder").mkdir()
    entries = store.entries()
    assert {(entry.key, entry.kind) for entry in entries} == {
        (key, EntryKind.EARLIER_RELEASE) for key in KEYS[:2]
    }
    assert sum(entry.n_bytes for entry in entries) == 6
    store.remove(entries)
    assert {path.name for path in store.folder.iterdir()} == {"notes.txt", "my folder"}

"""Replacement of old results by new ones; if it is killed at any instant, the next command completes it.

A complete set of new results, with a journal of what is to be moved, becomes the folder `results.swap` in one rename:
before it the old results stand untouched, after it every command carries the journal out to its end. Each step of the
journal may be done twice. While files move, which takes milliseconds, run.json says that the folder is incomplete.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aggregate.run_folder.run_record import FILES, INCOMPLETE, RECORD, write_json
from pipeline.files import partial_of
from pipeline.provenance import sha256_of_file

STAGED = "results.swap"
"""Folder of a results folder that holds complete new results while they are put in place."""
_JOURNAL = "swap.json"


@dataclass(frozen=True)
class Swap:
    """What is to happen to the files of a results folder; all names are relative to it."""

    found: Mapping[str, str]
    """Files of the earlier run that lay there -> SHA-256."""
    new: Mapping[str, str]
    """Files of the new results -> SHA-256 as run.json is to list it."""
    kept: Sequence[str]
    """Files that are moved to `place` instead of being replaced or removed."""
    place: str
    """Folder that takes them."""


def start_swap(swap: Swap, beside: Path, folder: Path) -> None:
    """Commit to the new results in `beside`, which has their run.json, and put them in place."""
    write_json(beside / _JOURNAL, asdict(swap))
    beside.rename(folder / STAGED)
    _carry_out(swap, folder)


def complete_swap(folder: Path) -> bool:
    """Put in place what a killed command had complete; say whether there was anything."""
    if not is_cut_off(folder):
        return False
    journal: Mapping[str, Any] = json.loads((folder / STAGED / _JOURNAL).read_text(encoding="utf-8"))
    swap = Swap(**journal)
    _carry_out(Swap(swap.found, swap.new, [*swap.kept, *_made_since(swap, folder)], swap.place), folder)
    return True


def is_cut_off(folder: Path) -> bool:
    """Say whether a command was killed while it put results in place."""
    return (folder / STAGED / _JOURNAL).is_file()


def _carry_out(swap: Swap, folder: Path) -> None:
    staged = folder / STAGED
    if (staged / RECORD).exists():
        record = json.loads((staged / RECORD).read_text(encoding="utf-8"))
        owned = {**swap.found, **swap.new}
        write_json(folder / RECORD, {**record, FILES: owned, INCOMPLETE: True})
        _move_files(swap, staged, folder)
        (staged / RECORD).replace(folder / RECORD)
    # Renamed first, so that no half-deleted folder is taken for one to carry out.
    done = staged.rename(partial_of(staged))
    shutil.rmtree(done, ignore_errors=True)


def _move_files(swap: Swap, staged: Path, folder: Path) -> None:
    for name in swap.kept:
        target = folder / swap.place / name
        if (folder / name).is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(target)
    for name in swap.found:
        if name not in swap.new:
            (folder / name).unlink(missing_ok=True)
    for name in swap.new:
        if (staged / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).replace(folder / name)


def _made_since(swap: Swap, folder: Path) -> Sequence[str]:
    """Name the files that somebody put where the swap writes or removes, after it was cut off."""
    names = [name for name in {**swap.found, **swap.new} if (folder / name).is_file()]
    staged = folder / STAGED
    new = {name: sha256_of_file(staged / name) for name in names if (staged / name).is_file()}
    known = {name: (swap.found.get(name), swap.new.get(name), new.get(name)) for name in names}
    return [name for name in names if sha256_of_file(folder / name) not in known[name]]

"""What the cache of a results folder holds, and its cleaning: `aggregate.py cache`, and the end of a run."""

import time
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from aggregate.config import AggregateConfig
from aggregate.run_folder.holding import holding
from aggregate.run_folder.run_record import FITS, RECORD, bags_of_record, record_of, results_in
from aggregate.store.content_store import ContentStore, Entry, EntryKind
from pipeline.errors import ResultsError
from pipeline.files import sweep_partials
from pipeline.run_log import say

_CACHE = "cache"
_HOUR_S, _DAY_S = 3600, 86400
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class Remove(Enum):
    """What `aggregate.py cache` removes."""

    NOTHING = "nothing"
    UNUSED = "what the run in the folder does not use"
    ALL = "all"


def show_cache(folder: Path, remove: Remove, *, console: Console) -> None:
    """Print what the cache of a results folder holds, after what is asked was removed.

    Raises:
        ResultsError: there is no such folder, no run to tell what is used, or another command writes there.
    """
    if not folder.is_dir():
        raise ResultsError(
            f"{folder}: no such folder; name the `output` of the configuration, where a run was begun"
        )
    results = results_in(folder)
    if remove is not Remove.NOTHING:
        _clean(results, remove, console)
    store = ContentStore(_cache_of(results))
    entries = store.entries()
    say(console, f"{store.folder}: {_amount(entries)}")
    if entries:
        console.print(_table(entries, _keys_of_run(entries, record_of(results))))


def limit_cache(config: AggregateConfig, fits: Mapping[str, Sequence[str]], *, since: float) -> Iterator[str]:
    """Remove what was used longest ago from a cache above its limit; yield a line where something was.

    Args:
        config: names the cache and the limit.
        fits: keys of the fits of the run that ends, by model; they stay, as does all that was used since.
        since: when the run began, in seconds since 1970.
    """
    limit_gb = config.aggregate.cache_limit_gb
    used = {key for keys in fits.values() for key in keys}
    removed = ContentStore(config.cache_folder).shrink(limit_gb * 1e9, keep=used, used_since=since)
    if removed:
        yield (
            f"{config.cache_folder} was above its limit (aggregate.cache_limit_gb = {limit_gb:g}); removed what was "
            f"used longest ago: {_amount(removed)}"
        )


def _clean(results: Path, remove: Remove, console: Console) -> None:
    record = record_of(results)
    if record is None and remove is Remove.UNUSED:
        raise ResultsError(
            f"{results / RECORD}: no such file, and without a finished run nothing says what is used; --remove-all "
            "removes the whole cache"
        )
    with holding(results, tell=partial(say, console)):
        store = ContentStore(_cache_of(results))
        sweep_partials(store.folder)
        entries = store.entries()
        kept = _keys_of_run(entries, record_of(results)) if remove is Remove.UNUSED else frozenset()
        removed = [entry for entry in entries if entry.key not in kept]
        store.remove(removed)
        if store.folder.is_dir() and not any(store.folder.iterdir()):
            store.folder.rmdir()
    say(console, f"Removed {_amount(removed)}")


def _cache_of(results: Path) -> Path:
    """Return the cache of a results folder, which lies beside one that is named `results` in the output."""
    beside = results.parent / _CACHE
    is_beside = results.name == "results" and not (results / _CACHE).is_dir() and beside.is_dir()
    return beside if is_beside else results / _CACHE


def _keys_of_run(entries: Sequence[Entry], record: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the keys of the fits of a run, and of the measures last used of each of its patients."""
    record = record or {}
    fits = {key for keys in record.get(FITS, {}).values() for key in keys}
    # The entries come in the order of their last use.
    measures = {entry.of: entry.key for entry in entries if entry.kind is EntryKind.MEASURES}
    patients = {name for keys in bags_of_record(record).values() for name in keys}
    present = {entry.key for entry in entries}
    return frozenset(fits & present | {key for of, key in measures.items() if of in patients})


def _table(entries: Sequence[Entry], of_run: frozenset[str]) -> Table:
    table = Table("what", "entries", "size", "last used", "used by the run here")
    for what, some in _grouped(entries).items():
        ages = _age(some[-1]), _age(some[0])
        told = ages[0] if ages[0] == ages[1] else f"{ages[0]} to {ages[1]}"
        n_used = sum(entry.key in of_run for entry in some)
        table.add_row(what, str(len(some)), _size(some), f"{told} ago", str(n_used))
    return table


def _grouped(entries: Sequence[Entry]) -> Mapping[str, list[Entry]]:
    words = {
        EntryKind.MEASURES: "measures of slices",
        EntryKind.TRIAL: "times of fits, for a budget",
        EntryKind.EARLIER_RELEASE: "of an earlier release, not read by this one",
        EntryKind.DAMAGED: "damaged",
    }
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(words.get(entry.kind, f"fits of {entry.of}"), []).append(entry)
    return dict(sorted(groups.items()))


def _amount(entries: Sequence[Entry]) -> str:
    """Return `1 entry, 2.5 MB`."""
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}, {_size(entries)}"


def _size(entries: Sequence[Entry]) -> str:
    n_bytes = sum(entry.n_bytes for entry in entries)
    for unit, name in _UNITS:
        if n_bytes >= unit:
            return f"{n_bytes / unit:.1f} {name}"
    return f"{n_bytes} bytes"


def _age(entry: Entry) -> str:
    seconds = max(0.0, time.time() - entry.last_used)
    if seconds < _HOUR_S:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / _HOUR_S:.0f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} days"

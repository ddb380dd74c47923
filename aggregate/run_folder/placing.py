"""How results come into their folder: written beside it, put in place when complete, nothing of others touched.

run.json lists the files of a run with their SHA-256. Only these are ever replaced or removed by a later run. One that
somebody has changed since, or that a release without such a list left, is kept in `earlier_results`.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aggregate.paper.writing import PAPER, PAPER_FILES
from aggregate.report.page import FIGURES, REPORT
from aggregate.report.workbook import WORKBOOK
from aggregate.run_folder.run_record import FILES, RECORD, record_of, write_json
from aggregate.run_folder.swap import Swap, start_swap
from aggregate.tables.registry import all_tables
from aggregate.tables.table import Table
from pipeline.errors import ResultsError
from pipeline.files import partial_of
from pipeline.provenance import sha256_of_file
from pipeline.tables import TABLES

EARLIER = "earlier_results"
"""Folder of a results folder that takes what a run neither deletes nor may leave among its tables."""
_TWIN = ".xlsx"
"""Ending of the workbooks that earlier releases wrote beside their tables."""


def check_may_write(folder: Path, tables: Iterable[Table], inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any work, to write tables where a file lies that no run wrote, or that this run reads.

    Args:
        folder: the results folder.
        tables: the tables to come.
        inputs: files that the run reads.

    Raises:
        ResultsError: the file is named, and what to do.
    """
    for name in (FIGURES, TABLES, PAPER):
        if (folder / name).is_file():
            raise _not_ours(folder / name)
    owned = _files_of_run(folder)
    read = [path.resolve() for path in inputs]
    for name in dict.fromkeys([*_with_their_company(tables), *PAPER_FILES, *owned]):
        path = folder / name
        if path.exists() and (name not in owned or path.resolve() in read):
            raise _not_ours(path)


def was_changed(folder: Path, name: str) -> bool:
    """Say whether a file is another one than the run wrote; of a run that kept no list it cannot be told."""
    known = _files_of_run(folder).get(name)
    return bool(known) and (folder / name).is_file() and sha256_of_file(folder / name) != known


@contextmanager
def written_beside(folder: Path, *, keep: bool) -> Iterator[Path]:
    """Yield a folder beside the results to write to; the caller puts it in place, and it goes in any case.

    Args:
        folder: the results folder.
        keep: begin with a copy of the files of the finished run, to write some of them anew.

    Raises:
        ResultsError: as raised inside, its paths those of the results folder.
    """
    beside = partial_of(folder / "results")
    beside.mkdir(parents=True)
    try:
        for name in (*_files_of_run(folder), RECORD) if keep else ():
            if (folder / name).is_file():
                (beside / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / name, beside / name)
        yield beside
    except ResultsError as error:
        # Whoever reads it looks for the file in the results folder.
        raise ResultsError(str(error).replace(str(beside), str(folder))) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def put_in_place(beside: Path, folder: Path) -> tuple[str, ...]:
    """Replace the results of an earlier run by the new ones, and list these in run.json.

    Returns:
        Names of the files that were kept in `earlier_results`.

    Raises:
        ResultsError: a file that no run wrote is in the way; nothing has changed then.
    """
    change = _Change.between(beside, folder)
    foreign = [name for name in change.new if (folder / name).exists() and name not in change.old]
    if foreign:
        raise _not_ours(folder / foreign[0])
    record = json.loads((beside / RECORD).read_text(encoding="utf-8"))
    write_json(beside / RECORD, {**record, FILES: change.new})
    kept = change.changed_by_others()
    start_swap(Swap(change.found, change.new, kept, _place_of_kept(folder)), beside, folder)
    return tuple(kept)


def gather_tables(folder: Path) -> None:
    """Move the tables of a run of an earlier release, which lie beside its report, into their folder.

    Of the .xlsx twins that it wrote, those go that nobody has changed. A kill at any instant leaves this to the next command.

    Raises:
        ResultsError: a file that no run wrote is in the way; nothing has changed then.
    """
    old = _files_of_run(folder)
    beside_report = [name for name in old if "/" not in name and name.endswith(".csv")]
    if not beside_report:
        return
    in_the_way = [path for name in beside_report if (path := folder / _gathered(name)).exists()]
    if in_the_way:
        raise _not_ours(in_the_way[0])
    twins = {name for name in old if Path(name).suffix == _TWIN and name != WORKBOOK}
    listed = {_gathered(name): digest for name, digest in old.items() if name not in twins}
    found = {name: sha256_of_file(folder / name) for name in old if (folder / name).is_file()}
    gone = {name: digest for name, digest in found.items() if name in twins and digest == old[name]}
    new = {_gathered(name): digest for name, digest in found.items() if name not in twins}
    with written_beside(folder, keep=False) as beside:
        write_json(beside / RECORD, {**(record_of(folder) or {}), FILES: listed})
        start_swap(Swap(gone, new, beside_report, TABLES), beside, folder)


def _gathered(name: str) -> str:
    return f"{TABLES}/{name}" if "/" not in name and name.endswith(".csv") else name


@dataclass(frozen=True)
class _Change:
    """What a results folder holds and is to hold: path relative to it -> SHA-256 when a run wrote it."""

    old: Mapping[str, str]
    new: Mapping[str, str]
    found: Mapping[str, str]
    """Of the old ones that are there, the SHA-256 now."""

    @classmethod
    def between(cls, beside: Path, folder: Path) -> "_Change":
        old = _files_of_run(folder)
        found = {name: sha256_of_file(folder / name) for name in old if (folder / name).is_file()}
        new = {}
        for path in sorted(p for p in beside.rglob("*") if p.is_file() and p.name != RECORD):
            name, digest = path.relative_to(beside).as_posix(), sha256_of_file(path)
            # A copy of what stands there was not written by this command.
            new[name] = old[name] if found.get(name) == digest and old[name] else digest
        return cls(old, new, found)

    def changed_by_others(self) -> list[str]:
        """Name the old files that go or change, and are not as a run is known to have written them."""
        return [n for n, digest in self.found.items() if digest not in (self.old[n], self.new.get(n))]


def _place_of_kept(folder: Path) -> str:
    numbers = (f"{EARLIER}/{n:03}" for n in range(1, 1000))
    return next(name for name in numbers if not (folder / name).exists())


def _files_of_run(folder: Path) -> Mapping[str, str]:
    """Return what run.json lists; of a release without a list, what it may have written, with no SHA-256."""
    record = record_of(folder)
    if record is None:
        return {}
    if FILES in record:
        return {str(name): str(digest) for name, digest in record[FILES].items()}
    drawings = [path.relative_to(folder).as_posix() for path in folder.glob("figures/*.svg")]
    tables = [name for table in all_tables() for name in (table.file, f"{Path(table.file).stem}{_TWIN}")]
    names = [*tables, REPORT, *drawings]
    return {name: "" for name in names if (folder / name).is_file()}


def _with_their_company(tables: Iterable[Table]) -> Sequence[str]:
    """Return the files of tables, the workbook and the report."""
    return [*(table.location for table in tables), WORKBOOK, REPORT]


def _not_ours(path: Path) -> ResultsError:
    return ResultsError(
        f"{path}: no run of phasemil wrote this file, or this run reads it, and the results would replace it; choose "
        "another `output` in the configuration, or move the file elsewhere"
    )

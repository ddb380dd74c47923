"""What an import prints: counts by class and phase, what was guessed, what is not used, and the next command."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.table import Table

from extract.importers.found import Decision, Entry, Import, ScanRow
from extract.importers.importing import guesses
from pipeline.names import PHASE_ALIASES, count_of_rows, number_of
from pipeline.run_log import say, say_table

NO_LABEL = "(no label)"
_AT_MOST = 24
"""Lines of one kind that are printed; the report has all."""
_ONE_BY_ONE = 4
"""Files of one reason that are printed one by one."""


def print_import(found: Import, table: Path, report: Path, console: Console) -> None:
    """Print what an import found."""
    say_table(console, counts(found))
    for line in _lines(found):
        say(console, line)
    say(
        console,
        f"{table} written: {count_of_rows(len(found.rows))}; {report}: every decision and every file that is not used",
    )
    say(
        console,
        f"Look at both, then: python extract.py init {quote(str(table))} --out {quote(table.stem)}.toml",
    )


def counts(found: Import) -> Table:
    """Return patients by class and phase, with those that have a mask of the tumour."""
    present = dict.fromkeys(row.phase for row in found.rows)
    phases = [
        *(name for name in PHASE_ALIASES if name in present),
        *(p for p in present if p not in PHASE_ALIASES),
    ]
    table = Table(
        "class", "patients", *phases, title="Patients (with a mask of the tumour)", title_justify="left"
    )
    for label in sorted({row.label for row in found.rows}):
        rows = [row for row in found.rows if row.label == label]
        cells = (_cell([row for row in rows if row.phase == phase]) for phase in phases)
        table.add_row(label or NO_LABEL, str(len({row.patient_id for row in rows})), *cells)
    return table


def _cell(rows: list[ScanRow]) -> str:
    patients = {row.patient_id for row in rows}
    return f"{len(patients)} ({len({row.patient_id for row in rows if row.mask})})"


def _lines(found: Import) -> Iterator[str]:
    yield from _block(
        "Guessed, to be looked at", [e.gist or f"{e.what}, from {e.source}" for e in guesses(found)]
    )
    decided = [entry for entry in found.entries if not entry.patient_id and entry.decision is Decision.USED]
    yield from _block("Decided", [f"{entry.what}, from {entry.source}" for entry in decided])
    yield from _block("Not used", _unused(found.entries), joined=False)
    unlabelled = list(dict.fromkeys(row.patient_id for row in found.rows if not row.label))
    if unlabelled:
        yield from _block(
            f"{number_of(len(unlabelled), 'patient')} without a label", unlabelled, joined=False
        )
    to_set = dict.fromkeys(f"{e.what} ({e.source})" for e in found.entries if e.decision is Decision.TO_SET)
    yield from _block("For the configuration (`extract.py init` writes it)", list(to_set))


def _unused(entries: Sequence[Entry]) -> list[str]:
    """Return a line for each entry that is not used; where many have one reason, one for all of them."""
    by_reason: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.decision is Decision.NOT_USED:
            by_reason.setdefault(entry.what, []).append(entry)
    lines = list[str]()
    for same in by_reason.values():
        if len(same) > _ONE_BY_ONE:
            lines.append(f"{_named(same[0])}, and {len(same) - 1} more for this reason")
        else:
            lines += map(_named, same)
    return lines


def _named(entry: Entry) -> str:
    who = f"patient {entry.patient_id}" if entry.patient_id else ""
    return ": ".join(filter(None, (who, entry.file, entry.what)))


def _block(title: str, lines: list[str], *, joined: bool = True) -> Iterator[str]:
    """Yield a title and its lines; equal lines once with their number."""
    if not lines:
        return
    yield f"{title}:"
    told = [f"{line} ({n} x)" if n > 1 else line for line, n in Counter(lines).items()] if joined else lines
    yield from (f"  {line}" for line in told[:_AT_MOST])
    if len(told) > _AT_MOST:
        yield f"  and {len(told) - _AT_MOST} more"

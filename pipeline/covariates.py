"""Columns of the cohort table as numbers, dates or categories, by one rule that a single cell cannot change.

A cell that is empty or spelled as missing ("NA", "n/a", "-", "unknown" ...) is ignored. The type of a column is that of
most other cells: numbers, ISO dates, or else categories. In a column of numbers or dates a cell of another type
(">75") counts as missing and is listed. Decimal commas and thousands separators are understood; a cell that may be read
in two ways ("1,234" or "1.234" where no other cell shows which sign is which) is not guessed. A column that looks like
numbers and cannot be read as such is reported as doubtful, and not read as categories.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

_MISSING = frozenset({
    "", "na", "n/a", "n.a.", "n. a.", "#n/a", "#na", "nan", "null", "missing", "unknown", "unk", "not available",
    "not known", "nd", "n.d.", "n/d", "-", "--", "---", "–", "—", ".", "?", "??",
})  # fmt: skip
"""Not "none", which is a word of many categories (no cirrhosis)."""
_POINT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL = {
    ",": re.compile(r"[+-]?\d+,\d+", re.ASCII),
    ".": re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII),
}
"""Decimal sign -> a number written with it."""
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)
"""Either a decimal sign followed by three digits, or a thousands separator."""
_GROUPED = {
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", re.ASCII),
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?", re.ASCII),
}
"""Thousands separator -> a number written with it."""
_OTHER_SIGN = {",": ".", ".": ","}
_LIKE_NUMBER = re.compile(r"[<>~=≤≥±+-]?\s*\d")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NAMED = 3
"""Misfits that a description lists one by one."""


class Kind(StrEnum):
    """The type of a column."""

    NUMBER = "number"
    DATE = "date"
    CATEGORY = "category"


Value = float | str | None


@dataclass(frozen=True)
class Covariate:
    """One column of the cohort table, typed."""

    name: str
    kind: Kind
    values: Mapping[str, Value]
    """Patient identifier -> number, days (of a date: its ordinal), word, or None where missing."""
    misfits: Mapping[str, str]
    """Patient identifier -> cell that does not fit the type, and counts as missing."""
    doubt: str = ""
    """Why the type is uncertain; empty if it is not. A column with a doubt is refused where it is used."""

    @property
    def is_ordered(self) -> bool:
        """Whether the values are numbers; dates count as days."""
        return self.kind is not Kind.CATEGORY

    @property
    def numbers(self) -> dict[str, float | None]:
        """The values of an ordered column; None where missing."""
        return {who: value if isinstance(value, float) else None for who, value in self.values.items()}

    @property
    def words(self) -> dict[str, str]:
        """The values of a category; empty where missing."""
        return {who: value if isinstance(value, str) else "" for who, value in self.values.items()}

    @property
    def levels(self) -> tuple[float | str, ...]:
        """The distinct values, sorted."""
        found = set(self.values.values())
        numbers = sorted(value for value in found if isinstance(value, float))
        return (*numbers, *sorted(value for value in found if isinstance(value, str)))

    def record(self) -> Mapping[str, object]:
        """Return the kind, how many values are missing, and the misfits, as written to run.json."""
        n_missing = sum(value is None for value in self.values.values())
        return {"kind": self.kind.value, "n_missing": n_missing, "misfits": dict(self.misfits)}

    def describe(self) -> str:
        """Describe in one line the type of the column and the cells that do not fit it."""
        n_known = sum(value is not None for value in self.values.values())
        n_missing = len(self.values) - n_known - len(self.misfits)
        levels = f" of {len(self.levels)} words" if self.kind is Kind.CATEGORY else ""
        line = f"covariate {self.name!r} read as {self.kind}{levels}: {n_known} patients, {n_missing} missing"
        if not self.misfits:
            return line
        first = [f"{cell!r} (patient {who})" for who, cell in list(self.misfits.items())[:_NAMED]]
        more = f" and {len(self.misfits) - _NAMED} more" if len(self.misfits) > _NAMED else ""
        return f"{line}; no {self.kind}, so treated as missing: {', '.join(first)}{more}"


def is_missing(cell: str) -> bool:
    """Whether a cell is empty or spelled as missing."""
    return cell.strip().lower() in _MISSING


def read_covariate(name: str, cells: Mapping[str, str], known_words: Collection[str] = ()) -> Covariate:
    """Type one column.

    Args:
        name: of the column.
        cells: patient identifier -> cell as text; of every patient, since the kind is decided by all of them.
        known_words: of a category of other patients that this column continues; cells that are all among them are words, also
            where they look like numbers.
    """
    texts = {who: unicodedata.normalize("NFC", cell.strip()) for who, cell in cells.items()}
    filled = {who: text for who, text in texts.items() if not is_missing(text)}
    if filled and known_words and set(filled.values()) <= set(known_words):
        return Covariate(name, Kind.CATEGORY, {who: filled.get(who) for who in texts}, {})
    number = _reader_of_numbers(filled)
    for kind, read in ((Kind.NUMBER, number), (Kind.DATE, _days)):
        found = {who: read(text) for who, text in filled.items()}
        if 2 * sum(value is not None for value in found.values()) > len(filled):
            misfits = {who: filled[who] for who, value in found.items() if value is None}
            return Covariate(name, kind, {who: found.get(who) for who in texts}, misfits)
    return Covariate(name, Kind.CATEGORY, {who: filled.get(who) for who in texts}, {}, _doubt(filled))


def _doubt(filled: Mapping[str, str]) -> str:
    """Say why cells that are no numbers, and are not plainly words either, should not be taken for a category."""
    like_numbers = [text for text in filled.values() if _LIKE_NUMBER.match(text)]
    n_words = len(set(filled.values()))
    if 2 * len(like_numbers) < len(filled) or 2 * n_words <= len(filled):
        return ""
    shown = ", ".join(repr(text) for text in dict.fromkeys(like_numbers[:_NAMED]))
    return (
        f"cells such as {shown} look like numbers or dates, but cannot be read with certainty; write numbers "
        "without other characters and without thousands separators, and dates as 2024-12-31"
    )


def _reader_of_numbers(filled: Mapping[str, str]) -> Callable[[str], float | None]:
    """Return how the cells of a column are read, which hangs on the signs that are plain to see in all of them."""
    plain = [text for text in filled.values() if not _THOUSANDS.fullmatch(text)]
    thousands = _only_sign(plain, _GROUPED)
    decimal = _OTHER_SIGN.get(thousands) or _only_sign(plain, _DECIMAL)

    def number(text: str) -> float | None:
        if thousands and _GROUPED[thousands].fullmatch(text):
            return _finite(text.replace(thousands, "").replace(decimal, "."))
        if _THOUSANDS.fullmatch(text) and not (decimal and decimal in text):
            return None
        is_number = _DECIMAL[","].fullmatch(text) or _POINT.fullmatch(text)
        return _finite(text.replace(",", ".")) if is_number else None

    return number


def _only_sign(texts: Sequence[str], forms: Mapping[str, re.Pattern[str]]) -> str:
    """Return the sign of the one form that some of the texts have; nothing where none has, or both have."""
    found = [sign for sign, form in forms.items() if any(form.fullmatch(text) for text in texts)]
    return found[0] if len(found) == 1 else ""


def _finite(text: str) -> float | None:
    number = float(text)
    return number if abs(number) < float("inf") else None


def _days(text: str) -> float | None:
    """Return the ordinal of an ISO date."""
    if not _ISO_DATE.fullmatch(text):
        return None
    try:
        return float(date.fromisoformat(text).toordinal())
    except ValueError:
        return None

"""Masks looked into: empty and damaged ones are left out and told, maps of several labels are asked about."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from extract.importers.found import Entry, ScanRow, not_used, to_set
from extract.importers.layout import ImportRequest, LayoutSettings
from extract.importers.volume_files import values_in
from extract.mask_values import AT_MOST_LABELS, LEAST_LABEL
from extract.volumes import VolumeError
from pipeline.errors import CohortError, Mistakes
from pipeline.names import number_of

_ORGAN_KEY = "extract.masks.labels.organ"


@dataclass(frozen=True)
class MaskLabel:
    """Which value of a map of several labels is meant.

    Attributes:
        values: as said; empty where nobody said it.
        setting: how the user says it, for the question.
        source: who said it, for the report.
    """

    values: tuple[int, ...] = ()
    setting: str = "tumour_label=2"
    source: str = "the command"


class MaskSettings(LayoutSettings):
    """Settings of layouts whose masks are looked into."""

    tumour_label: int | None = None
    """Value of the tumour in masks of more than two values."""
    organ_label: int | None = None
    """Value of the organ in masks of more than two values."""

    @property
    def of_tumour(self) -> MaskLabel:
        """What was said about the tumour."""
        return MaskLabel(() if self.tumour_label is None else (self.tumour_label,))

    @property
    def of_organ(self) -> MaskLabel:
        """What was said about the organ."""
        return MaskLabel(() if self.organ_label is None else (self.organ_label,), "organ_label=1")


def look_into_masks(
    rows: Sequence[ScanRow], request: ImportRequest, tumour: MaskLabel, organ: MaskLabel
) -> tuple[tuple[ScanRow, ...], tuple[Entry, ...]]:
    """Return rows whose masks can be used, with `mask_label` where a mask holds several labels.

    Raises:
        CohortError: a mask holds several labels, and nobody said which is meant.
    """
    look = _Look(request)
    with_tumour = [_with_tumour(row, look, tumour) for row in rows]
    done = [_with_organ(row, look, organ) for row in with_tumour]
    look.raise_questions()
    if look.has_organ_maps:
        look.entries.append(to_set(_ORGAN_KEY, str(list(organ.values)), organ.source))
    return tuple(done), tuple(look.entries)


class _Look:
    """The masks seen so far, each read once."""

    def __init__(self, request: ImportRequest) -> None:
        self.request = request
        self.entries: list[Entry] = []
        self._asked: dict[tuple[str, str], dict[str, None]] = {}
        self.has_organ_maps = False
        self.values = cache(self._values)
        self._n = 0

    def _values(self, path: Path) -> tuple[float, ...] | str:
        self._n += 1
        if self._n % 100 == 0:
            self.request.tell(f"{self._n} masks looked into")
        try:
            return values_in(path)
        except VolumeError as error:
            return str(error).removeprefix(f"{path}: ")

    def usable(self, path: Path, row: ScanRow) -> tuple[float, ...]:
        """Return the values of a mask; nothing where it cannot be used, which becomes an entry."""
        found, name = self.values(path), self.request.named(path)
        why = found if isinstance(found, str) else _why_no_mask(found)
        if why:
            self.entries.append(not_used(name, why, patient_id=row.patient_id, phase=row.phase))
            return ()
        return tuple(float(value) for value in found)

    def ask(self, path: Path, values: Sequence[float], label: MaskLabel, structure: str) -> None:
        """Ask which label of a map is meant; masks of the same values together."""
        listed = ", ".join(f"{value:g}" for value in values[:12])
        self._asked.setdefault((listed, f"say which is the {structure}: {label.setting}"), {})[
            self.request.named(path)
        ] = None

    def raise_questions(self) -> None:
        """Put all questions.

        Raises:
            CohortError: there is one; SeveralMistakesError: there are several.
        """
        mistakes = Mistakes()
        for (values, question), names in self._asked.items():
            which = f"{number_of(len(names), 'mask')} of the values {values}, such as {next(iter(names))}"
            mistakes.add(CohortError(f"{which}: {question}"))
        mistakes.raise_all()


def _why_no_mask(values: Sequence[float]) -> str:
    """Return why a file with these values is no mask; nothing where it may be one."""
    if tuple(values) == (0.0,):
        return "an empty mask"
    if len(values) > AT_MOST_LABELS or values[0] < LEAST_LABEL:
        return f"no mask: it holds {len(values)} values from {values[0]:g} to {values[-1]:g}, as of an image"
    return ""


def _with_tumour(row: ScanRow, look: _Look, label: MaskLabel) -> ScanRow:
    if row.mask is None:
        return row
    values = look.usable(row.mask, row)
    if not values:
        return replace(row, mask=None)
    if len(values) <= 2 or row.mask_label:
        return row
    named = [value for value in label.values if value in values]
    if not label.values:
        look.ask(row.mask, values, label, "tumour")
    elif not named:
        name = look.request.named(row.mask)
        look.entries.append(not_used(name, f"the mask has no voxel of the label {label.values}", patient_id=row.patient_id, phase=row.phase))  # fmt: skip
        return replace(row, mask=None)
    text = " ".join(str(value) for value in named)
    look.entries.append(
        Entry(
            f"value {text} of the mask is the tumour",
            source=label.source,
            patient_id=row.patient_id,
            phase=row.phase,
            file=look.request.named(row.mask),
        )
    )
    return replace(row, mask_label=text)


def _with_organ(row: ScanRow, look: _Look, label: MaskLabel) -> ScanRow:
    if row.liver_mask is None:
        return row
    values = look.usable(row.liver_mask, row)
    if not values:
        return replace(row, liver_mask=None)
    if len(values) > 2:
        look.has_organ_maps = True
        if not label.values:
            look.ask(row.liver_mask, values, label, "organ")
    return row

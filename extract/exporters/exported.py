"""What one file of an export holds, what a target does with it, and what is said of both."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.bags import Bag, Recipe


@dataclass(frozen=True, eq=False)
class Item:
    """What becomes one file: all instances of a patient, or those of one phase.

    Attributes:
        name: of the file, without suffix.
        case: the patient as tables of the target name it.
        phase: empty if all phases are together.
        label: class, None without a cohort table.
        bag: the instances.
    """

    name: str
    case: str
    phase: str
    label: str | None
    bag: Bag

    @property
    def columns(self) -> NDArray[np.int64]:
        """Column of each instance on a sheet with a column for each phase and scale, (n,)."""
        n_scales = len(self.bag.header.scale_names)
        columns: NDArray[np.int64] = self.bag.phase.astype(np.int64) * n_scales + self.bag.scale
        return columns

    @property
    def places(self) -> NDArray[np.int64]:
        """Column and slice index of each instance, (n, 2)."""
        return np.stack([self.columns, self.bag.slice_index.astype(np.int64)], axis=1)

    @property
    def phase_of_instances(self) -> list[str]:
        """Name of the phase of each instance."""
        names = self.bag.header.phase_names
        return [names[number] for number in self.bag.phase.tolist()]


@dataclass(frozen=True)
class Made:
    """A file that was written.

    Attributes:
        name: without suffix.
        case: the patient as tables of the target name it.
        phase: empty if all phases are together.
        label: class, None without a cohort table.
        n: instances.
    """

    name: str
    case: str
    phase: str
    label: str | None
    n: int


@dataclass(frozen=True)
class Contents:
    """What holds for all files of an export.

    Attributes:
        made: the files, sorted by patient and phase.
        classes: in the order in which they are numbered; empty without a cohort table.
        recipe: how the features came about.
        n_features: columns of the features.
        tile_size_um: side of the square that the encoder sees.
        tile_size_px: the same in pixels.
        items: reads the items once more.
    """

    made: Sequence[Made]
    classes: tuple[str, ...]
    recipe: Recipe
    n_features: int
    tile_size_um: float
    tile_size_px: int
    items: Callable[[], Iterable[Item]]

    @property
    def label_of(self) -> Mapping[str, str]:
        """Patient -> class, of those who have one."""
        return {made.case: made.label for made in self.made if made.label is not None}

    @property
    def smallest(self) -> int:
        """Instances of the smallest file."""
        return min(made.n for made in self.made)


def _nothing(_: Contents) -> Sequence[str]:
    return ()


def _no_problem(_: Item) -> str:
    return ""


@dataclass(frozen=True)
class Target:
    """A program that reads an export.

    Attributes:
        name: as the command says it.
        about: what is written, in one line.
        write: writes one item into the folder.
        finish: writes the tables into the folder.
        lacks: what the format cannot hold, or holds in another way.
        advice: what to know of the program, given what was exported.
        problem: why an item cannot be written; empty if it can.
        by_phase: whether a file is one phase, whatever was asked.
        reads_text: whether the program reads identifiers of tables as text.
        keeps_names: whether patients keep their identifiers in any case, as no table of the program names them.
    """

    name: str
    about: str
    write: Callable[[Item, Path, Contents], None]
    finish: Callable[[Contents, Path], None]
    lacks: tuple[str, ...] = ()
    advice: Callable[[Contents], Sequence[str]] = _nothing
    problem: Callable[[Item], str] = _no_problem
    by_phase: bool = False
    reads_text: bool = True
    keeps_names: bool = False


def file_name(text: str) -> str:
    """Return a text as part of a file name on every system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or "_"

"""What a layout is: a name, its settings, and a function that finds scans in a folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from extract.importers.found import Import
from pipeline.config import Section
from pipeline.spellings import Spellings


class LayoutSettings(Section):
    """Settings of a layout, `key=value` on the command line; paths are relative to the current folder."""


@dataclass(frozen=True)
class ImportRequest:
    """What every layout is given.

    Attributes:
        folder: where the files lie.
        files: all files in it, sorted, but for those that the user leaves out and what an import wrote.
        table: the cohort table that is to be written; what a layout writes itself goes beside it.
        spellings: of phases, classes and patients, with those that the user added.
        covariates: columns that the user named, to be taken from a table of the layout itself.
        tell: prints a line of progress.
    """

    folder: Path
    files: tuple[Path, ...]
    table: Path
    spellings: Spellings
    covariates: tuple[str, ...] = ()
    tell: Callable[[str], None] = field(default=lambda _: None)

    @cached_property
    def files_by_name(self) -> Mapping[str, tuple[Path, ...]]:
        """The files by their names without folders, which need not be unique."""
        found: dict[str, list[Path]] = {}
        for path in self.files:
            found.setdefault(path.name, []).append(path)
        return {name: tuple(paths) for name, paths in found.items()}

    def named(self, path: Path) -> str:
        """Return a file as reports name it: relative to the folder."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name


Settings = TypeVar("Settings", bound=LayoutSettings)


@dataclass(frozen=True)
class Layout:
    """One way in which scans lie in folders.

    Attributes:
        name: as on the command line.
        about: one line that says what the folder holds.
        settings: the class of its settings.
        find: from a request and these settings to what was found. It raises a CohortError, or SeveralMistakesError
            with one question a line, for what it cannot know; each names the setting to give.
    """

    name: str
    about: str
    settings: type[LayoutSettings]
    find: Callable[[ImportRequest, Any], Import]

"""The files of a package, and `package.json`, which lists them with their SHA-256.

A package MUST hold package.json with format = "phasemil-package", version = 1, and `files`: the path of every other file,
relative to the folder and with `/`, -> its SHA-256. A file that is not listed, a link, and a file of a kind that is not in
`KINDS_OF_FILES` MUST be refused. The SHA-256 of package.json stands for the whole package.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pipeline.errors import PackageError
from pipeline.provenance import sha256_of_file

RECORD = "package.json"
FORMAT = "phasemil-package"
VERSION = 1
KINDS_OF_FILES = frozenset({".json", ".safetensors", ".csv", ".toml", ".md", ".py"})
"""Endings of the files of a package: none of them is read as a pickle. `.py` is code that somebody brought, and is not run
unless that is allowed."""
_MOST_TEXT_BYTES = 64 * 2**20
_OF_TREES = "model.json"
"""XGBoost's own file; it alone may be longer than other texts."""
_MOST_FILES = 20_000
_MOST_BYTES = 2**32
"""Of one file; the largest are the weights of a network."""
Part = TypeVar("Part", bound=BaseModel)


class PackageRecord(BaseModel):
    """What package.json says."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    format: Literal["phasemil-package"] = "phasemil-package"
    version: Literal[1] = 1
    experiment: str
    """Name of the run that the model comes from."""
    model: str
    """Name of the model in that run."""
    kind: str
    refit: Literal["folds", "all"]
    """`folds`: the models of the cross-validation, averaged; `all`: one model that was fitted on all patients."""
    models: tuple[str, ...]
    """Folders of the fitted models, whose probabilities are averaged."""
    fits: tuple[str, ...]
    """Keys of the fits in the cache of the run, in the order of `models`."""
    has_code: bool
    """Whether the model is a network of a Python file that somebody brought, and that runs when the model is loaded."""
    is_synthetic: bool
    """Whether the training patients were drawn."""
    confidence: float
    """Level of the intervals of the tables."""
    run_sha256: str
    """SHA-256 of the run.json that the model comes from."""
    software: dict[str, str]
    created_utc: str
    files: dict[str, str]

    @field_validator("files")
    @classmethod
    def _paths_stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
                raise ValueError(f"{name!r} is no path inside the package")
        return files


@dataclass(frozen=True)
class FileFault:
    """What is wrong with one file of a package."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


def read_package_record(folder: Path) -> PackageRecord:
    """Read package.json.

    Raises:
        PackageError: the folder is no package, or one of another version.
    """
    content = read_json(folder, RECORD, what="a folder that `aggregate.py freeze` wrote")
    found = (content.get("format"), content.get("version")) if isinstance(content, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise PackageError(
            f"{folder / RECORD}: expected {FORMAT} version {VERSION}, found {found[0]} version {found[1]}; use the release "
            "that wrote it, or freeze the model again"
        )
    return validated(PackageRecord, folder, RECORD)


def is_package(folder: Path) -> bool:
    """Return whether a folder says that it is a package, of whatever version and in whatever state."""
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def hashes_of_files(folder: Path) -> Mapping[str, str]:
    """Return the SHA-256 of every file of a package but package.json, by its path, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / RECORD)
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in paths}


def file_faults(folder: Path, record: PackageRecord) -> Iterator[FileFault]:
    """Yield every file that is missing, changed, not listed, a link, or of a kind that no package holds."""
    for name, sha256 in record.files.items():
        path = folder / name
        if path.suffix not in KINDS_OF_FILES:
            yield FileFault(
                name,
                f"a file of a kind that packages hold ({', '.join(sorted(KINDS_OF_FILES))})",
                path.suffix or "no ending",
            )
        elif _linked(folder, path):
            yield FileFault(name, "a file of the package", "a link to another place")
        elif not path.is_file():
            yield FileFault(name, f"SHA-256 {sha256}", "no such file")
        elif (n_bytes := path.stat().st_size) > _MOST_BYTES:
            yield FileFault(name, f"at most {_MOST_BYTES} bytes", f"{n_bytes} bytes")
        elif (now := sha256_of_file(path)) != sha256:
            yield FileFault(name, f"SHA-256 {sha256}", f"SHA-256 {now}")
    known = {RECORD, *record.files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in known and (path.is_symlink() or not path.is_dir()):
            yield FileFault(name, f"no file beside those that {RECORD} lists", "one that it does not list")


def check_files(folder: Path, record: PackageRecord) -> None:
    """Refuse a package whose files are not those that package.json lists.

    Raises:
        PackageError: the first such file is named, with what was expected and found.
    """
    if len(record.files) > _MOST_FILES:
        raise PackageError(f"{folder}: expected at most {_MOST_FILES} files, found {len(record.files)}")
    faults = list(file_faults(folder, record))
    if faults:
        more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise PackageError(
            f"{folder}: {faults[0]}{more}; the package was changed after it was written: take it again from where it came "
            "from (`aggregate.py verify` lists everything)"
        )


def read_json(folder: Path, name: str, *, what: str = "a file of the package") -> Any:  # noqa: ANN401 - JSON
    """Read a JSON file of a package.

    Raises:
        PackageError: it is missing, longer than any of ours, or no JSON.
    """
    path = folder / name
    try:
        n_bytes = path.stat().st_size
        if n_bytes > _MOST_TEXT_BYTES and path.name != _OF_TREES:
            raise PackageError(f"{path}: expected at most {_MOST_TEXT_BYTES} bytes, found {n_bytes}")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackageError(f"{path}: no such file; expected {what}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PackageError(f"{path}: expected {what}, found: {error}") from error


def validated(kind: type[Part], folder: Path, name: str) -> Part:
    """Read a JSON file of a package as `kind`.

    Raises:
        PackageError: the file, and the place in it, are named.
    """
    read_json(folder, name)  # refused by its length before it is parsed again
    try:
        return kind.model_validate_json((folder / name).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PackageError(
            f"{folder / name}: {place}: {first['msg']}; found {first['input']!r:.80}"
        ) from error


def write_part(folder: Path, name: str, content: BaseModel) -> None:
    """Write a JSON file of a package."""
    (folder / name).write_text(content.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _linked(folder: Path, path: Path) -> bool:
    """Return whether a path, or a folder on the way to it, is a link."""
    inside = [path, *path.parents]
    return any(one.is_symlink() for one in inside[: inside.index(folder)])

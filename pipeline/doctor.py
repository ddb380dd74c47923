"""Checks of the machine for `doctor` and `run`, one line each; numeric checks that passed are remembered."""

import locale
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile

from rich.console import Console

from pipeline.errors import MachineError, PhasemilError
from pipeline.files import written_whole
from pipeline.processor import has_native_bfloat16, n_cores, processor_name
from pipeline.provenance import sha256_of_json, utc_now

_PYTHON = (3, 11), (3, 13)
"""First supported version, and first unsupported one."""
_TORCHVISION_OF = {"2.11": "0.26", "2.12": "0.27", "2.13": "0.28"}
"""torch -> torchvision of the same release."""
_FREE_BYTES = 2 * 2**30
"""Two gigabytes: bags and results of 120 patients take a tenth of that, a slice store half."""


@dataclass(frozen=True)
class Check:
    """The result of one check of the machine."""

    name: str
    is_ok: bool
    found: str
    advice: str = ""
    """What to do if the check fails."""

    @property
    def line(self) -> str:
        """The check on one line."""
        mend = f"; {self.advice}" if self.advice and not self.is_ok else ""
        return f"{'ok ' if self.is_ok else 'NOT'}  {self.name}: {self.found}{mend}"


def print_checks(checks: Iterable[Check], console: Console) -> bool:
    """Print each check as soon as it is done; return whether all passed."""
    failed = 0
    for check in checks:
        failed += not check.is_ok
        console.print(check.line, markup=False, highlight=False, soft_wrap=True)
    console.print("all ok" if not failed else f"{failed} not ok", markup=False, highlight=False)
    return not failed


def check_surroundings(folder: Path) -> Iterable[Check]:
    """Yield the checks without computation: Python, libraries, processor, disk, locale and terminal."""
    yield _python()
    yield _torch_and_torchvision()
    yield Check(
        "processor",
        is_ok=True,
        found=f"{processor_name()}, {n_cores()} cores, "
        + ("bfloat16 is native" if has_native_bfloat16() else "bfloat16 is emulated: use float32"),
    )
    yield _write_access(folder)
    yield _free_space(folder)
    yield _locale()
    yield _terminal()


def check_gpu(name: str, bytes_of_memory: int) -> Check:
    """Return the line about the GPU; an empty name means no GPU."""
    found = f"{name}, {bytes_of_memory / 2**30:.0f} GiB" if name else "none; every command runs on the CPU"
    return Check("GPU", is_ok=True, found=found)


def tried(
    name: str, measure: Callable[[], float], is_right: Callable[[float], bool], words: str, advice: str
) -> Check:
    """Run one numeric check; an exception counts as a failed check.

    Args:
        name: of the check.
        measure: returns the number.
        is_right: whether the number is acceptable.
        words: text with the meaning and the limit of the number, with braces in the place of the number.
        advice: what to do if the check fails.
    """
    try:
        value = measure()
    except (PhasemilError, RuntimeError, OSError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        return Check(name, is_ok=False, found=f"{type(error).__name__}: {first}", advice=advice)
    return Check(name, is_ok=is_right(value), found=words.format(value), advice=advice)


def kept_checks(stage: str, what: Mapping[str, object], run: Callable[[], Sequence[Check]]) -> None:
    """Run numeric checks unless they passed before on this machine with the same versions.

    Args:
        stage: name of the stage.
        what: everything besides processor and system that can change the result: versions, code.
        run: the checks.

    Raises:
        MachineError: one fails; the message names it.
    """
    path = _kept(stage, what)
    if path.exists():
        return
    failed = [check for check in run() if not check.is_ok]
    if failed:
        raise MachineError(f"this machine computes wrong numbers: {failed[0].line}; see `{stage}.py doctor`")
    try:
        with written_whole(path) as sibling:
            sibling.write_text(f"passed {utc_now()}\n", encoding="utf-8")
    except OSError:
        # Where a user has no folder for caches, the checks are made again by the next run.
        return


def _kept(stage: str, what: Mapping[str, object]) -> Path:
    machine = [
        platform.node(),
        platform.platform(),
        processor_name(),
        os.environ.get("ATEN_CPU_CAPABILITY", ""),
    ]
    key = sha256_of_json([stage, machine, dict(what)])[:32]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "phasemil" / f"doctor-{key}"


def _python() -> Check:
    first, end = _PYTHON
    return Check(
        "Python",
        is_ok=first <= sys.version_info[:2] < end,
        found=platform.python_version(),
        advice="phasemil needs Python 3.11 or 3.12",
    )


def _torch_and_torchvision() -> Check:
    found = {name: _version(name) for name in ("torch", "torchvision")}
    release = ".".join(found["torch"].split(".")[:2])
    wanted = _TORCHVISION_OF.get(release)
    return Check(
        "torch and torchvision",
        is_ok=wanted is not None and found["torchvision"].startswith(f"{wanted}."),
        found=f"torch {found['torch']}, torchvision {found['torchvision']}",
        advice=f"torch {release} goes with torchvision {wanted}"
        if wanted
        else f"phasemil needs torch {', '.join(_TORCHVISION_OF)}",
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _write_access(folder: Path) -> Check:
    there = _nearest_existing(folder)
    try:
        with TemporaryFile(dir=there):
            problem = ""
    except OSError as error:
        problem = f": {error.strerror}"
    return Check(
        "write access",
        is_ok=not problem,
        found=f"{folder} ({'exists' if there == folder else f'would be made in {there}'}){problem}",
        advice="choose a folder that you may write to",
    )


def _free_space(folder: Path) -> Check:
    free = shutil.disk_usage(_nearest_existing(folder)).free
    return Check(
        "free space",
        is_ok=free >= _FREE_BYTES,
        found=f"{free / 2**30:.1f} GiB at {folder}",
        advice=f"free {_FREE_BYTES / 2**30:.0f} GiB, or set `output` to another disk",
    )


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _locale() -> Check:
    encoding = locale.getencoding()
    return Check(
        "locale",
        is_ok=encoding.lower().replace("-", "") == "utf8",
        found=encoding,
        advice="names with accents may be shown wrongly: set LANG=C.UTF-8",
    )


def _terminal() -> Check:
    return Check("terminal", is_ok=True, found="yes" if sys.stderr.isatty() else "no: progress is not drawn")

"""The commands of a page, and how a test runs them: as they stand, on a cohort that is made tiny and split in two."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from aggregate.commands import application as stage_2
from extract.commands import application as stage_1
from phasemil.commands import application as one_patient

ROOT = Path(__file__).resolve().parents[1]
STAGES = {"extract.py": stage_1, "aggregate.py": stage_2}
TINY = ("preset=tiny", "patients={HCC=7,iCCA=7,cHCC-CCA=7}")
"""As many patients as a package tells ranges of."""
FEWER = ("splits.folds=2", "splits.repeats=1", "statistics.draws=100", "jobs=1")
SMALLER = {
    "python extract.py phantom": TINY,
    "python aggregate.py plan": FEWER,
    "python aggregate.py run": FEWER,
    "python aggregate.py study": FEWER,
}
"""What a test adds to commands that begin so; all others are run as they stand."""
_BLOCK = re.compile(r"^(<!-- slow -->\n)?```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    text: str
    is_slow: bool
    """Marked by a comment before it: it takes minutes, or needs a network or a cluster."""


def blocks_of(page: Path, language: str) -> list[Block]:
    """Return the blocks of a page in a language."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(text, bool(slow)) for slow, of, text in found if of == language]


def commands_of(page: Path) -> list[str]:
    """Return the commands of the blocks that are not slow, without their comments."""
    lines = [line for block in blocks_of(page, "sh") if not block.is_slow for line in block.text.splitlines()]
    return [command for line in lines if (command := line.partition(" #")[0].strip())]


def made_smaller(command: str) -> str:
    """Return a command of a page as a test runs it."""
    added = [words for start, words in SMALLER.items() if command.startswith(f"{start} ")]
    return f"{command} {shlex.join(added[0])}" if added else command


def run(command: str) -> None:
    """Run a command of a page in the current folder: those of the two stages and of `phasemil` in this process."""
    program, *words = shlex.split(made_smaller(command))
    if program == "python" and (words[0] in STAGES or words[:2] == ["-m", "phasemil"]):
        called, given = (STAGES[words[0]], words[1:]) if words[0] in STAGES else (one_patient, words[2:])
        ended = CliRunner().invoke(called, given, catch_exceptions=False)
        assert ended.exit_code == 0, f"{command}\n{ended.output}"
    elif program == "make":
        subprocess.run([program, *words, "-n"], cwd=ROOT, check=True, capture_output=True)
    else:
        subprocess.run([program, *words], check=True, capture_output=True)


def write_configurations(page: Path) -> None:
    """Write the configurations of a page whose first line names their file into the current folder."""
    for block in blocks_of(page, "toml"):
        if named := re.match(r"# (\S+\.toml)\n", block.text):
            Path(named[1]).write_text(block.text, encoding="utf-8")

"""Write a reference table that says on which machine, at which commit and by which command it was made."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from pipeline.processor import n_cores, processor_flags, processor_name
from pipeline.tables import TableStyle, write_table

ROOT = Path(__file__).resolve().parents[1]


def write_reference(path, rows, *, style=None):
    """Write rows, each with the columns machine, commit and command at its end."""
    rows = [{**row, **made_here()} for row in rows]
    write_table(path, tuple(rows[0]), rows, style=style or TableStyle())


def made_here():
    """Return the machine, the commit (with a plus where files differ from it) and the command."""
    vector = next((f for f in ("avx512f", "avx2") if f in processor_flags()), "neither avx512 nor avx2")
    path = os.environ.get("ATEN_CPU_CAPABILITY", "own path")
    machine = f"{processor_name()} ({vector}), {n_cores()} cores, ATEN {path}, torch {version('torch')}"
    commit = git("rev-parse", "--short", "HEAD") + (
        "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    )
    words = [str(Path(word).relative_to(ROOT)) if word.startswith(str(ROOT)) else word for word in sys.argv]
    return {"machine": machine, "commit": commit, "command": shlex.join(["python", *words])}


def git(*words):
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("unknown" if words[0] == "rev-parse" else "")

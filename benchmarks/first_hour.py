"""The first hour of a new user: from an empty folder to results of one's own cohort, every command timed.

    python benchmarks/first_hour.py --output results/reference/first_hour.csv

Clones this repository, sets up its environment, runs the demonstration, then takes a cohort that lies as a hospital may have it
(a phantom whose files, phases and classes have other names) through the five commands of the README with a copy of
configs/my_cohort.toml. No step is repeated or left out; the packages come from wherever pip is configured to look.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reference import ROOT, write_reference

PATIENTS = 'phantom.patients={HCC=12,iCCA=12,"cHCC-CCA"=12}'
PHASES = {"NC": "nativ", "AP": "arterial", "PVP": "portal venous", "DP": "delayed"}
"""Phase of the phantom -> how the hospital writes it."""
ALIAS = 'cohort.phase_aliases={nativ="NC"}'
"""The one spelling that phasemil does not know and asks for; the others it translates and tells."""
CLASSES = {"iCCA": "ICC", "cHCC-CCA": "cHCC-CC"}
MAY_LEAVE_SOMEBODY_OUT = (0, 2)


def own_cohort(clone):
    """Draw a cohort and lay it out as a hospital may: folders by patient, other words for phases and classes."""
    python, drawn = clone / ".venv/bin/python", clone / "drawn"
    call([python, "extract.py", "phantom", "configs/demo.toml", f"output={drawn}", f"cohort.table={drawn}/cohort/cohort.csv",
          "phantom.seed=3", PATIENTS], clone)  # fmt: skip
    with (drawn / "cohort" / "cohort.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for column in ("image", "mask", "liver_mask"):
            source = drawn / "cohort" / row[column]
            place = clone / "hospital" / row["patient_id"] / f"{row['phase']}_{column}.nii.gz"
            place.parent.mkdir(parents=True, exist_ok=True)
            source.rename(place)
            row[column] = str(place.relative_to(clone))
        row["phase"], row["label"] = PHASES[row["phase"]], CLASSES.get(row["label"], row["label"])
    with (clone / "my_cohort.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=";")
        table.writeheader()
        table.writerows(rows)


def call(command, folder, *, may_return=(0,)):
    """Run a command and return its seconds.

    Raises:
        SystemExit: it ended with another code than it may.
    """
    print("$", *command, flush=True)
    start = time.perf_counter()
    ended = subprocess.run([str(word) for word in command], cwd=folder, check=False).returncode
    if ended not in may_return:
        raise SystemExit(f"{command}: exit code {ended}")
    return time.perf_counter() - start


def steps(clone):
    """Yield (what, command, codes that it may return) in the order of the README."""
    python = clone / ".venv/bin/python"
    yield "set up", ["make", "install"], (0,)
    yield "demonstration", ["make", "demo"], (0,)
    for stage, word in (
        ("extract", "doctor"),
        ("extract", "check"),
        ("extract", "run"),
        ("aggregate", "plan"),
        ("aggregate", "run"),
    ):
        config = [] if word == "doctor" else ["configs/my_cohort.toml", ALIAS]
        yield "own cohort", [python, f"{stage}.py", word, *config], MAY_LEAVE_SOMEBODY_OUT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "phasemil"
        seconds = call(["git", "clone", "--quiet", ROOT, clone], name)
        rows.append({"what": "set up", "step": "git clone", "seconds": round(seconds, 1)})
        for what, command, codes in steps(clone):
            if what == "own cohort" and not (clone / "my_cohort.csv").exists():
                own_cohort(clone)  # the hospital has it already: not timed
            seconds = call(command, clone, may_return=codes)
            told = " ".join(Path(word).name if "/.venv/" in str(word) else str(word) for word in command)
            rows.append({"what": what, "step": told, "seconds": round(seconds, 1)})
    rows.append({"what": "all", "step": "", "seconds": round(sum(row["seconds"] for row in rows), 1)})
    for row in rows:
        print(f"{row['what']:16}{row['step']:48}{row['seconds']:8.1f} s")
    if arguments.output is not None:
        write_reference(arguments.output, rows)


if __name__ == "__main__":
    sys.exit(main())

"""How long stage 1 takes before it reads the first file, by the number of patients.

    python benchmarks/start_up.py --output results/benchmarks/start_up.csv

Reads a cohort table of N patients with four phases, and looks for doubtful identifiers and file names, as `extract.py run`
does before any scan.
"""

import argparse
import csv
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from extract.checks import doubtful_scans
from pipeline.cohort import read_cohort
from pipeline.config import CohortSection
from pipeline.processor import processor_name
from pipeline.tables import write_table

PATIENTS = (100, 1_000, 10_000, 100_000)
PHASES = ("NC", "AP", "PVP", "DP")
CLASSES = ("HCC", "iCCA", "cHCC-CCA")


def write_cohort(path: Path, n_patients: int) -> None:
    """Write a cohort table; the files it names need not exist."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("patient_id", "phase", "image", "mask", "label"))
        for i in range(n_patients):
            name, label = f"P{i:06d}", CLASSES[i % len(CLASSES)]
            for phase in PHASES:
                rows.writerow((name, phase, f"{name}_{phase}.nii.gz", f"{name}_{phase}_mask.nii.gz", label))


def seconds(n_patients: int, folder: Path) -> tuple[float, float]:
    """Return the seconds to read the table and those to look for doubtful names."""
    table = folder / "cohort.csv"
    write_cohort(table, n_patients)
    begin = time.perf_counter()
    cohort = read_cohort(CohortSection(table=table, phases=PHASES, classes=CLASSES))
    middle = time.perf_counter()
    found = doubtful_scans(cohort)
    end = time.perf_counter()
    assert len(cohort.patients) == n_patients
    assert not found
    return middle - begin, end - middle


def main() -> None:
    """Time each size once and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--patients", type=int, nargs="*", default=PATIENTS)
    arguments = parser.parse_args()
    rows = []
    for n in arguments.patients:
        with TemporaryDirectory() as folder:
            reading, names = seconds(n, Path(folder))
        rows.append({"patients": n, "rows": 4 * n, "table_s": round(reading, 2), "names_s": round(names, 2),
                     "machine": processor_name()})  # fmt: skip
        print(rows[-1])
    write_table(arguments.output, tuple(rows[0]), rows)


if __name__ == "__main__":
    main()

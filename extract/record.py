"""What a run did, and its record beside the bags: one excluded.csv and findings.csv for all variants of a configuration."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from extract.findings import (
    TABLE,
    Finding,
    FindingLog,
    Key,
    found_by_reading,
    read_findings,
    write_findings_of_variants,
)
from pipeline.cohort import Exclusion
from pipeline.exclusions import read_exclusions, write_exclusions, write_exclusions_of_variants


@dataclass(eq=False)
class RunResult:
    """What a run did.

    Attributes:
        written: patients whose bag was written.
        skipped: patients whose bag was there with the same content key.
        n_slices: instances embedded.
        exclusions: everybody left out, in order, as written to excluded.csv; the keys of a mapping, to be found at once.
        n_faults: exclusions that the configuration did not ask for.
        excluded_keys: (patient_id, phase) of the exclusions.
    """

    written: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    n_slices: int = 0
    exclusions: dict[Exclusion, None] = field(default_factory=dict)
    n_faults: int = 0
    excluded_keys: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of_table(cls, exclusions: Iterable[Exclusion]) -> Self:
        """Begin with what the cohort table excludes."""
        result = cls()
        for exclusion in exclusions:
            result.n_faults += result.exclude(exclusion)
        return result

    def exclude(self, exclusion: Exclusion) -> bool:
        """Leave out a scan or a patient; return whether that was not known, since one that is planned again repeats its faults."""
        is_new = exclusion not in self.exclusions
        self.exclusions[exclusion] = None
        self.excluded_keys.add((exclusion.patient_id, exclusion.phase))
        return is_new

    def forget(self, patient_ids: Container[str]) -> None:
        """Count patients as not done, because they are planned again."""
        self.written = [p for p in self.written if p not in patient_ids]
        self.skipped = [p for p in self.skipped if p not in patient_ids]


class RunRecord:
    """What was left out and found in each variant.

    What earlier runs wrote of a variant stays until a run of that variant replaces it, so that the tables also
    hold for variants that are not made this time.

    Args:
        folder: of the bags, above those of the variants.
        variants: names of all variants of the configuration; empty where it has none.
    """

    def __init__(self, folder: Path, variants: Sequence[str]) -> None:
        self.folder = folder
        self.variants = tuple(variants)
        self._findings: dict[str, tuple[tuple[Key, Finding], ...]] = {
            name: read_findings(folder / TABLE, name) for name in self.variants or ("",)
        }
        self._exclusions: dict[str, Sequence[Exclusion]] = {
            name: read_exclusions(folder / name) for name in self.variants
        }

    def earlier(self, variant: str) -> Mapping[str, Sequence[tuple[Key, Finding]]]:
        """Return what was found before by reading the scans of each patient."""
        return found_by_reading(self._findings[variant])

    def write(self, variant: str, exclusions: Iterable[Exclusion], log: FindingLog) -> None:
        """Write both tables with what a run of a variant left out and found."""
        if not self.variants:
            write_exclusions(self.folder, exclusions)
            log.write(self.folder / TABLE)
            return
        self._exclusions[variant] = tuple(exclusions)
        self._findings[variant] = tuple(log)
        write_exclusions_of_variants(self.folder, self._exclusions, self.variants)
        write_findings_of_variants(self.folder / TABLE, self._findings, self.variants)

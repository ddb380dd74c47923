"""Processes that compute radiomics: MIRP is Python throughout, keeps its matrices for the whole process, and warns process-wide."""

import logging
import signal
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from importlib import import_module
from threading import Lock
from time import monotonic
from typing import cast

from joblib.externals.loky import ProcessPoolExecutor

from extract.radiomics_boxes import Radiomics, ScanBox
from extract.radiomics_settings import RadiomicsSection, described_radiomics
from pipeline.errors import ConfigError, MachineError
from pipeline.run_log import detail

_IDLE_S = 60
"""A process without work for so long ends, also where the one that started it was killed; the next box starts another."""
_BY_MIRP = "extract.radiomics"
"""Imported in the processes alone: MIRP need not be installed for a run without radiomics."""


@dataclass(eq=False)
class RadiomicsWorkers:
    """Processes that compute the features of boxes, for several threads at once.

    Attributes:
        settings: of the features.
        n_processes: that are started when the first box comes.
        n_measured: boxes so far.
        seconds: that they took, all together.
    """

    settings: RadiomicsSection
    n_processes: int
    n_measured: int = 0
    seconds: float = 0.0
    _lock: Lock = field(default_factory=Lock)
    _executor: ProcessPoolExecutor | None = None
    _is_closed: bool = False

    def __post_init__(self) -> None:
        described_radiomics(self.settings)  # refuses at once where MIRP is not installed

    def measure(self, box: ScanBox | None) -> Radiomics:
        """Compute the features of a box; of None, which is a scan that has none, the names alone.

        Raises:
            ConfigError: MIRP is installed, but cannot be imported.
            MachineError: the process was ended, most likely for want of memory.
        """
        try:
            found, seconds = self._pool().submit(_measured, box, self.settings).result()
        except BrokenExecutor as error:
            raise MachineError(
                "a process that computes radiomics was ended, most likely for want of memory; set fewer [extract] workers, or "
                f"a larger [extract.radiomics] spacing_mm ({' '.join(str(error).split())[:200]})"
            ) from error
        except ImportError as error:
            raise ConfigError(
                f"[extract.radiomics]: MIRP cannot be imported: {error}; install the extra anew: pip install 'phasemil[radiomics]'"
            ) from error
        with self._lock:
            self.n_measured += 1
            self.seconds += seconds
        return cast("Radiomics", found)

    def close(self) -> None:
        """End the processes, whatever they are at."""
        with self._lock:
            executor, self._executor, self._is_closed = self._executor, None, True
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=True)
        if self.n_measured:
            each = self.seconds / self.n_measured
            detail(f"radiomics of {self.n_measured} scans: {each:.2f} s each in {self.n_processes} processes")

    def _pool(self) -> ProcessPoolExecutor:
        with self._lock:
            if (
                self._is_closed
            ):  # a thread that begins while the run ends starts no process that nobody would end
                raise MachineError("the run has ended before this scan")
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    self.n_processes, timeout=_IDLE_S, initializer=_made_quiet
                )
            return self._executor


def missing_radiomics(names: Sequence[str], reason: str) -> Radiomics:
    """Return features that cannot be had, for one reason."""
    return Radiomics(dict.fromkeys(names, float("nan")), (reason,))


def _made_quiet() -> None:
    """Leave Ctrl-C to the process that waits, and keep MIRP, which sets logging up where nobody has, from printing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger().addHandler(logging.NullHandler())


def _measured(box: ScanBox | None, settings: RadiomicsSection) -> tuple[Radiomics, float]:
    mirp = import_module(_BY_MIRP)
    begun = monotonic()
    if box is None:
        return missing_radiomics(
            mirp.feature_names(settings), "no radiomics: the slices around the lesions cannot be read"
        ), 0.0
    return mirp.measure_box(box, settings), monotonic() - begun

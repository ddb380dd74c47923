"""Every error a user can cause; the commands print it as one line and leave with exit code 2."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class PhasemilError(Exception):
    """Base of all errors of this project; the message says what was expected and found, where, and what to do."""


class ConfigError(PhasemilError, ValueError):
    """A configuration file has an unknown key or a value that is not allowed."""


class SeveralMistakesError(ConfigError):
    """Several mistakes, one per line of the message.

    Attributes:
        problems: one message for each mistake.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join([f"{len(problems)} mistakes:", *(f"  {text}" for text in problems)]))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way back from a worker process."""
        return type(self), (self.problems,)


class CohortError(PhasemilError, ValueError):
    """The cohort table as a whole cannot be used."""


class ScanError(PhasemilError, ValueError):
    """One scan of one patient cannot be used; the rest of the cohort can."""

    def __init__(self, message: str, *, patient_id: str, phase: str) -> None:
        super().__init__(f"patient {patient_id}, phase {phase}: {message}")
        self.patient_id = patient_id
        self.phase = phase
        self.reason = message

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way back from a worker process."""
        return _rebuild_scan_error, (type(self), self.reason, self.patient_id, self.phase)


def _rebuild_scan_error(kind: type[ScanError], reason: str, patient_id: str, phase: str) -> ScanError:
    return kind(reason, patient_id=patient_id, phase=phase)


class UnreachableError(PhasemilError, OSError):
    """Files that were there in an earlier run are not: the drive or the table is to be looked at first."""


class ImageError(ScanError):
    """An image is missing, truncated, or not a CT volume in Hounsfield units."""


class SharedPixelsError(ImageError):
    """The same pixels occur under another patient or phase."""


class MaskError(ScanError):
    """A mask is missing, empty, or lies outside its image."""


class WeightsError(PhasemilError, ValueError):
    """A weight file does not fit the encoder."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """Weights are not on disk and cannot be downloaded."""


class BagError(PhasemilError, ValueError):
    """A file is not a bag of a known version, or bags of different recipes were mixed."""


class StoreError(PhasemilError, ValueError):
    """A slice store is not of a known version or lacks the requested slices."""


class FoldError(PhasemilError, ValueError):
    """The patients cannot be split as asked."""


class LeakError(FoldError):
    """Information about test patients would leak into training."""


class SampleError(PhasemilError, ValueError):
    """Bags or labels that a model was given cannot be used, or do not fit each other."""


class TrainingError(PhasemilError, ArithmeticError):
    """Training of a model produced NaN or infinite values."""


class MachineError(PhasemilError, RuntimeError):
    """This machine computes wrong numbers, or lacks something that a command needs."""


class ResultsError(PhasemilError, ValueError):
    """A results folder lacks a table or holds one that does not fit."""


class PackageError(PhasemilError, ValueError):
    """A package of a model is damaged, was changed, or does not fit what it is asked."""


class Mistakes:
    """A collection of mistakes of independent parts, so that all are reported at once, each one once."""

    def __init__(self) -> None:
        self._found: list[PhasemilError] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, mistake: PhasemilError) -> None:
        """Add one mistake."""
        self._found.append(mistake)

    @contextmanager
    def gathered(self, where: str = "") -> Iterator[None]:
        """Catch an error raised in the block, add it, and continue after the block.

        Args:
            where: prefix of the message of a configuration error.
        """
        try:
            yield
        except SeveralMistakesError as error:
            self._found += [ConfigError(f"{where}{text}") for text in error.problems]
        except ConfigError as error:
            self.add(ConfigError(f"{where}{error}") if where else error)
        except PhasemilError as error:
            self.add(error)

    def raise_all(self) -> None:
        """Raise the collected mistakes: a single one as it is, several as one error.

        Raises:
            SeveralMistakesError: there are several.
        """
        told = {str(mistake): mistake for mistake in self._found}
        if len(told) == 1:
            raise next(iter(told.values()))
        if told:
            raise SeveralMistakesError(list(told))

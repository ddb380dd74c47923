"""Cross-validation splits: repeated stratified folds over patients, leave-one-centre-out, or the user's own file."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.folds import ROLES, Fold
from aggregate.cohort.patients import Patients
from pipeline.bags import how_alike
from pipeline.errors import FoldError, LeakError
from pipeline.tables import Line, read_lines, whole_number_in

COLUMNS = ("patient_id", "repeat", "fold", "role")
_LEAST_IN_TRAINING = 2
"""A class needs one patient to train on and one to tune on."""


def repeated_folds(
    patients: Patients, *, folds: int, repeats: int, tune_share: float, seed: int
) -> list[Fold]:
    """Split the patients into folds, stratified by label and balanced by centre, several times over.

    Within each class the patients are ordered by centre, shuffled within it, and dealt to the folds in turn, so
    the folds differ by at most one patient of a class, and by at most one of a class and centre. The tuning set
    is dealt in the same way from the training patients.

    Raises:
        FoldError: a class has too few patients; the message says which number of folds works.
    """
    _check_counts(patients, folds)
    rng = np.random.default_rng([seed, 0x5917])
    result: list[Fold] = []
    for repeat in range(repeats):
        dealt = _deal(patients, np.arange(len(patients.codes)), folds, rng)
        result += [_with_tuning(patients, (repeat, k), dealt == k, tune_share, rng) for k in range(folds)]
    return result


def leave_one_centre_out(patients: Patients, *, tune_share: float, seed: int) -> list[Fold]:
    """Test each centre once on models trained on the other centres only.

    Raises:
        FoldError: there is one centre, or a class is found in too few patients outside a centre.
    """
    if len(patients.centre_names) < 2:
        raise FoldError("leave-one-centre-out needs at least 2 centres; the column centre names one")
    rng = np.random.default_rng([seed, 0x10C0])
    folds = []
    for centre, name in enumerate(patients.centre_names):
        outside = np.bincount(
            patients.codes[patients.centre_codes != centre], minlength=len(patients.classes)
        )
        if outside.min() < _LEAST_IN_TRAINING:
            rare = patients.classes[int(outside.argmin())]
            raise FoldError(
                f"without centre {name} the class {rare} has {outside.min()} patients; expected at least "
                f"{_LEAST_IN_TRAINING}: leave this centre or class out of the cohort, or use stratified folds"
            )
        folds.append(_with_tuning(patients, (0, centre), patients.centre_codes == centre, tune_share, rng))
    return folds


def fold_of_everybody(patients: Patients, *, tune_share: float, seed: int) -> Fold:
    """Return a fold that trains and tunes on all patients and tests nobody; the tuning set is dealt as in every fold."""
    nobody = np.zeros(len(patients), dtype=np.bool_)
    return _with_tuning(patients, (0, 0), nobody, tune_share, np.random.default_rng([seed, 0xA11]))


def read_splits(path: Path, patients: Patients, *, kept_aside: Collection[str] = ()) -> list[Fold]:
    """Read folds from a file with the columns patient_id, repeat, fold, role (train, tune or test).

    The file may have been saved by a spreadsheet: see `pipeline.tables.read_lines`.

    Args:
        path: the file.
        patients: those to split.
        kept_aside: identifiers whose lines are passed over, so that one file serves studies with and without them.

    Raises:
        FoldError: a column, number, role or patient is unknown, a fold tests nobody or has no training patient of a
            class, or the tested patients differ between repeats.
        LeakError: a patient has two roles in one fold.
        ResultsError: the file is missing or no table.
    """
    index = {patient_id: i for i, patient_id in enumerate(patients.patient_ids)}
    members: dict[tuple[int, int], dict[str, list[int]]] = {}
    for line in read_lines(path):
        if line.cells.get("patient_id", "").strip() in kept_aside:
            continue
        patient, key, role = _place(path, line, index)
        members.setdefault(key, {name: [] for name in ROLES})[role].append(patient)
    for key, roles in members.items():
        _check_roles(path, key, roles, patients)
    # Repeats count from 0 in every table, whatever the file counts from.
    repeats = sorted({repeat for repeat, _ in members})
    folds = [
        Fold(repeats.index(repeat), fold, *(_sorted(roles[role]) for role in ROLES))
        for (repeat, fold), roles in sorted(members.items())
    ]
    _check_tested(path, folds)
    for fold in folds:
        _check_trained(path, fold, patients)
    return folds


def _place(path: Path, line: Line, index: Mapping[str, int]) -> tuple[int, tuple[int, int], str]:
    """Return the patient, the repeat and fold, and the role of one line."""
    cells = line.cells
    if set(COLUMNS) - set(cells):
        raise FoldError(f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(cells)}")
    patient_id, role = cells["patient_id"].strip(), cells["role"].strip().lower()
    place = f"{path}, line {line.number}, patient {patient_id!r}"
    if patient_id not in index:
        raise FoldError(
            f"{place}: no patient with a bag and a label in this cohort{_near(patient_id, index)}"
        )
    if role not in ROLES:
        raise FoldError(f"{place}: unknown role {cells['role']!r}; expected one of {', '.join(ROLES)}")
    numbers = [whole_number_in(cells[name].strip()) for name in ("repeat", "fold")]
    for name, number in zip(("repeat", "fold"), numbers, strict=True):
        if number is None or number < 0:
            raise FoldError(f"{place}: expected {name} as a whole number from 0, found {cells[name]!r}")
    repeat, fold = (number or 0 for number in numbers)
    return index[patient_id], (repeat, fold), role


def _near(patient_id: str, known: Iterable[str]) -> str:
    """Name the patient that is meant, where a spreadsheet took the zeros off or the spelling alone differs."""
    for name in known:
        if patient_id and (name.lstrip("0") == patient_id.lstrip("0") or how_alike(name, patient_id)):
            return f"; it has {name!r}{how_alike(name, patient_id)}"
    return ""


def _check_roles(
    path: Path, key: tuple[int, int], roles: Mapping[str, Sequence[int]], patients: Patients
) -> None:
    counts = Counter(patient for members in roles.values() for patient in members)
    twice = [patients.patient_ids[patient] for patient, count in sorted(counts.items()) if count > 1]
    if twice:
        raise LeakError(
            f"{path}: repeat {key[0]}, fold {key[1]}: {', '.join(twice)} stand there more than once; expected one role "
            "for each patient of a fold"
        )


def _check_trained(path: Path, fold: Fold, patients: Patients) -> None:
    """Refuse a fold without test patients, or without training patients of a class."""
    place = f"{path}: repeat {fold.repeat}, fold {fold.fold}"
    if not len(fold.test):
        raise FoldError(f"{place} tests nobody; expected at least one patient of the role test")
    counts = np.bincount(patients.codes[fold.train], minlength=len(patients.classes))
    if counts.min() == 0:
        raise FoldError(
            f"{place} has no training patient of class {patients.classes[int(counts.argmin())]}"
            f"{'' if counts.any() else ' or of any other'}; expected at least one of every class"
        )


def never_tested(folds: Sequence[Fold], patient_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (patient, reason) for patients left out of all results because some repeat does not test them."""
    tested = (fold_of_test(folds, len(patient_ids)) >= 0).all(axis=0)
    placed = {int(i) for fold in folds for i in (*fold.train, *fold.tune)}
    for i in np.flatnonzero(~tested).tolist():
        if i in placed:
            yield patient_ids[i], "no fold of the splits tests this patient, who trains or tunes only"
        else:
            yield patient_ids[i], "in no fold of the splits"


def fold_of_test(folds: Sequence[Fold], n_patients: int) -> NDArray[np.intp]:
    """Return the fold in which each patient is tested, intp (repeats, n); -1 where it never is."""
    repeats = sorted({fold.repeat for fold in folds})
    table = np.full((len(repeats), n_patients), -1, dtype=np.intp)
    for fold in folds:
        table[repeats.index(fold.repeat), fold.test] = fold.fold
    return table


def _check_counts(patients: Patients, folds: int) -> None:
    counts = dict(
        zip(patients.classes, np.bincount(patients.codes, minlength=len(patients.classes)), strict=True)
    )
    rare = min(counts, key=lambda name: int(counts[name]))
    if _works(int(counts[rare]), folds):
        return
    possible = [k for k in range(2, folds) if _works(int(counts[rare]), k)]
    advice = (
        f"folds = {possible[-1]} works"
        if possible
        else "no number of folds works: add patients or merge classes"
    )
    raise FoldError(f"class {rare} has {counts[rare]} patients, too few for {folds} folds; {advice}")


def _works(count: int, folds: int) -> bool:
    return count >= folds and count - -(-count // folds) >= _LEAST_IN_TRAINING


def _deal(
    patients: Patients, chosen: NDArray[np.intp], n_hands: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Deal chosen patients to hands in turn, class by class and centre by centre; return the hand of each."""
    order = rng.permutation(len(chosen))
    centre_order = rng.permutation(len(patients.centre_names))
    shuffled = chosen[order]
    order = order[np.lexsort((centre_order[patients.centre_codes[shuffled]], patients.codes[shuffled]))]
    hands = np.empty(len(chosen), dtype=np.intp)
    hands[order] = (np.arange(len(chosen)) + rng.integers(n_hands)) % n_hands
    return hands


def _with_tuning(
    patients: Patients,
    place: tuple[int, int],
    is_test: NDArray[np.bool_],
    tune_share: float,
    rng: np.random.Generator,
) -> Fold:
    rest = np.flatnonzero(~is_test)
    hands = _deal(patients, rest, max(2, round(1 / tune_share)), rng)
    is_tune = hands == 0
    # A rare class may have no patient in hand 0; it then gives the first of its others, so that tuning sees it.
    for label in range(len(patients.classes)):
        of_class = np.flatnonzero(patients.codes[rest] == label)
        if len(of_class) and not is_tune[of_class].any():
            is_tune[of_class[0]] = True
    return Fold(*place, train=rest[~is_tune], tune=rest[is_tune], test=np.flatnonzero(is_test))


def _sorted(indices: Sequence[int]) -> NDArray[np.intp]:
    return np.array(sorted(indices), dtype=np.intp)


def _check_tested(path: Path, folds: Sequence[Fold]) -> None:
    if not folds:
        raise FoldError(f"{path}: expected at least one fold, found no row")
    tested: Mapping[int, list[int]] = {fold.repeat: [] for fold in folds}
    for fold in folds:
        tested[fold.repeat].extend(fold.test.tolist())
    first = sorted(tested[folds[0].repeat])
    for repeat, patients in tested.items():
        if len(set(patients)) < len(patients):
            raise FoldError(f"{path}: repeat {repeat} tests a patient in two folds")
        if sorted(patients) != first:
            raise FoldError(f"{path}: repeat {repeat} tests other patients than the first repeat")

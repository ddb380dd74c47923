"""The laws of splitting patients."""

import numpy as np
import pytest

from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.planning.splits import (
    fold_of_test,
    leave_one_centre_out,
    never_tested,
    read_splits,
    repeated_folds,
)
from aggregate.tables.results import ResultTables
from aggregate.tables.splits import SPLITS, split_rows
from pipeline.errors import FoldError, LeakError


def write(folds, patient_ids, tables: ResultTables) -> None:
    tables.write(SPLITS, split_rows(folds, patient_ids))


def roster(counts: tuple[int, ...] = (20, 15, 10), n_centres: int = 1) -> Patients:
    labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(3)
    rng.shuffle(labels)
    centres = rng.integers(n_centres, size=len(labels))
    patients = tuple(f"p{i:03}" for i in range(len(labels)))
    return Patients(patients, labels, ("A", "B", "C")[: len(counts)], tuple(f"c{i}" for i in centres))


@pytest.fixture(scope="module")
def folds() -> list[Fold]:
    return repeated_folds(roster(), folds=5, repeats=3, tune_share=0.2, seed=1)


def test_no_patient_is_in_two_roles_of_a_fold(folds):
    for fold in folds:
        everyone = np.concatenate([fold.train, fold.tune, fold.test])
        assert sorted(everyone) == list(range(45))


def test_every_patient_is_tested_once_per_repeat(folds):
    assert (fold_of_test(folds, 45) >= 0).all()
    for repeat in range(3):
        tested = np.concatenate([f.test for f in folds if f.repeat == repeat])
        assert sorted(tested) == list(range(45))


def test_folds_differ_by_at_most_one_patient_of_each_class(folds):
    labels = roster().codes
    counts = np.array([np.bincount(labels[fold.test], minlength=3) for fold in folds])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_folds_differ_by_at_most_one_patient_of_each_centre_within_a_class():
    people = roster((30, 30, 30), n_centres=3)
    for fold in repeated_folds(people, folds=5, repeats=2, tune_share=0.2, seed=1):
        for label in range(3):
            for centre in range(3):
                here = (people.codes == label) & (people.centre_codes == centre)
                assert abs(here[fold.test].sum() - here.sum() / 5) < 1


def test_tuning_sees_every_class(folds):
    labels = roster().codes
    assert all(len(np.unique(labels[fold.tune])) == 3 for fold in folds)


def test_repeats_draw_different_folds(folds):
    assert not np.array_equal(folds[0].test, folds[5].test)


def test_the_seed_decides_the_folds():
    again = [repeated_folds(roster(), folds=3, repeats=1, tune_share=0.2, seed=s)[0].test for s in (7, 7, 8)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


@pytest.mark.parametrize(("rare", "advice"), [(4, "folds = 4 works"), (1, "no number of folds works")])
def test_a_class_too_rare_names_the_number_of_folds_that_works(rare, advice):
    with pytest.raises(FoldError, match=f"class B has {rare} patients, too few for 5 folds; {advice}"):
        repeated_folds(roster((20, rare)), folds=5, repeats=1, tune_share=0.2, seed=0)


def test_leave_one_centre_out_tests_each_centre_on_the_others():
    people = roster((30, 30, 30), n_centres=3)
    for centre, fold in enumerate(leave_one_centre_out(people, tune_share=0.2, seed=0)):
        assert set(people.centre_codes[fold.test]) == {centre}
        assert centre not in people.centre_codes[np.concatenate([fold.train, fold.tune])]


def test_leave_one_centre_out_needs_two_centres():
    with pytest.raises(FoldError, match="at least 2 centres"):
        leave_one_centre_out(roster(), tune_share=0.2, seed=0)


def test_splits_read_back_are_the_splits_written(tmp_path, folds):
    people = roster()
    write(folds, people.patient_ids, ResultTables(tmp_path, weights="w"))
    for written, read in zip(folds, read_splits(tmp_path / "tables" / "splits.csv", people), strict=True):
        assert (written.repeat, written.fold) == (read.repeat, read.fold)
        assert all(
            np.array_equal(getattr(written, role), getattr(read, role)) for role in ("train", "tune", "test")
        )


def user_file(tmp_path, *rows: str):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["patient_id,repeat,fold,role", *rows]) + "\n")
    return path


def test_a_patient_in_two_roles_of_a_users_file_is_a_leak(tmp_path):
    path = user_file(tmp_path, "p000,0,0,train", "p001,0,0,train", "p000,0,0,test")
    with pytest.raises(LeakError, match=r"mine\.csv: repeat 0, fold 0: p000 stand there more than once"):
        read_splits(path, roster())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["p000,0,0,trian"],
            r"line 2, patient 'p000': unknown role 'trian'; expected one of train, tune, test",
        ),
        (["nobody,0,0,test"], r"line 2, patient 'nobody': no patient with a bag and a label in this cohort$"),
        (["P000,0,0,test"], "it has 'p000', which differ in upper and lower case only"),
        (["p000,0,0,test", "p001,0,,train"], r"line 3, patient 'p001': expected fold as a whole .* found ''"),
        (["p000,0,1.5,test"], "expected fold as a whole number from 0, found '1.5'"),
        (["p000,-1,0,test"], "expected repeat as a whole number from 0, found '-1'"),
        (["p000,0,0,test"], "repeat 0, fold 0 has no training patient of class A or of any other"),
        (["p000,0,0,train", "p001,0,0,tune"], "repeat 0, fold 0 tests nobody"),
        (["p000,0,0,test", "p001,1,0,test"], "repeat 1 tests other patients"),
        (["p000,0,0,test", "p000,0,1,test"], "tests a patient in two folds"),
        ([], "found no row"),
    ],
)
def test_a_faulty_users_file_is_refused_by_name(tmp_path, rows, message):
    with pytest.raises(FoldError, match=message):
        read_splits(user_file(tmp_path, *rows), roster())


def as_saved_by(path, change) -> list[Fold]:
    path.write_bytes(change(path.read_bytes()))
    return read_splits(path, roster())


SAVED_AGAIN = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "another line end": lambda text: text.replace(b"\n", b"\r\n"),
    "semicolons": lambda text: text.replace(b",", b";"),
    "numbers with a decimal point": lambda text: text.replace(b",0,", b",0.0,").replace(b",1,", b",1.0,"),
    "a note column": lambda text: text.replace(b"\n", b",x\n").replace(b"weights,x", b"weights,note"),
    "rows without text": lambda text: text + b",,,,\n,,,,\n",
    "roles in capitals": lambda text: text.replace(b"train", b"Train"),
}


@pytest.mark.parametrize("change", SAVED_AGAIN.values(), ids=SAVED_AGAIN)
def test_splits_saved_again_by_a_spreadsheet_are_the_same(tmp_path, folds, change):
    path = tmp_path / "tables" / "splits.csv"
    write(folds, roster().patient_ids, ResultTables(tmp_path, weights="w"))
    for written, read in zip(folds, as_saved_by(path, change), strict=True):
        for role in ("train", "tune", "test"):
            assert np.array_equal(getattr(written, role), getattr(read, role))


def test_splits_written_for_a_spreadsheet_are_read_back(tmp_path, folds):
    write(folds, roster().patient_ids, ResultTables(tmp_path, ";", ","))
    assert len(read_splits(tmp_path / "tables" / "splits.csv", roster())) == len(folds)


def test_an_identifier_without_its_zeros_is_recognised(tmp_path):
    people = Patients(("007", "008"), np.array([0, 1]), ("A", "B"))
    with pytest.raises(FoldError, match=r"patient '7': no patient .* in this cohort; it has '007'"):
        read_splits(user_file(tmp_path, "7,0,0,test"), people)


def test_a_class_that_nobody_trains_on_is_refused(tmp_path):
    people = roster()
    of_class = [np.flatnonzero(people.codes == k) for k in range(3)]
    rows = [f"p{of_class[0][0]:03},0,0,test"]
    rows += [f"p{of_class[k][i]:03},0,0,train" for k in (0, 2) for i in (1, 2)]
    with pytest.raises(
        FoldError, match=r"mine\.csv: repeat 0, fold 0 has no training patient of class B; exp"
    ):
        read_splits(user_file(tmp_path, *rows), people)


def test_whoever_is_never_tested_is_named_with_the_reason():
    one = Fold(0, 0, np.array([1, 2]), np.array([], dtype=np.intp), np.array([0]))
    assert list(never_tested([one], ("a", "b", "c", "d"))) == [
        ("b", "no fold of the splits tests this patient, who trains or tunes only"),
        ("c", "no fold of the splits tests this patient, who trains or tunes only"),
        ("d", "in no fold of the splits"),
    ]

"""Measured patients, kept by content: a second run measures nothing, and nothing but the same content is used."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from aggregate.explain.measures_cache import MeasuredPatients
from aggregate.explain.patient_measures import measured
from aggregate.explain.writing import measure_patients
from pipeline.phase_roles import PhaseRoles
from pipeline.store import SliceStore, StoredPatient
from tests.aggregate.explain.conftest import ROLES

PATIENTS = ("P1", "P2")


class Reader:
    """A slice store that counts who is read."""

    def __init__(self, store: SliceStore) -> None:
        self.store = store
        self.asked: list[str] = []

    def __call__(self, patient_id):
        self.asked.append(patient_id)
        return self.store.read(patient_id)


@pytest.fixture
def store(tmp_path, ball):
    store = SliceStore(tmp_path / "slices.zarr")
    for contrast, patient_id in enumerate(PATIENTS, start=20):
        phases = ball("AP", contrast, contrast, radius=9), ball("DP", -contrast, -contrast, radius=9)
        store.write(patient_id, StoredPatient("one key for all", phases))
    return store


@pytest.fixture
def run(tmp_path, store):
    """Measure both patients as a run does, and say who was read and what was found."""

    def once(roles=ROLES):
        reader = Reader(store)
        kept = MeasuredPatients(tmp_path / "cache", store.content_of)
        return list(measure_patients(PATIENTS, reader, roles=roles, kept=kept)), reader.asked

    return once


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_equal(asdict(a), asdict(b))


def test_the_second_run_finds_the_same_to_the_last_digit_and_reads_no_slice(run):
    (first, asked), (second, asked_again) = run(), run()
    assert (asked, asked_again) == (list(PATIENTS), [])
    assert np.isnan(first[0].signs.rim_portal_hu)  # there is no portal venous phase
    assert first[0].signs.washout_hu == 20
    assert_equal(first, second)


def test_without_a_folder_every_run_measures(store):
    reader = Reader(store)
    for _ in range(2):
        list(measure_patients(PATIENTS, reader, roles=ROLES))
    assert reader.asked == [*PATIENTS, *PATIENTS]


def test_processes_side_by_side_keep_the_order_and_measure_what_is_lacking(tmp_path, store):
    kept = MeasuredPatients(tmp_path / "cache", store.content_of)
    first = list(measure_patients(PATIENTS, store.read, roles=ROLES, kept=kept))
    shutil.rmtree(tmp_path / "cache" / kept.key_of("P1", ROLES))
    assert_equal(first, measure_patients(PATIENTS, store.read, roles=ROLES, jobs=2, kept=kept))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_changed_slices_are_measured_again_whatever_key_they_are_stored_under(run, store, ball):
    run()
    stored = store.read("P2")
    store.write("P2", replace(stored, phases=(ball("AP", 50, 50, radius=9), stored.phases[1])))
    patients, asked = run()
    assert asked == ["P2"]
    assert patients[1].signs.arterial_hyperenhancement_hu == 50


def test_other_roles_of_the_phases_are_other_signs(run):
    run()
    patients, asked = run(PhaseRoles(arterial="DP", delayed="AP"))
    assert asked == list(PATIENTS)
    assert patients[0].signs.arterial_hyperenhancement_hu == -20


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("20.0", "21.0"),
        lambda text: "[1, 2]",
    ],
    ids=["emptied", "cut", "a number changed", "another list"],
)
def test_a_damaged_file_is_measured_again_and_mended(run, tmp_path, spoil):
    first, _ = run()
    for path in (tmp_path / "cache").glob("*/measures.json"):
        path.write_text(spoil(path.read_text(encoding="utf-8")), encoding="utf-8")
    second, asked = run()
    assert set(asked) >= {"P1"}
    assert_equal(first, second)
    assert run()[1] == []


def test_the_entry_of_another_patient_is_not_taken(run, tmp_path):
    first, _ = run()
    one, other = sorted((tmp_path / "cache").iterdir())
    shutil.rmtree(one)
    shutil.copytree(other, one)
    second, asked = run()
    assert len(asked) == 1
    assert_equal(first, second)


def test_what_is_kept_is_what_is_measured(run, store):
    run()
    patients, _ = run()
    assert_equal(patients, [measured(store.read_phases(name), ROLES) for name in PATIENTS])

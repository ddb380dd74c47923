"""Models of scans and biopsies: a missing modality has no part, and each kind says what it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aggregate.cohort.bag_sets import BagList
from aggregate.cohort.memory_bags import bags_of_arrays
from aggregate.cohort.patient import Patient
from aggregate.cohort.patients import Patients
from aggregate.models.instances import pack
from aggregate.models.joint_views import JointView
from aggregate.models.registry import build_model, load_model
from aggregate.models.training import forward
from aggregate.models.views import View
from pipeline.errors import ConfigError, FoldError
from tests.conftest import CLASSES

BOTH = {"ct": {"bags": "ct", "phases": ["AP", "DP"]}, "histology": {"bags": "biopsy"}}
QUICK = {"epochs": 4, "hidden": 8, "gate": 4}


@pytest.fixture(scope="module")
def patients(bags_and_labels) -> Patients:
    """Sixty patients; every seventh has no biopsy, and the last three have no scans."""
    bags, labels = bags_and_labels
    rng = np.random.default_rng(3)
    ids = [bag.patient_id for bag in bags]
    owner = np.repeat([i for i in range(60) if i % 7], 9)
    tiles = rng.normal(size=(len(owner), 5)).astype(np.float32)
    tiles[np.arange(len(owner)), labels[owner]] += 2
    biopsies = bags_of_arrays(tiles, owner, ids, None)
    scans = [None if i >= 57 else bag for i, bag in enumerate(bags)]
    return Patients(tuple(ids), labels, CLASSES, bag_sets={"ct": BagList(scans), "biopsy": BagList(biopsies)})


@pytest.fixture(scope="module")
def fitted(patients):
    model = build_model("modality_attention", {"modalities": BOTH, **QUICK}, random_state=1)
    return model.fit(patients[:40], patients.codes[:40], tune=(patients[40:50], patients.codes[40:50]))


def test_who_has_either_is_seen(fitted, patients):
    assert fitted.sees(patients).all()


def test_the_weights_of_the_modalities_sum_to_one_and_a_missing_one_has_none(fitted, patients):
    weights = fitted.modality_attention(patients)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert (weights[::7, 1] == 0).all()
    assert (weights[57:, 0] == 0).all()
    assert (weights[1:7] > 0).all()


def test_a_missing_modality_takes_no_part_whatever_its_parameters_are(fitted, patients):
    before = fitted.predict_proba(patients)
    kept = {name: value.clone() for name, value in fitted.network_.state_dict().items()}
    with torch.no_grad():
        for name, value in fitted.network_.named_parameters():
            if name.startswith(("embed.1.", "instance_score.1.")):
                value.add_(7)
    after = fitted.predict_proba(patients)
    fitted.network_.load_state_dict(kept)
    assert np.array_equal(after[::7], before[::7])
    assert not np.allclose(after[1:7], before[1:7])


def test_patients_without_a_modality_leave_its_parameters_without_a_gradient(fitted, patients):
    bags = fitted.seen_bags([patients[i] for i in (0, 7, 14)])
    packed = pack(fitted.prepared(bags))
    fitted.scaling_.apply_(packed.features)
    network = fitted.network_
    network.zero_grad()
    forward(network, packed.take(np.arange(3)), torch.float32).logits.sum().backward()
    touched = {name for name, value in network.named_parameters() if value.grad is not None}
    assert not {name for name in touched if name.startswith(("embed.1.", "instance_score.1."))}
    assert "embed.0.0.weight" in touched
    network.zero_grad()


def test_other_patients_in_the_batch_change_nothing(fitted, patients):
    alone = np.concatenate([fitted.predict_proba([patients[i]]) for i in range(10)])
    np.testing.assert_allclose(alone, fitted.predict_proba(patients[:10]), atol=1e-6)


def test_it_is_loaded_as_it_was_saved(fitted, patients, tmp_path):
    fitted.save(tmp_path)
    assert np.array_equal(load_model(tmp_path).predict_proba(patients), fitted.predict_proba(patients))


def test_each_modality_is_scaled_by_its_own_rows(fitted, patients):
    tiles = np.concatenate(
        [bag.features for i in range(40) if (bag := patients[i].bags["biopsy"]) is not None]
    )
    np.testing.assert_allclose(fitted.scaling_.mean[16:].numpy(), tiles.mean(axis=0), atol=1e-5)


MISTAKES = {
    "unknown set": ({"modalities": {"a": {"bags": "mri"}}}, "no bag set 'mri'"),
    "unknown key": (
        {"modalities": {"a": {"bag": "ct"}}},
        "modalities.a: unknown key 'bag'; nearest valid name: 'bags'",
    ),
    "a word for a list": (
        {"modalities": {"a": {"bags": "ct", "phases": "AP"}}},
        "modalities.a.phases: expected",
    ),
    "said twice": ({"modalities": BOTH, "bags": "ct"}, "bags: belongs to one of `modalities`"),
    "no set named": ({}, "several bag sets and none is named"),
}


@pytest.mark.parametrize(("parameters", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_before_training(patients, parameters, message):
    with pytest.raises(ConfigError, match=message):
        build_model("modality_attention", parameters, random_state=0).try_building(patients, 3)


def test_a_fold_without_a_modality_is_refused(patients):
    model = build_model("modality_attention", {"modalities": BOTH, **QUICK}, random_state=0)
    alone = replace(patients[:6], bag_sets={**patients[:6].bag_sets, "biopsy": BagList([None] * 6)})
    with pytest.raises(
        FoldError, match="none of the 6 training patients has a bag of the modality 'histology'"
    ):
        model.fit(alone, alone.codes)


@pytest.mark.parametrize("block", ["measures", "radiomics"])
def test_a_value_that_is_unknown_of_a_modality_is_refused_by_patient(patients, block):
    """Unknown columns stand for other modalities there, and nothing is imputed."""
    bag = patients[1].bags["ct"]
    gaps = {
        "measure_names": ("area",), "measure_units": ("mm2",), "radiomics_names": ("lesion.stat_mean",),
        "radiomics_settings": {"software": "mirp"},
    }  # fmt: skip
    bag = replace(
        bag,
        header=replace(bag.header, **gaps),
        measures=np.full((len(bag), 1), np.nan, dtype=np.float32),
        radiomics=np.empty((0, 1), dtype=np.float32),
    )
    view = JointView(parts={"ct": View(features=(block,))}, widths={"ct": 1})
    with pytest.raises(ConfigError, match=f"patient {bag.patient_id}: .* take the measures or radiomics out"):
        view.of(Patient(bag.patient_id, {"": bag}))


ALONE = {
    "imaging": {"kind": "mean_pooling", "bags": "ct"},
    "biopsy": {"kind": "mean_pooling", "bags": "biopsy"},
}


def test_a_model_has_no_vote_in_an_average_on_a_patient_it_does_not_see(patients):
    model = build_model("average", {"models": ALONE}, random_state=0).fit(patients[:50], patients.codes[:50])
    imaging, biopsy = (inside.predict_proba(patients) for inside in model.inside_)
    expected = (imaging + biopsy) / 2
    expected[::7], expected[57:] = imaging[::7], biopsy[57:]
    np.testing.assert_allclose(model.predict_proba(patients), expected)


def test_either_calls_whom_a_model_that_sees_him_calls(patients):
    parameters = {"models": ALONE, "positive": 2}
    model = build_model("either", parameters, random_state=0).fit(patients[:50], patients.codes[:50])
    votes = [
        (inside.predict_proba(patients).argmax(axis=1) == 2) & inside.sees(patients)
        for inside in model.inside_
    ]
    assert np.array_equal(model.predict(patients) == 2, votes[0] | votes[1])


def test_an_unknown_class_of_either_is_named(patients):
    model = build_model("either", {"models": ALONE, "positive": "cHCC-CC"}, random_state=0)
    with pytest.raises(
        ConfigError, match="expected a class, found 'cHCC-CC'; nearest valid name: 'cHCC-CCA'"
    ):
        model.try_building(patients, 3)

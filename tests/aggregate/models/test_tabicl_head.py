"""TabICL as a head: the package's own classifier on the columns of the training patients, from a local file only."""

import os
import pickle
import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from aggregate.cohort.patient import ONLY_SET, Patient
from aggregate.models.pooling import pool_phases_and_differences
from aggregate.models.registry import MODELS, build_model, load_model
from aggregate.store.fit_cache import code_of_model
from pipeline.errors import ConfigError, ResultsError
from tests.aggregate.models.tabicl_weights import SETTINGS, tabicl_parameters, write_checkpoint

tabicl = pytest.importorskip("tabicl", reason="the extra `tabicl` is not installed")


def new(**parameters):
    return build_model("tabicl", tabicl_parameters() | parameters, random_state=0)


@pytest.fixture(scope="module")
def whole(bags_and_labels):
    """Bags with a slice in every phase, and their labels."""
    pairs = [pair for pair in zip(*bags_and_labels, strict=True) if len(set(pair[0].phase.tolist())) == 4]
    return [bag for bag, _ in pairs], np.array([label for _, label in pairs])


def test_it_is_the_classifier_of_the_package_on_the_components_of_the_training_patients(whole):
    bags, labels = whole
    mine = new(class_weight="none").fit(bags[:24], labels[:24]).predict_proba(bags[24:])
    scaler = StandardScaler().fit(pool_phases_and_differences(bags[:24], ["mean"]))
    train, test = (
        scaler.transform(pool_phases_and_differences(part, ["mean"])) for part in (bags[:24], bags[24:])
    )
    pca = PCA(6, svd_solver="full").fit(train)
    head = tabicl.TabICLClassifier(
        n_estimators=2, model_path=tabicl_parameters()["weights"], device="cpu", random_state=0
    )
    theirs = head.fit(pca.transform(train), labels[:24]).predict_proba(pca.transform(test))
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_balanced_divides_by_the_class_shares(cohort):
    bags, labels = cohort
    few = np.r_[np.flatnonzero(labels == 0)[:15], np.flatnonzero(labels == 1)[:5]]
    shown = [bags[i] for i in few], labels[few]
    plain = new(class_weight="none").fit(*shown).predict_proba(bags)
    weighed = plain / [15, 5]
    balanced = new().fit(*shown).predict_proba(bags)
    np.testing.assert_allclose(balanced, weighed / weighed.sum(axis=1, keepdims=True), atol=1e-12)


def test_covariates_are_columns_beside_the_components(cohort):
    bags, labels = cohort
    ages = [float(age) for age in np.random.default_rng(0).normal(60, 9, len(bags))]
    patients = [
        Patient(bag.patient_id, {ONLY_SET: bag}, {"age": age}) for bag, age in zip(bags, ages, strict=True)
    ]
    model = new(covariates=("age",)).fit(patients, labels)
    assert model.context_.shape == (60, 7)
    np.testing.assert_array_equal(model.context_[:, 6], ages)
    without_age = Patient(bags[0].patient_id, {ONLY_SET: bags[0]}, {"age": None})
    mean_age = Patient(bags[0].patient_id, {ONLY_SET: bags[0]}, {"age": float(np.mean(ages))})
    alone, at_mean = (model.predict_proba([one]) for one in (without_age, mean_age))
    np.testing.assert_allclose(alone, at_mean, atol=1e-6)


def test_with_few_patients_there_are_as_many_components_as_patients(cohort):
    assert new(components=32).fit(cohort[0][:9], cohort[1][:9]).context_.shape == (9, 9)


def test_nothing_is_fetched(cohort, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    new().fit(*cohort).predict_proba(cohort[0])
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(
        ConfigError, match=r"expected `weights` to name a file \*\.ckpt, .*nothing is fetched"
    ):
        new(weights=str(tmp_path / "none.ckpt")).fit(*cohort)
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_the_weights_is_tried_before_any_training(cohort, tmp_path):
    new().try_building(cohort[0], 3)
    with pytest.raises(
        ConfigError,
        match=r"obtain tabicl-classifier-v2-20260212\.ckpt from the hub repository jingang/TabICL",
    ):
        new(weights="").try_building(cohort[0], 3)
    (tmp_path / "damaged.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match=r"damaged\.ckpt: TabICL cannot use this checkpoint"):
        new(weights=str(tmp_path / "damaged.ckpt")).try_building(cohort[0], 3)
    with pytest.raises(ConfigError, match=r"number of classes \(5\) exceeds the max number of classes \(4\)"):
        new().try_building(cohort[0], 5)


class Evil:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_checkpoint_runs_no_code(cohort, tmp_path, is_zip):
    content = {"config": SETTINGS, "state_dict": Evil(tmp_path / "made")}
    torch.save(content, tmp_path / "evil.ckpt", pickle_module=pickle, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ConfigError, match="cannot use this checkpoint"):
        new(weights=str(tmp_path / "evil.ckpt")).try_building(cohort[0], 3)
    assert not (tmp_path / "made").exists()


def test_other_weights_make_another_fit_and_are_refused_by_a_saved_model(cohort, tmp_path):
    path = write_checkpoint(tmp_path / "w.ckpt")
    parameters = {"weights": str(path)}
    before = code_of_model("tabicl", parameters)
    inside = MODELS["ensemble"].code_sha256({"model": "tabicl", "parameters": parameters})
    new(**parameters).fit(*cohort).save(tmp_path / "model")
    write_checkpoint(path, seed=1)
    assert code_of_model("tabicl", parameters) != before
    assert MODELS["ensemble"].code_sha256({"model": "tabicl", "parameters": parameters}) != inside
    with pytest.raises(
        ResultsError, match=re.escape(f"weights of {path} are not those this model was trained")
    ):
        load_model(tmp_path / "model")


def test_without_the_package_the_extra_is_named(cohort, monkeypatch):
    monkeypatch.setitem(sys.modules, "tabicl", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'phasemil[tabicl]'")):
        new().try_building(cohort[0], 3)

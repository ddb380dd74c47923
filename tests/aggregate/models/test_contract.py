"""Laws that every model keeps."""

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from aggregate.models.base import VERSION, Attends, GivesEvidence, PatientEstimator
from aggregate.models.registry import MODELS, build_model, load_model
from pipeline.errors import FoldError, ResultsError
from tests.aggregate.models.tabicl_weights import IS_INSTALLED, tabicl_parameters

QUICK = {"epochs": 4, "rounds": 5, "trees": 20}


INSIDE = {
    "single_phase": {"phase": "AP"},
    "tabicl": tabicl_parameters(),
    "grid": {"model": "mean_pooling", "grid": {"strengths": [[0.01], [1.0]]}},
    "calibrated": {"model": "attention_mil", "parameters": {"epochs": 4}},
    "ensemble": {"model": "phase_concat", "parameters": {"epochs": 2}, "members": 3},
    "halving": {"models": {"a": {"kind": "mean_pooling"}, "b": {"kind": "majority"}}, "inner_folds": 2},
    "average": {"models": {"a": {"kind": "mean_pooling"}, "b": {"kind": "majority"}}},
    "either": {"models": {"a": {"kind": "mean_pooling"}, "b": {"kind": "majority"}}, "positive": 1},
    "stack": {
        "models": {"network": {"kind": "phase_concat", "epochs": 2}, "pooled": {"kind": "phase_pooling"}},
        "inner_folds": 2,
    },
}


def quick(kind, **parameters):
    valid = MODELS[kind]().get_params()
    parameters = INSIDE.get(kind, {}) | parameters
    return build_model(kind, {k: v for k, v in QUICK.items() if k in valid} | parameters, random_state=1)


KINDS = sorted(set(MODELS) - {"module", "covariates"} - (set() if IS_INSTALLED else {"tabicl"}))
"""All but the user's own networks, which test_user_network.py tries, and what reads no bag (test_covariates.py)."""


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def fits():
    """The fits of this file so far, by kind."""
    return {}


@pytest.fixture
def fitted(kind, fits, cohort):
    bags, labels = cohort
    if kind not in fits:
        fits[kind] = quick(kind).fit(bags[:24], labels[:24], tune=(bags[24:30], labels[24:30]))
    return fits[kind]


def test_a_model_is_a_classifier_of_patients(fitted):
    assert isinstance(fitted, PatientEstimator)


def test_probabilities_are_float64_and_sum_to_one(fitted, cohort):
    probabilities = fitted.predict_proba(cohort[0])
    assert probabilities.dtype == np.float64
    assert probabilities.shape == (60, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_permuting_slices_changes_nothing(fitted, cohort):
    rng = np.random.default_rng(0)
    shuffled = [bag.take(rng.permutation(len(bag))) for bag in cohort[0]]
    np.testing.assert_allclose(fitted.predict_proba(shuffled), fitted.predict_proba(cohort[0]), atol=1e-5)


def test_the_company_of_other_bags_changes_nothing(fitted, cohort):
    together = fitted.predict_proba(cohort[0])
    alone = np.concatenate([fitted.predict_proba([bag]) for bag in cohort[0]])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_a_one_slice_bag_works(fitted, cohort):
    probabilities = fitted.predict_proba([bag.take(np.array([0])) for bag in cohort[0]])
    assert np.isfinite(probabilities).all()


def test_each_phase_may_be_missing(fitted, cohort):
    for phase in range(4):
        bags = [bag.take(bag.phase != phase) for bag in cohort[0]]
        assert np.isfinite(fitted.predict_proba([bag for bag in bags if len(bag)])).all()


def test_equal_seeds_give_equal_models(fitted, cohort):
    bags, labels = cohort
    again = clone(fitted).fit(bags[:24], labels[:24], tune=(bags[24:30], labels[24:30]))
    np.testing.assert_array_equal(again.predict_proba(bags), fitted.predict_proba(bags))


def test_labels_may_be_words(kind, cohort):
    bags, labels = cohort
    words = np.array(["HCC", "iCCA", "cHCC-CCA"])[labels]
    model = quick(kind).fit(bags, words)
    assert model.classes_.tolist() == ["HCC", "cHCC-CCA", "iCCA"]
    assert set(model.predict(bags)) <= set(words)


def test_two_classes_work(kind, cohort):
    bags, labels = cohort
    two = [(bag, label) for bag, label in zip(bags, labels, strict=True) if label != 1]
    model = quick(kind).fit([bag for bag, _ in two], np.array([label for _, label in two]))
    assert model.classes_.tolist() == [0, 2]
    assert model.predict_proba(bags).shape == (60, 2)


def test_the_constructor_only_stores(kind):
    model = MODELS[kind](random_state=3)
    assert clone(model).get_params() == model.get_params()
    assert set(vars(model)) == set(model.get_params())


def test_an_unfitted_model_says_so(kind, cohort):
    with pytest.raises(NotFittedError):
        MODELS[kind]().predict_proba(cohort[0])


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "random_forest"])
def test_a_saved_model_predicts_the_same_and_holds_no_pickle(fitted, cohort, tmp_path):
    fitted.save(tmp_path)
    loaded = load_model(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(cohort[0]), fitted.predict_proba(cohort[0]))
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".json", ".safetensors"}


def test_a_forest_is_not_saved(cohort, tmp_path):
    with pytest.raises(ResultsError, match="a model of kind 'random_forest' cannot be saved; for trees"):
        quick("random_forest").fit(*cohort).save(tmp_path)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "random_forest"])
def test_a_model_of_a_later_version_is_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"version": VERSION + 1}))
    with pytest.raises(
        ResultsError,
        match=f"expected phasemil-model version {VERSION}, found phasemil-model version {VERSION + 1}",
    ):
        load_model(tmp_path)


def of_kinds(protocol):
    """Run a test for the kinds that keep a protocol, one fit each."""
    return pytest.mark.parametrize(
        "kind", [k for k in KINDS if isinstance(MODELS[k](), protocol)], scope="module"
    )


@of_kinds(Attends)
def test_attention_sums_to_one_in_every_bag(fitted, cohort):
    for bag, weights in zip(cohort[0], fitted.attention(cohort[0]), strict=True):
        assert weights.shape == (len(bag),)
        assert (weights >= 0).all()
        assert weights.sum() == pytest.approx(1, abs=1e-5)


@of_kinds(GivesEvidence)
def test_instance_evidence_has_a_row_per_slice(fitted, cohort):
    for bag, evidence in zip(cohort[0], fitted.instance_evidence(cohort[0]), strict=True):
        assert evidence.shape == (len(bag), 3)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "majority"])
def test_one_class_is_an_error(kind, cohort):
    """Only for the majority one class is enough to count."""
    with pytest.raises(FoldError, match="expected at least two classes among the training patients, found"):
        quick(kind).fit(cohort[0][:5], np.zeros(5, dtype=int))

"""Every kind of every outcome: what it says, that it is saved and loaded whole, and what it is not told."""

from dataclasses import fields

import numpy as np
import pytest

from aggregate.cohort.bag_sets import BagList
from aggregate.cohort.patients import Patients
from aggregate.models.registry import build_model, load_model
from aggregate.outcomes.models.kinds import OUTCOME_MODELS
from aggregate.outcomes.outcome import survival_values
from pipeline.errors import ConfigError, FoldError, SampleError, TrainingError
from tests.conftest import draw_bag

pytest.importorskip("sksurv")
N, TIMES = 36, (6.0, 12.0, 24.0)
FAST = {"epochs": 30, "hidden": 8, "gate": 4, "rank": 2, "rounds": 10, "features_per_tree": 1.0}
OF_TASK = {"survival": {"times": TIMES}, "ordinal": {"grades": 3}, "regression": {}}


@pytest.fixture(scope="module")
def patients() -> Patients:
    """Patients whose arterial signal goes with a latent number; one has no bag."""
    rng = np.random.default_rng(11)
    labels = np.tile(np.arange(3), N // 3)
    bags = [draw_bag(f"p{i:02}", int(label), rng, signal=3.0) for i, label in enumerate(labels)]
    return Patients(
        tuple(b.patient_id for b in bags),
        labels.astype(np.intp),
        ("a", "b", "c"),
        bag_sets={"bags": BagList(bags)},
    )


@pytest.fixture(scope="module")
def outcomes(patients):
    rng = np.random.default_rng(12)
    latent = patients.codes + 0.3 * rng.normal(size=N)
    time = np.ceil(rng.exponential(30 * np.exp(-latent)) * 10) / 10 + 0.1
    return {
        "survival": survival_values(rng.random(N) < 0.8, time),
        "regression": 100 + 10 * latent,
        "ordinal": patients.codes.copy(),
    }


def built(kind: str, **given):
    model = OUTCOME_MODELS[kind]
    names = {f.name for f in fields(model)}
    parameters = {name: value for name, value in FAST.items() if name in names} | OF_TASK[model.task]
    return build_model(kind, {**parameters, **given}, random_state=3)


KINDS = [kind for kind in OUTCOME_MODELS if not kind.startswith("covariates")]


def fitted(kind, patients, outcomes, numbers=slice(0, 28)):
    values = outcomes[OUTCOME_MODELS[kind].task]
    tune = (patients[28:], values[28:])
    return built(kind).fit(patients[numbers], values[numbers], tune=tune)


@pytest.mark.parametrize("kind", KINDS)
def test_the_columns_are_what_they_are_named(kind, patients, outcomes):
    model = fitted(kind, patients, outcomes)
    said = model.predict_proba(patients)
    assert np.isfinite(said).all()
    if model.task == "survival":
        assert said.shape == (N, 1 + len(TIMES))
        assert (np.diff(said[:, 1:], axis=1) <= 1e-12).all()  # survival falls
        assert ((said[:, 1:] >= 0) & (said[:, 1:] <= 1)).all()
        at_risk_least, at_risk_most = said[:, 0].argmin(), said[:, 0].argmax()
        assert (said[at_risk_least, 1:] >= said[at_risk_most, 1:]).all()
    elif model.task == "ordinal":
        np.testing.assert_allclose(said.sum(axis=1), 1)
        assert said.min() >= 0
    else:
        assert said.shape == (N, 1)
        assert 80 < said.mean() < 150  # in the unit of the outcome


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_says_the_same(kind, patients, outcomes, tmp_path):
    model = fitted(kind, patients, outcomes)
    model.save(tmp_path)
    np.testing.assert_allclose(
        load_model(tmp_path).predict_proba(patients), model.predict_proba(patients), rtol=1e-6
    )


@pytest.mark.parametrize(
    "kind",
    [
        k
        for k in KINDS
        if "tumour" not in k and OUTCOME_MODELS[k].__module__.endswith(("linear", "networks", "boosted"))
    ],
)
def test_it_learns_what_the_bags_tell(kind, patients, outcomes):
    model = built(
        kind, **({"epochs": 200} if "epochs" in {f.name for f in fields(OUTCOME_MODELS[kind])} else {})
    )
    values = outcomes[model.task]
    model.fit(patients[:28], values[:28], tune=(patients[28:], values[28:]))
    said = model.predict(patients)
    assert np.corrcoef(said, patients.codes)[0, 1] > 0.5


@pytest.mark.parametrize("kind", ["cox", "attention_cox", "attention_ordinal", "boosted_regression"])
def test_of_a_patient_of_whom_nothing_is_seen_it_says_what_it_says_of_all(kind, patients, outcomes):
    model = built(kind, phases=("AP",))
    values = outcomes[model.task]
    model.fit(patients, values)
    without = draw_bag("x", 0, np.random.default_rng(1))
    unseen = without.take(np.flatnonzero(without.phase != 1))
    np.testing.assert_array_equal(model.predict_proba([unseen])[0], model.class_shares_)


def test_covariates_alone_tell_nothing_of_a_patient_without_any(patients, outcomes):
    model = built("covariates_cox", covariates=("age",))
    people = [
        p.__class__(p.patient_id, p.bags, {"age": float(code)})
        for p, code in zip(patients, patients.codes, strict=True)
    ]
    model.fit(people, outcomes["survival"])
    assert np.corrcoef(model.predict(people), patients.codes)[0, 1] > 0.9
    nobody = people[0].__class__("x", people[0].bags, {"age": None})
    np.testing.assert_array_equal(model.predict_proba([nobody])[0], model.class_shares_)


def test_kaplan_meier_is_the_product_by_hand(patients):
    """Events at 1 and 3, censored at 2 and 30: S(6) = 3/4 x 1/2."""
    model = built("kaplan_meier").fit(
        patients[:4], survival_values([True, False, True, False], [1, 2, 3, 30])
    )
    assert model.predict_proba(patients[:1])[0].tolist() == [0.0, 0.375, 0.375, 0.375]


def test_the_hazard_is_breslows_by_hand():
    """Scores 0, 0, log 2: H(1) = 1/4, H(2) = 1/4 + 1/3, with the scores about their mean."""
    model = built("cox")
    scores = np.array([0.0, 0.0, np.log(2)])
    model.learn_output(scores, survival_values([True, True, False], [1, 2, 9]))
    centre = np.log(2) / 3
    assert model.hazard_ == pytest.approx(np.full(3, (1 / 4 + 1 / 3) * np.exp(centre)))
    assert model.columns_of(scores)[0, 1] == pytest.approx(np.exp(-(1 / 4 + 1 / 3)))


def test_a_strength_at_which_cox_does_not_converge_is_passed_over(rng):
    """Time falls with the number, so that without a penalty the weight has no end."""
    x, values = np.arange(12.0)[:, None] / 4, survival_values(np.ones(12, bool), 12.0 - np.arange(12))
    weak = built("tumour_size_cox", strengths=(1e12,))
    with pytest.raises(TrainingError, match="converges at none"):
        weak.fit_weights(x, values)
    both = built("tumour_size_cox", strengths=(1e-1, 1e12))
    assert np.isfinite(both.fit_weights(x, values)).all()
    assert both.strength_ == 1e-1


def test_what_is_no_outcome_is_refused(patients, outcomes):
    with pytest.raises(SampleError, match="above 0"):
        built("cox").fit(patients[:3], survival_values([True, True, False], [1, -2, 9]))
    with pytest.raises(SampleError, match="above 0"):
        built("cox").fit(patients[:3], survival_values([True, True, False], [1, np.nan, 9]))
    with pytest.raises(SampleError, match="expected outcomes of the type"):
        built("cox").fit(patients, outcomes["regression"])
    with pytest.raises(SampleError, match="codes of 3 grades"):
        built("proportional_odds").fit(patients, outcomes["ordinal"] + 1)
    with pytest.raises(FoldError, match="grade number 3"):
        built("attention_ordinal").fit(patients[:6], np.array([0, 1, 0, 1, 0, 1]))


def test_a_parameter_that_a_kind_does_not_read_cannot_be_set():
    with pytest.raises(ConfigError, match="unknown parameter 'class_weight'"):
        build_model("attention_cox", {"class_weight": "none"}, random_state=0)


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if k not in ("kaplan_meier", "mean_number", "grade_shares")]
)
def test_neither_the_order_of_slices_nor_the_other_patients_change_what_is_said(kind, patients, outcomes):
    model = fitted(kind, patients, outcomes)
    bag = patients.first_bag(3)
    turned = bag.take(np.arange(len(bag))[::-1])
    np.testing.assert_allclose(
        model.predict_proba([turned]), model.predict_proba(patients)[[3]], rtol=1e-4, atol=1e-6
    )

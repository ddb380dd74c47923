"""What a model sees of a patient: its bag set, blocks, measures, phases and covariates, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.cohort.patient import Patient
from aggregate.models.mean_pooling import MeanPooling
from aggregate.models.registry import build_model
from aggregate.models.views import CovariateColumns, View
from pipeline.bags import FeatureBlock
from pipeline.errors import ConfigError, SampleError
from tests.conftest import draw_bag

BLOCKS = (FeatureBlock("whole", 0, 6), FeatureBlock("lesion", 6, 10), FeatureBlock("rim", 10, 16))


@pytest.fixture(scope="module")
def bags():
    """Bags of three blocks with two measures, the second of which is missing on every third instance."""
    rng = np.random.default_rng(3)
    drawn = [draw_bag(f"p{i:02}", i % 3, rng) for i in range(30)]
    made = []
    for bag in drawn:
        measures = rng.normal(size=(len(bag), 2)).astype(np.float32)
        measures[::3, 1] = np.nan
        names = {"measure_names": ("lesion_hu", "diameter_mm"), "measure_units": ("HU", "mm")}
        header = replace(bag.header, feature_blocks=BLOCKS, **names)
        made.append(replace(bag, header=header, measures=measures))
    return made


LABELS = np.arange(30) % 3


@pytest.fixture(scope="module")
def patients(bags):
    """Everybody has a bag in the set `a`; every fifth has none in `b`."""
    return [
        Patient(bag.patient_id, {"a": bag, "b": None if i % 5 == 0 else bag}, {"age": 50.0 + i % 3})
        for i, bag in enumerate(bags)
    ]


def test_blocks_stand_side_by_side_in_the_order_that_is_asked(bags):
    seen = View(features=("rim", "whole")).of(Patient("p", {"a": bags[0]}))
    np.testing.assert_array_equal(seen.features, bags[0].features[:, [*range(10, 16), *range(6)]])
    assert seen.header.feature_blocks == (FeatureBlock("rim", 0, 6), FeatureBlock("whole", 6, 12))


def test_measures_follow_the_blocks(bags):
    seen = View(features=("lesion",), measures=True).of(Patient("p", {"a": bags[0]}))
    np.testing.assert_array_equal(seen.features, np.hstack([bags[0].features[:, 6:10], bags[0].measures]))


def test_measures_can_be_all_that_is_seen(bags):
    seen = View(features=("measures",)).of(Patient("p", {"a": bags[0]}))
    np.testing.assert_array_equal(seen.features, bags[0].measures)


@pytest.fixture
def with_radiomics(bags):
    """A bag with radiomics of two features, 10, 11 of NC, 20, 21 of AP and so on; of DP the second is missing."""
    bag = next(bag for bag in bags if {0, 1, 3} <= set(bag.phase.tolist()))
    phases = np.unique(bag.phase)
    rows = (10.0 * (phases[:, None] + 1) + np.arange(2)).astype(np.float32)
    rows[phases == 3, 1] = np.nan
    header = replace(
        bag.header, radiomics_names=("lesion.a", "rim.b"), radiomics_settings={"software": "mirp"}
    )
    return replace(bag, header=header, radiomics=rows, radiomics_phase=phases.astype(np.int8))


def test_radiomics_stand_on_every_instance_of_their_phase(with_radiomics):
    bag = with_radiomics
    seen = View(features=("radiomics",)).of(Patient("p", {"a": bag}))
    assert set(seen.features[bag.phase == 1].ravel().tolist()) == {20.0, 21.0}
    assert seen.features[bag.phase == 0, 1].tolist() == [11.0] * int(np.sum(bag.phase == 0))
    assert np.isnan(seen.features[bag.phase == 3, 1]).all()
    beside = View(features=("rim", "radiomics"), measures=True).of(Patient("p", {"a": bag}))
    np.testing.assert_array_equal(
        beside.features, np.hstack([bag.features[:, 10:], seen.features, bag.measures])
    )
    assert [block.name for block in beside.header.feature_blocks] == ["rim", "radiomics", "measures"]


def test_radiomics_are_no_part_of_all_blocks(with_radiomics):
    seen = View(measures=True).of(Patient("p", {"a": with_radiomics}))
    assert seen.features.shape[1] == 16 + 2


def test_radiomics_follow_their_phase_to_its_new_number(with_radiomics):
    """In the order DP, AP the phases get other numbers, and those that are not seen have no row left."""
    seen = View(features=("radiomics",), phases=("DP", "AP")).of(Patient("p", {"a": with_radiomics}))
    assert (seen.features[seen.phase == 0, 0] == 40).all()
    assert (seen.features[seen.phase == 1] == [20, 21]).all()
    assert seen.radiomics_phase.tolist() == [0, 1]
    np.testing.assert_array_equal(seen.radiomics, np.array([[40, np.nan], [20, 21]], dtype=np.float32))


def test_a_phase_without_a_row_of_radiomics_is_missing(with_radiomics):
    bag = with_radiomics
    less = replace(bag, radiomics=bag.radiomics[1:], radiomics_phase=bag.radiomics_phase[1:])
    seen = View(features=("radiomics",)).of(Patient("p", {"a": less}))
    assert np.isnan(seen.features[bag.phase == 0]).all()
    assert np.isfinite(seen.features[bag.phase == 1]).all()


def test_radiomics_of_a_bag_without_them_are_told_how_to_get(bags):
    with pytest.raises(
        ConfigError, match=r"holds none; add the table \[extract.radiomics\] to the configuration and extract"
    ):
        View(features=("radiomics",)).of(Patient("p", {"a": bags[0]}))
    with pytest.raises(
        ConfigError, match="no feature block 'radiomic' in the bag; nearest valid name: 'radiomics'"
    ):
        View(features=("radiomic",)).of(Patient("p", {"a": bags[0]}))


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("phase_pooling", {}),
        ("xgboost", {"statistics": ["mean"]}),
        ("attention_mil", {"epochs": 3}),
        (
            "stack",
            {"models": {"linear": {"kind": "phase_pooling", "features": ["radiomics"]}}, "inner_folds": 2},
        ),
    ],
)
def test_models_read_radiomics_with_constant_and_missing_columns(kind, parameters):
    """Column 0 of the arterial phase tells the class, 1 is constant, 2 is missing now and then, 3 has no value at all."""
    rng = np.random.default_rng(8)
    patients = []
    for i, label in enumerate(LABELS):
        bag = draw_bag(f"r{i:02}", int(label), rng, signal=0.0)
        phases = np.unique(bag.phase)
        rows = np.tile([0.0, 7.0, 1.0, np.nan], (len(phases), 1)).astype(np.float32)
        rows[:, 0] = rng.normal(0, 0.3, len(phases)) + 3.0 * (phases == 1) * label
        rows[:, 2] = np.where(rng.random(len(phases)) < 0.3, np.nan, rng.normal(size=len(phases)))
        names = tuple(f"lesion.f{j}" for j in range(4))
        header = replace(bag.header, radiomics_names=names, radiomics_settings={"software": "mirp"})
        bag = replace(bag, header=header, radiomics=rows, radiomics_phase=phases.astype(np.int8))
        patients.append(Patient(bag.patient_id, {"a": bag}))
    own = parameters if kind == "stack" else {**parameters, "features": ["radiomics"]}
    model = build_model(kind, own, random_state=0).fit(patients, LABELS)
    probabilities = model.predict_proba(patients)
    assert np.isfinite(probabilities).all()
    if kind != "attention_mil":  # three epochs show that it runs, not that it learns
        assert (probabilities.argmax(axis=1) == LABELS).mean() > 0.9


def test_phases_are_seen_in_the_order_that_is_asked(bags):
    seen = View(phases=("DP", "AP")).of(Patient("p", {"a": bags[1]}))
    assert seen.header.phase_names == ("DP", "AP")
    np.testing.assert_array_equal(seen.features[seen.phase == 1], bags[1].features[bags[1].phase == 1])


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View(features=("lesions",)), "no feature block 'lesions' in the bag; nearest valid name: 'lesion'"),
        (View(phases=("APP",)), "no phase 'APP' in the bag; nearest valid name: 'AP'"),
        (View(bags="ct"), "no bag set 'ct'; valid names: a"),
    ],
    ids=["block", "phase", "bag set"],
)
def test_an_unknown_name_is_told_with_those_there_are(bags, view, message):
    with pytest.raises(ConfigError, match=message):
        view.of(Patient("p", {"a": bags[0]}))


def test_a_model_must_say_which_of_several_bag_sets_it_reads(patients):
    with pytest.raises(
        ConfigError, match="several bag sets and none is named: set `bags` of the model to one of a, b"
    ):
        MeanPooling().fit(patients, LABELS)


def test_measures_that_no_bag_has_are_refused():
    bag = draw_bag("p1", 0, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="patient p1: a model reads measures, and the bag holds none"):
        View(measures=True).of(Patient("p1", {"a": bag}))


@pytest.mark.parametrize(
    "kind", ["mean_pooling", "xgboost", "random_forest", "attention_mil", "bag_size", "centre_slice"]
)
def test_a_patient_without_a_bag_does_not_train_and_gets_the_class_shares(kind, patients):
    valid = build_model(kind, {}, 0).get_params()
    quick = {k: v for k, v in {"epochs": 3, "rounds": 3, "trees": 5}.items() if k in valid}
    model = build_model(kind, {**quick, "bags": "b"}, 0).fit(patients, LABELS)
    have = np.array([i % 5 != 0 for i in range(30)])
    probabilities = model.predict_proba(patients)
    is_balanced = getattr(model, "class_weight", "none") == "balanced"
    shares = np.full(3, 1 / 3) if is_balanced else np.bincount(LABELS[have]) / have.sum()
    np.testing.assert_allclose(probabilities[~have], np.tile(shares, (6, 1)))
    trained_on_those = build_model(kind, {**quick, "bags": "b"}, 0)
    trained_on_those.fit([p for p, has in zip(patients, have, strict=True) if has], LABELS[have])
    np.testing.assert_array_equal(trained_on_those.predict_proba(patients), probabilities)


@pytest.mark.parametrize(
    "kind", ["mean_pooling", "xgboost", "random_forest", "attention_mil", "phase_attention"]
)
def test_measures_that_are_missing_on_some_slices_are_no_obstacle(kind, patients):
    valid = build_model(kind, {}, 0).get_params()
    quick = {k: v for k, v in {"epochs": 3, "rounds": 3, "trees": 5}.items() if k in valid}
    model = build_model(kind, {**quick, "bags": "a", "features": ["lesion"], "measures": True}, 0)
    assert np.isfinite(model.fit(patients, LABELS).predict_proba(patients)).all()


@pytest.mark.parametrize("kind", ["mean_pooling", "xgboost", "random_forest"])
def test_a_covariate_that_tells_the_class_is_used_beside_the_bag(kind, patients):
    told = build_model(kind, {"bags": "a", "covariates": ["age"]}, 0).fit(patients, LABELS)
    blind = build_model(kind, {"bags": "a", "features": ["rim"]}, 0).fit(patients, LABELS)
    older = [replace(patient, covariates={"age": 52.0}) for patient in patients]
    assert not np.allclose(told.predict_proba(older), told.predict_proba(patients))
    np.testing.assert_array_equal(blind.predict_proba(older), blind.predict_proba(patients))


def test_a_saved_model_keeps_its_view_and_its_words(patients, tmp_path):
    sexed = [replace(p, covariates={"sex": "FM"[i % 2]}) for i, p in enumerate(patients)]
    parameters = {"bags": "b", "features": ["rim"], "phases": ["AP"], "covariates": ["sex"]}
    model = build_model("mean_pooling", parameters, 0).fit(sexed, LABELS)
    model.save(tmp_path)
    np.testing.assert_array_equal(MeanPooling.load(tmp_path).predict_proba(sexed), model.predict_proba(sexed))


def test_a_covariate_that_is_not_there_is_named(patients):
    with pytest.raises(SampleError, match="patient p00: expected a covariate 'sex', found age"):
        MeanPooling(bags="a", covariates=("sex",)).fit(patients, LABELS)


def test_covariates_become_columns_by_hand():
    people = [
        Patient("p1", {}, {"age": 60.0, "sex": "F"}),
        Patient("p2", {}, {"age": None, "sex": "M"}),
        Patient("p3", {}, {"age": 70.0, "sex": None}),
    ]
    columns = CovariateColumns.learned(("age", "sex"), people)
    expected = [[60, 1, 0], [np.nan, 0, 1], [70, 0, 0]]
    np.testing.assert_array_equal(columns.columns(people), expected)
    stranger = [Patient("p4", {}, {"age": None, "sex": "X"})]
    np.testing.assert_array_equal(columns.columns(stranger), [[np.nan, 0, 0]])
    assert columns.is_told([*people, *stranger]).tolist() == [True, True, True, False]


NETWORKS = ["attention_mil", "phase_attention", "phase_concat", "clam", "mlp", "transmil"]


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_adds_a_linear_term_of_the_covariates_to_its_logits(kind, patients, tmp_path):
    parameters = {"bags": "a", "epochs": 30, "learning_rate": 0.01, "covariates": ["age"]}
    model = build_model(kind, parameters, 0).fit(patients, LABELS)
    logs = [
        np.log(model.predict_proba([replace(p, covariates={"age": age}) for p in patients]))
        for age in (50.0, 51.0, 52.0)
    ]
    steps = [np.diff(late - early, axis=1) for early, late in (logs[:2], logs[1:])]
    # Differences of log odds: the same for every patient, and twice as far for twice the years.
    np.testing.assert_allclose(steps[0], np.tile(steps[0][0], (30, 1)), atol=1e-3)
    np.testing.assert_allclose(steps[1], steps[0], atol=1e-3)
    assert (model.predict(patients) == LABELS).mean() > 0.8  # the age is the class here
    model.save(tmp_path)
    np.testing.assert_array_equal(
        type(model).load(tmp_path).predict_proba(patients), model.predict_proba(patients)
    )

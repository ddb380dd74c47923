"""What a model refuses, built in Python as by a configuration, and that it names the patient and the numbers."""

import re
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from aggregate.models.attention_mil import AttentionMIL
from aggregate.models.baselines import Majority, SinglePhase
from aggregate.models.boosting import XGBoost
from aggregate.models.calibrated import Calibrated
from aggregate.models.mean_pooling import MeanPooling
from aggregate.models.registry import MODELS, build_model, load_model
from aggregate.models.simple_pooling import EmbeddingPooling
from aggregate.models.wrappers import Grid
from pipeline.bags import PER_PHASE
from pipeline.errors import ConfigError, ResultsError, SampleError
from tests.aggregate.models.tabicl_weights import IS_INSTALLED, tabicl_parameters

BLIND = {"majority"}
"""The kind that looks at no feature, beside `covariates`, which reads no bag at all."""
INSIDE = {
    "single_phase": {"phase": "AP"},
    "tabicl": tabicl_parameters(),
    "calibrated": {"model": "mean_pooling"},
    "grid": {"model": "mean_pooling", "grid": {"strengths": [[0.1]]}},
    "ensemble": {"model": "mean_pooling", "members": 2},
    "stack": {"models": {"a": {"kind": "mean_pooling"}}},
    "halving": {"models": {"a": {"kind": "mean_pooling"}}, "inner_folds": 2},
    "average": {"models": {"a": {"kind": "mean_pooling"}}},
    "either": {"models": {"a": {"kind": "mean_pooling"}}, "positive": 1},
}
KINDS = sorted(set(MODELS) - {"module", "covariates"} - (set() if IS_INSTALLED else {"tabicl"}))
QUICK = {"epochs": 1, "rounds": 2, "trees": 3}


def quick(kind):
    valid = MODELS[kind]().get_params()
    return build_model(
        kind, {k: v for k, v in QUICK.items() if k in valid} | INSIDE.get(kind, {}), random_state=0
    )


def changed(bag, **arrays):
    return replace(bag, **arrays)


def with_value(bag, value):
    features = bag.features.copy()
    features[1, 2] = value
    return changed(bag, features=features)


def cut(bag, name):
    return changed(bag, **{name: getattr(bag, name)[:-1]})


DAMAGED = {
    "NaN": (
        lambda bag: with_value(bag, np.nan),
        r"expected finite features, found 1 of \d+ values NaN or infinite",
    ),
    "infinite": (lambda bag: with_value(bag, -np.inf), "expected finite features, found 1 of"),
    "short measures": (
        lambda bag: cut(bag, "measures"),
        r"expected measures of \d+ slices, found \(\d+, 0\)",
    ),
    "no instance": (
        lambda bag: bag.take(np.array([], dtype=int)),
        r"at least one slice, found float32 \(0, 16\)",
    ),
    "width": (
        lambda bag: changed(bag, features=bag.features[:, :9]),
        "expected 16 features and the phases NC, AP, PVP, DP as in the other bags of this model, found 9 features",
    ),
    "phases": (
        lambda bag: changed(bag, header=replace(bag.header, phase_names=("AP", "NC", "PVP", "DP"))),
        "expected 16 features and the phases NC, AP, PVP, DP .* found 16 features and the phases AP, NC, PVP, DP",
    ),
    "dtype": (
        lambda bag: changed(bag, features=bag.features.astype(float)),
        "expected features as float32 .* float64",
    ),
    "column": (lambda bag: cut(bag, "phase"), r"expected phase of \d+ slices, found \(\d+,\)"),
    "area": (
        lambda bag: changed(bag, tumour_area_mm2=np.full(len(bag), np.nan, np.float32)),
        r"expected finite tumour_area_mm2, found (\d+) of \1 values",
    ),
}


@pytest.mark.parametrize("fault", DAMAGED)
@pytest.mark.parametrize("kind", ["attention_mil", "mlp", "mean_pooling", "xgboost", "calibrated"])
def test_a_damaged_bag_is_refused_by_fit_tune_and_predict_and_its_patient_named(kind, fault, cohort):
    bags, labels = cohort
    damage, message = DAMAGED[fault]
    damaged = [*bags[:20], damage(bags[20]), *bags[21:]]
    told = f"patient p020: .*{message}"
    with pytest.raises(SampleError, match=told):
        quick(kind).fit(damaged, labels)
    with pytest.raises(SampleError, match=told):
        quick("xgboost" if kind == "mean_pooling" else kind).fit(
            bags[:18], labels[:18], tune=(damaged[18:], labels[18:])
        )
    with pytest.raises(SampleError, match=told):
        quick(kind).fit(bags[:18], labels[:18]).predict_proba(damaged)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in BLIND])
def test_no_model_that_looks_at_features_forgets_the_check(kind, cohort):
    bags, labels = cohort
    with pytest.raises(SampleError, match="patient p003: expected finite features"):
        quick(kind).fit([*bags[:3], with_value(bags[3], np.nan), *bags[4:]], labels)


@pytest.mark.parametrize("kind", KINDS)
def test_bags_and_labels_that_do_not_fit_are_refused_by_every_model(kind, cohort):
    bags, labels = cohort
    model = quick(kind)
    for these, those, message in (
        (bags, labels[:-1], "expected one label for each of the 60 bags, found 59 labels"),
        (bags[:-1], labels, "expected one label for each of the 59 bags, found 60 labels"),
        (bags, labels[:, None], r"expected one label for each of the 60 bags, found labels of shape (60, 1)"),
        ([], [], "expected at least one bag, found none"),
        (iter(bags), labels, "expected a sequence of bags, found list_iterator"),
    ):
        with pytest.raises(SampleError, match=re.escape(message)):
            model.fit(these, those)
    with pytest.raises(SampleError, match="each of the 3 tuning bags, found 2 labels"):
        model.fit(bags, labels, tune=(bags[:3], labels[:2]))
    with pytest.raises(SampleError, match="expected at least one tuning bag, found none"):
        model.fit(bags, labels, tune=([], labels[:2]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_tuning_bags_is_that_of_an_empty_list(kind, cohort):
    bags, labels = cohort[0][:12], cohort[1][:12]
    alone, empty = (
        quick(kind).fit(bags, labels, tune=tune).predict_proba(bags) for tune in (None, ([], labels[:0]))
    )
    np.testing.assert_array_equal(alone, empty)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
def test_a_missing_label_is_refused_and_its_patient_named(missing, cohort):
    labels = ["HCC", "iCCA"] * 30
    labels[7] = missing
    told = r"patient p007: expected a label, found (None|nan|<NA>); 1 of the 60 bags have none"  # pandas makes None nan
    for given in (labels, pd.Series(labels)):
        with pytest.raises(SampleError, match=told):
            Majority().fit(cohort[0], given)


def test_labels_of_two_types_are_refused(cohort):
    with pytest.raises(SampleError, match="expected labels of one type, found int and str"):
        Majority().fit(cohort[0][:2], ["HCC", 1])


def test_a_tuning_label_longer_than_those_of_the_training_is_not_cut_to_one_of_them(cohort):
    bags, labels = cohort[0], np.array(["HCC", "ICC"] * 30)
    tune = (bags[:2], np.array(["HCC-CCA", "ICC"]))
    with pytest.raises(ValueError, match="no training patient has the class 'HCC-CCA' of a tuning patient"):
        AttentionMIL(epochs=1).fit(bags, labels, tune=tune)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MeanPooling(class_weight="balance"), "parameter class_weight: Input should be 'balanced' or 'none'"),
        (EmbeddingPooling(pool="avg"), "model 'embedding_pooling': parameter pool: Input should be 'mean' or 'max'"),
        (AttentionMIL(epochs=0), "parameter epochs: Input should be greater than or equal to 1; found 0"),
        (AttentionMIL(epochs="3"), "parameter epochs: Input should be a valid integer; found \"3\""),
        (AttentionMIL(learning_rate=-1e-3), "parameter learning_rate: Input should be greater than 0; found -0.001"),
        (AttentionMIL(learning_rate=float("inf")), "parameter learning_rate: Input should be a finite number"),
        (AttentionMIL(device="gpu"), "parameter device: Value error, expected cpu, cuda or cuda:NUMBER; found"),
        (AttentionMIL(random_state=-1), "parameter random_state: Input should be greater than or equal to 0"),
        (AttentionMIL(random_state=np.random.RandomState(0)), "parameter random_state: Input should be a valid integer"),
        (MeanPooling(strengths=()), "parameter strengths: Tuple should have at least 1 item"),
        (MeanPooling(strengths=[0.1, -1.0]), "parameter strengths.1: Input should be greater than 0; found -1.0"),
        (XGBoost(statistics=["mean", "mode"]), "parameter statistics.1: Input should be 'mean', 'max', 'std'"),
        (SinglePhase(phase=1), "parameter phase: Input should be a valid string; found 1"),
        (Calibrated(model="mean_pool"), "unknown model 'mean_pool'; nearest valid name: 'mean_pooling'"),
        (Calibrated(model="mlp", parameters={"hidden": 0}), "parameter hidden: Input should be greater than or equal"),
        (Grid(model="mlp", grid={"epochs": [0]}), "model 'mlp': parameter epochs: Input should be greater than or"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value)[:40],
)  # fmt: skip
def test_a_value_that_a_configuration_may_not_have_is_refused_at_fit(model, message, cohort):
    with pytest.raises(ConfigError, match=re.escape(message)):
        model.fit(*cohort)


def test_numbers_of_numpy_and_lists_are_as_good_as_pythons(cohort):
    bags, labels = cohort
    search = GridSearchCV(
        AttentionMIL(random_state=0),
        {"epochs": np.arange(1, 3), "learning_rate": np.logspace(-3, -2, 2)},
        cv=StratifiedKFold(2),
    )
    assert search.fit(bags, labels).best_params_["epochs"] in (1, 2)
    MeanPooling(strengths=[0.1, 1.0], inner_folds=np.int64(2)).fit(bags, labels)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_said_before_fit_nor_after_a_fit_that_failed(kind, cohort):
    bags, labels = cohort[0][:12], cohort[1][:12]
    model = quick(kind)
    failed = quick(kind).fit(bags, labels)
    with pytest.raises(SampleError):
        failed.fit(bags, labels[:3])
    names = [n for n in ("predict", "predict_proba", "attention", "instance_evidence") if hasattr(model, n)]
    for of_model, name in ((m, n) for m in (model, failed) for n in names):
        with pytest.raises(NotFittedError):
            getattr(of_model, name)(bags)


@pytest.mark.parametrize("kind", ["attention_mil", "xgboost"])
def test_a_saved_model_refuses_bags_unlike_its_own(kind, cohort, tmp_path):
    bags, labels = cohort
    quick(kind).fit(bags, labels).save(tmp_path)
    narrow = [replace(bag, features=bag.features[:, :9]) for bag in bags]
    with pytest.raises(SampleError, match=r"patient p000: expected 16 features .* found 9 features"):
        load_model(tmp_path).predict(narrow)


@pytest.mark.parametrize("name", ["arrays.safetensors", "model.json", "config.json"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff rubbish", None], ids=["empty", "rubbish", "gone"])
def test_a_saved_model_that_was_damaged_is_named(name, content, cohort, tmp_path):
    quick("xgboost").fit(*cohort).save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ResultsError, match=re.escape(str(tmp_path))):
        load_model(tmp_path)


def test_what_is_no_bag_is_named_by_its_type(cohort):
    X = np.zeros((60, 16), dtype=np.float32)
    with pytest.raises(
        SampleError, match="expected patients, or bags as read_bag returns them, found ndarray"
    ):
        MeanPooling().fit(X, cohort[1])


def test_every_array_of_a_bag_is_looked_at(cohort):
    bag = cohort[0][0]
    for name in (f.name for f in fields(bag) if f.name not in ("header", "features", *PER_PHASE)):
        with pytest.raises(SampleError, match=f"patient p000: expected {name} of {len(bag)} slices"):
            MeanPooling().fit([cut(bag, name), *cohort[0][1:]], cohort[1])


def test_radiomics_need_a_row_for_each_of_their_phases(cohort):
    bag = cohort[0][0]
    told = r"patient p000: expected radiomics of 2 phases and 0 features, found \(0, 0\)"
    with pytest.raises(SampleError, match=told):
        MeanPooling().fit(
            [replace(bag, radiomics_phase=np.array([0, 1], dtype=np.int8)), *cohort[0][1:]], cohort[1]
        )

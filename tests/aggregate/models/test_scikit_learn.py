"""Our models in the hands of scikit-learn, on a plain list of bags."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict

from aggregate.models.registry import MODELS, build_model
from tests.aggregate.models.tabicl_weights import IS_INSTALLED, tabicl_parameters

QUICK = {"epochs": 2, "rounds": 3, "trees": 10}
INSIDE = {
    "single_phase": {"phase": "AP"},
    "tabicl": tabicl_parameters(),
    "grid": {"model": "mean_pooling", "grid": {"strengths": [[0.01], [1.0]]}},
    "calibrated": {"model": "majority"},
    "ensemble": {"model": "majority"},
    "stack": {"models": {"pooled": {"kind": "mean_pooling"}}, "inner_folds": 2},
    "halving": {"models": {"pooled": {"kind": "mean_pooling"}}, "inner_folds": 2},
    "average": {"models": {"pooled": {"kind": "mean_pooling"}}},
    "either": {"models": {"pooled": {"kind": "mean_pooling"}}, "positive": 1},
}
SEARCHED = {"average": "random_state", "either": "random_state", "halving": "inner_folds",
    "majority": "random_state", "grid": "inner_folds", "calibrated": "random_state", "ensemble": "members",
}  # fmt: skip
KINDS = sorted(set(MODELS) - {"module", "covariates"} - (set() if IS_INSTALLED else {"tabicl"}))
FOLDS = StratifiedKFold(2, shuffle=True, random_state=0)


@pytest.fixture(params=KINDS)
def model(request):
    valid = MODELS[request.param]().get_params()
    settings = {k: v for k, v in QUICK.items() if k in valid} | INSIDE.get(request.param, {})
    return build_model(request.param, settings, random_state=0)


def test_cross_val_predict_works(model, cohort):
    bags, labels = cohort
    probabilities = cross_val_predict(model, bags, labels, cv=FOLDS, method="predict_proba")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_grid_search_works(model, cohort):
    bags, labels = cohort
    values = [1, 2] if model.kind in SEARCHED else ["balanced", "none"]
    name = SEARCHED.get(model.kind, "class_weight")
    values = [2, 3] if name in ("inner_folds", "members") else values
    search = GridSearchCV(model, {name: values}, cv=FOLDS, scoring="roc_auc_ovr").fit(bags, labels)
    assert search.best_params_[name] in values
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()

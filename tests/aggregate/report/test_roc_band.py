"""The ROC curves of the resamples are those of scikit-learn with sample weights."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from aggregate.predictions import Predictions
from aggregate.report.performance_figures import precision_recall, rocs_of_resamples

GRID = np.linspace(0, 1, 101)


@given(st.integers(0, 10_000), st.booleans())
def test_every_resample_has_the_curve_of_scikit_learn(seed, has_ties):
    rng = np.random.default_rng(seed)
    is_positive = np.arange(31) % 3 == 0
    scores = rng.random(31).round(1 if has_ties else 15)
    weights = rng.random((31, 4)) + 0.1
    found = rocs_of_resamples(scores, is_positive, weights)
    for curve, column in zip(found, weights.T, strict=True):
        false, true, _ = roc_curve(is_positive, scores, sample_weight=column)
        expected = np.interp(GRID, false, true)
        assert np.allclose(curve[1:], expected[1:], atol=1e-12)
        assert curve[0] == 0


def test_a_patient_who_is_not_drawn_changes_nothing():
    scores = np.array([0.9, 0.8, 0.4, 0.3])
    is_positive = np.array([True, False, True, False])
    without = rocs_of_resamples(scores[[0, 3]], is_positive[[0, 3]], np.ones((2, 1)))
    assert np.array_equal(rocs_of_resamples(scores, is_positive, np.array([[2.0], [0], [0], [2]])), without)


def test_a_class_that_nobody_has_has_no_precision_recall_curve():
    predictions = Predictions(
        classes=("HCC", "iCCA", "cHCC-CCA"),
        patient_ids=tuple(f"p{i}" for i in range(6)),
        labels=np.array([0, 1] * 3),
        fold=np.zeros((1, 6), dtype=np.intp),
        probabilities={"m": np.random.default_rng(0).dirichlet(np.ones(3), (1, 6))},
        n_slices=np.ones(6, dtype=np.intp),
        phases=("AP",) * 6,
    )
    figure = precision_recall(predictions, ["m"])
    assert not isinstance(figure.drawing, str)
    assert [len(axes.lines) for axes in figure.drawing.axes] == [
        2,
        2,
        1,
    ]  # the share of the class has a line in each

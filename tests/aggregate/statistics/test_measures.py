import numpy as np
import pytest
from sklearn import metrics

from aggregate.statistics.measures import (
    MACRO,
    balanced_accuracy,
    confusion,
    macro_auc,
    measure,
    predicted_labels,
)
from aggregate.statistics.resamples import draw_resamples

CLASSES = ("HCC", "iCCA", "cHCC-CCA")


@pytest.fixture
def patients():
    rng = np.random.default_rng(5)
    labels = rng.permuted(np.repeat(np.arange(3), (20, 14, 9))).astype(np.intp)
    probabilities = rng.dirichlet(np.ones(3), size=(2, len(labels)))
    probabilities[:, :, 0] += 0.4 * (labels == 0)
    return labels, probabilities / probabilities.sum(axis=2, keepdims=True)


def by_scikit_learn(labels, p, w):
    """Every metric of one repeat and one weighting, as scikit-learn computes it."""
    called = p.argmax(axis=1)
    counts = metrics.confusion_matrix(labels, called, sample_weight=w)
    found = {
        (MACRO, "auc"): metrics.roc_auc_score(labels, p, multi_class="ovr", sample_weight=w),
        (MACRO, "accuracy"): metrics.accuracy_score(labels, called, sample_weight=w),
        (MACRO, "balanced_accuracy"): metrics.balanced_accuracy_score(labels, called, sample_weight=w),
        (MACRO, "macro_f1"): metrics.f1_score(labels, called, average="macro", sample_weight=w),
        (MACRO, "kappa"): metrics.cohen_kappa_score(labels, called, sample_weight=w),
        (MACRO, "log_loss"): metrics.log_loss(labels, p, sample_weight=w),
        (MACRO, "brier"): np.average(((p - np.eye(3)[labels]) ** 2).sum(axis=1), weights=w),
    }
    for k, name in enumerate(CLASSES):
        is_k, called_k = labels == k, called == k
        others = np.delete(np.arange(3), k)
        found |= {
            (name, "auc"): metrics.roc_auc_score(is_k, p[:, k], sample_weight=w),
            (name, "average_precision"): metrics.average_precision_score(is_k, p[:, k], sample_weight=w),
            (name, "sensitivity"): metrics.recall_score(is_k, called_k, sample_weight=w),
            (name, "specificity"): metrics.recall_score(~is_k, ~called_k, sample_weight=w),
            (name, "ppv"): metrics.precision_score(is_k, called_k, sample_weight=w),
            (name, "npv"): metrics.precision_score(~is_k, ~called_k, sample_weight=w),
            (name, "f1"): metrics.f1_score(is_k, called_k, sample_weight=w),
            (name, "brier"): metrics.brier_score_loss(is_k, p[:, k], sample_weight=w),
        }
        assert found[name, "sensitivity"] == pytest.approx(counts[k, k] / counts[k].sum())
        assert found[name, "specificity"] == pytest.approx(
            counts[np.ix_(others, others)].sum() / counts[others].sum()
        )
    found[MACRO, "average_precision"] = np.mean([found[name, "average_precision"] for name in CLASSES])
    return found


def test_every_metric_equals_scikit_learn_on_every_resample(patients):
    labels, probabilities = patients
    weights = draw_resamples(labels, draws=2, seed=0)
    measured = measure(labels, probabilities, weights, CLASSES)
    single = [[by_scikit_learn(labels, p, w) for w in weights.T] for p in probabilities]
    for row in single[0][0]:
        values = np.array([[found[row] for found in repeat] for repeat in single])  # (repeats, draws)
        assert measured[row].resampled == pytest.approx(values.mean(axis=0), abs=1e-12), row
        assert measured[row].per_repeat == pytest.approx(values[:, 0], abs=1e-12), row
    pairs = {row for row in measured if " vs " in row[0]}
    assert set(measured) - pairs == set(single[0][0])


def test_two_classes_among_themselves_equal_scikit_learn(patients):
    labels, probabilities = patients
    found = measure(labels, probabilities, np.ones((len(labels), 1)), CLASSES)["HCC vs cHCC-CCA", "auc"]
    either = labels != 1
    share = probabilities[:, either, 0] / (probabilities[:, either, 0] + probabilities[:, either, 2])
    expected = [metrics.roc_auc_score(labels[either] == 0, row) for row in share]
    assert found.per_repeat == pytest.approx(expected)


def test_confusion_by_hand():
    """Two of the three HCC are called HCC, one iCCA; the one iCCA is called iCCA."""
    labels = np.array([0, 0, 0, 1], dtype=np.intp)
    probabilities = np.array([[[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]]])
    weights = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 1.0], [1.0, 1.0]])
    counts = confusion(labels, probabilities, weights)
    assert counts[0, :, :, 0].tolist() == [[2, 1], [0, 1]]
    assert counts[0, :, :, 1].tolist() == [[2, 1], [0, 1]]
    found = measure(labels, probabilities, weights, ("HCC", "iCCA"))
    assert found["HCC", "sensitivity"].per_repeat == pytest.approx([2 / 3])
    assert found["iCCA", "ppv"].per_repeat == pytest.approx([1 / 2])
    assert found[MACRO, "balanced_accuracy"].per_repeat == pytest.approx([(2 / 3 + 1) / 2])


def test_equal_probabilities_are_called_the_first_class():
    assert predicted_labels(np.full((1, 2, 3), 1 / 3)).tolist() == [[0, 0]]


def test_the_metrics_of_the_comparisons_are_those_of_the_table(patients):
    labels, probabilities = patients
    weights = draw_resamples(labels, draws=5, seed=0)
    measured = measure(labels, probabilities, weights, CLASSES)
    for metric, function in (("auc", macro_auc), ("balanced_accuracy", balanced_accuracy)):
        found = function(labels, probabilities, weights)
        assert found.resampled == pytest.approx(measured[MACRO, metric].resampled)
        assert found.per_repeat == pytest.approx(measured[MACRO, metric].per_repeat)


def test_shuffled_labels_give_an_auc_near_one_half(patients):
    labels, probabilities = patients
    rng = np.random.default_rng(0)
    everyone = np.ones((len(labels), 1))
    found = [macro_auc(rng.permuted(labels), probabilities, everyone).resampled[0] for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_the_order_of_the_patients_does_not_matter(patients):
    labels, probabilities = patients
    weights = draw_resamples(labels, draws=3, seed=0)
    order = np.random.default_rng(1).permutation(len(labels))
    plain = measure(labels, probabilities, weights, CLASSES)
    mixed = measure(labels[order], probabilities[:, order], weights[order], CLASSES)
    for row, found in plain.items():
        assert mixed[row].resampled == pytest.approx(found.resampled, abs=1e-12), row


def test_a_class_nobody_is_called_has_no_ppv_and_an_absent_class_no_auc():
    labels = np.array([0, 0, 1, 1], dtype=np.intp)
    probabilities = np.tile([0.5, 0.3, 0.2], (1, 4, 1))
    found = measure(labels, probabilities, np.ones((4, 1)), CLASSES)
    assert np.isnan(found["iCCA", "ppv"].resampled).all()
    assert np.isnan(found["cHCC-CCA", "auc"].resampled).all()
    assert np.isnan(found[MACRO, "auc"].resampled).all()
    assert found["HCC", "ppv"].resampled.tolist() == [0.5]

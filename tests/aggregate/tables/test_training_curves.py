"""training_curves.csv, from a fit to the file: members of an ensemble, models without epochs, the cache."""

import numpy as np
import pytest

from aggregate.cohort.folds import Fold
from aggregate.fitting.cross_validation import OutOfFold
from aggregate.fitting.training_courses import courses_of
from aggregate.models.registry import build_model
from aggregate.store.fit_cache import Fit, FitCache
from aggregate.tables.results import ResultTables
from aggregate.tables.training_curves import TRAINING_CURVES, write_curves

NONE = np.array([], dtype=np.intp)
NETWORK = {"epochs": 2, "gate": 4}


def fitted(bags_and_labels, kind, parameters):
    bags, labels = bags_and_labels
    return build_model(kind, parameters, random_state=0).fit(
        bags[:24], labels[:24], tune=(bags[24:30], labels[24:30])
    )


@pytest.mark.parametrize(
    ("kind", "parameters", "members"),
    [
        ("phase_concat", NETWORK, [""]),
        (
            "ensemble",
            {"model": "phase_concat", "members": 3, "parameters": NETWORK},
            [f"member_{n}" for n in range(3)],
        ),
        ("random_forest", {"trees": 5}, []),
    ],
)
def test_every_network_of_a_model_has_a_course(bags_and_labels, kind, parameters, members):
    courses = list(courses_of(fitted(bags_and_labels, kind, parameters)))
    assert [course["member"] for course in courses] == members
    assert all(len(course["train"]) == len(course["tune"]) == 2 for course in courses)


def test_the_courses_stay_in_the_cache_and_a_fit_without_them_is_read(bags_and_labels, tmp_path):
    model = fitted(bags_and_labels, "phase_concat", NETWORK)
    courses, cache = tuple(courses_of(model)), FitCache(tmp_path)
    p = model.predict_proba(bags_and_labels[0][30:])
    cache.write("with", Fit(p, p, courses=courses), model, name="m")
    cache.write("without", Fit(p, p), model, name="m")
    (found,) = cache.read("with").courses
    assert found == {**courses[0], "train": list(courses[0]["train"]), "tune": list(courses[0]["tune"])}
    assert cache.read("without").courses == ()


def test_a_row_is_an_epoch_of_a_network_in_a_fold(tmp_path):
    empty = np.empty((0, 3))
    tuned = {"member": "member_0", "kept": 1, "train": [1.1, 0.9, 0.8], "tune": [1.0, 0.7, 0.75]}
    untuned = {"member": "", "kept": 1, "train": [1.1, 0.5], "tune": []}
    fits = (Fit(empty, empty, courses=(tuned,)), Fit(empty, empty, courses=(untuned,)))
    folds = tuple(Fold(0, k, NONE, NONE, NONE) for k in (0, 1))
    tables = ResultTables(tmp_path)
    write_curves(tables, OutOfFold(folds, {}, {"mil": fits, "trees": (Fit(empty, empty),) * 2}, {}))
    rows = [tuple(row.values()) for row in tables.read(TRAINING_CURVES)]
    assert rows == [
        ("mil", 0, 0, "member_0", 1, 1.1, 1.0, False),
        ("mil", 0, 0, "member_0", 2, 0.9, 0.7, True),
        ("mil", 0, 0, "member_0", 3, 0.8, 0.75, False),
        ("mil", 0, 1, "", 1, 1.1, None, False),
        ("mil", 0, 1, "", 2, 0.5, None, True),
    ]

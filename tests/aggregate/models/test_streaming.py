"""How many bags a model holds at a time."""

import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from aggregate.cohort.chosen import Chosen
from aggregate.models.registry import build_model

POOLED = {
    "mean_pooling": {},
    "bag_size": {},
    "tumour_size": {},
    "centre_slice": {},
    "single_phase": {"phase": "DP"},
    "xgboost": {"rounds": 2},
    "random_forest": {"trees": 3},
    "grid": {"model": "mean_pooling", "grid": {"strengths": [[0.01], [1.0]]}},
    "calibrated": {"model": "mean_pooling"},
}


class CountedBags(Sequence):
    """Bags made anew at every request, with the largest number that was alive at once."""

    def __init__(self, bags):
        self.bags = bags
        self.alive = weakref.WeakSet()
        self.most = 0

    def __len__(self):
        return len(self.bags)

    def __getitem__(self, index):
        bag = replace(self.bags[index], features=self.bags[index].features.copy())
        self.alive.add(bag)
        self.most = max(self.most, len(self.alive))
        return bag


@pytest.mark.parametrize("kind", POOLED)
def test_a_pooled_model_holds_one_bag_while_it_fetches_the_next(cohort, kind):
    bags, labels = CountedBags(cohort[0]), cohort[1]
    train, tune = np.arange(36), np.arange(36, 60)
    model = build_model(kind, POOLED[kind], random_state=0)
    model.fit(Chosen(bags, train), labels[train], tune=(Chosen(bags, tune), labels[tune]))
    model.predict_proba(Chosen(bags, tune))
    assert bags.most <= 2


def test_chosen_bags_are_the_bags_of_the_numbers(cohort):
    chosen = Chosen(cohort[0], np.array([4, 2, 9]))
    assert [bag.patient_id for bag in chosen] == ["p004", "p002", "p009"]
    assert [bag.patient_id for bag in chosen[1:]] == ["p002", "p009"]
    assert chosen[-1].patient_id == "p009"

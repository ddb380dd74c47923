"""The end at the deadline, and the trial that is kept."""

import numpy as np

from aggregate.cohort.folds import Fold
from aggregate.fitting.within_budget import complete_repeats, kept_trial
from aggregate.planning.study_budget import Trial
from aggregate.store.content_store import ContentStore

NONE = np.array([], dtype=np.intp)
FOLDS = [Fold(repeat, fold, NONE, NONE, NONE) for repeat in range(3) for fold in range(4)]


class Clock:
    """A fold takes a second."""

    def __init__(self):
        self.now = 0.0
        self.fitted = []

    def fit(self, folds):
        self.fitted += folds
        self.now += len(folds)

    def __call__(self):
        return self.now


def completed(deadline, at_once=1):
    clock = Clock()
    found = complete_repeats(clock.fit, FOLDS, at_once=at_once, deadline=deadline, clock=clock)
    return found, clock.fitted


def test_before_the_deadline_every_repeat_is_completed():
    assert completed(100) == (FOLDS, FOLDS)


def test_at_the_deadline_the_fold_in_hand_is_finished_and_complete_repeats_count():
    assert completed(5.5) == (FOLDS[:4], FOLDS[:6])
    assert completed(5.5, at_once=2) == (FOLDS[:4], FOLDS[:6])
    assert completed(8) == (FOLDS[:8], FOLDS[:8])


def test_the_first_repeat_is_completed_whatever_it_takes():
    assert completed(0.5) == (FOLDS[:4], FOLDS[:4])


def test_a_trial_is_made_once(tmp_path):
    store, made = ContentStore(tmp_path), []

    def try_all():
        made.append(1)
        return Trial({"a": 1.5}, 20, 2.5)

    first = kept_trial(store, "0" * 32, try_all)
    assert kept_trial(store, "0" * 32, try_all) == first == Trial({"a": 1.5}, 20, 2.5)
    assert made == [1]

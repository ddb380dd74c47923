"""Explanations come from models that did not see the patient."""

import re
from dataclasses import replace

import numpy as np
import pytest

from aggregate.explain.inputs import attention_of, evidence_of
from pipeline.errors import ResultsError, SampleError


def test_a_patient_is_explained_only_by_models_that_did_not_train_on_it(inputs):
    attention_of(inputs, "attention")
    evidence_of(inputs, "attention")
    for fold, model in inputs.models["attention"]:
        seen = {inputs.bags("attention")[i].patient_id for i in (*fold.train, *fold.tune)}
        assert model.asked
        assert not model.asked & seen


def test_every_patient_has_one_answer_per_repeat(inputs):
    found = attention_of(inputs, "attention")
    assert list(found.values) == list(range(len(inputs.bags("attention"))))
    assert all(found.values[i].shape == (2, len(bag)) for i, bag in enumerate(inputs.bags("attention")))


def test_a_patient_that_is_not_tested_in_every_repeat_is_left_out(inputs):
    first, *others = inputs.models["attention"]
    shorter = (replace(first[0], test=first[0].test[1:]), first[1])
    found = attention_of(replace(inputs, models={"attention": [shorter, *others]}), "attention")
    assert set(found.values) == set(range(len(inputs.bags("attention")))) - {int(first[0].test[0])}


def test_a_patient_tested_twice_is_refused(inputs):
    fitted = inputs.models["attention"]
    name = min(inputs.bags("attention")[i].patient_id for i in fitted[0][0].test)
    message = f"model attention, repeat 0: expected every patient tested once, found {name} tested twice"
    with pytest.raises(ResultsError, match=re.escape(message)):
        replace(inputs, models={"attention": [*fitted, fitted[0]]})


def test_labels_identifiers_and_bags_must_agree(inputs):
    with pytest.raises(SampleError, match="expected 60 labels, found 3"):
        replace(inputs.patients, codes=np.zeros(3, dtype=np.intp))

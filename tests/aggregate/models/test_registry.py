import re

import pytest

from aggregate.models.registry import MODELS, build_model
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("atention_mil", {}, "unknown model 'atention_mil'; nearest valid name: 'attention_mil'"),
        (
            "attention_mil",
            {"hiden": 3},
            "model 'attention_mil': unknown parameter 'hiden'; nearest valid name: 'hidden'",
        ),
        (
            "attention_mil",
            {"hidden": 0},
            "model 'attention_mil': parameter hidden: Input should be greater than or equal to 1; found 0",
        ),
        (
            "majority",
            {"random_state": 1},
            "model 'majority': unknown parameter 'random_state'; valid names: ",
        ),
    ],
    ids=["kind", "name", "value", "seed"],
)
def test_a_mistake_is_named_with_the_nearest_valid_name(kind, parameters, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_model(kind, parameters, random_state=0)


def test_every_model_bears_the_name_it_is_registered_under():
    assert all(model.kind == name for name, model in MODELS.items())


def test_parameters_reach_the_model():
    model = build_model("attention_mil", {"hidden": 7}, random_state=5)
    assert (model.hidden, model.random_state) == (7, 5)

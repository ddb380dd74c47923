"""A network from outside: named in TOML, tried before it trains, and torchmil's models by the same door."""

import importlib.util
import json
import re

import numpy as np
import pytest
import torch

from aggregate.models.registry import MODELS, build_model, load_model
from aggregate.models.torchmil_network import _adjacency
from aggregate.planning.plan import load_aggregate_config
from pipeline.errors import ConfigError, ResultsError
from tests.conftest import at_two_scales

GOOD = """
import torch
from torch import nn

class Mean(nn.Module):
    def __init__(self, n_features, n_phases, n_classes, hidden=8):
        super().__init__()
        self.embed = nn.Linear(n_features, hidden)
        self.classify = nn.Linear(hidden, n_classes)

    def forward(self, instances):
        rows = torch.relu(self.embed(instances.features)).float()
        total = rows.new_zeros((instances.n_bags, rows.shape[1])).index_add(0, instances.bag, rows)
        return self.classify(total / instances.sizes.unsqueeze(1))
"""
MEAN = "total / instances.sizes.unsqueeze(1)"


def build(tmp_path, text=GOOD, name="Mean", **parameters):
    (tmp_path / "mine.py").write_text(text)
    return build_model(
        "module", {"module": f"{tmp_path / 'mine.py'}:{name}", "epochs": 2} | parameters, random_state=1
    )


def test_its_own_parameters_are_keys_beside_those_of_the_training(tmp_path, cohort):
    model = build(tmp_path, hidden=5, learning_rate=0.01).fit(*cohort)
    assert model.network_.embed.out_features == 5
    assert model.learning_rate == 0.01
    np.testing.assert_allclose(model.predict_proba(cohort[0]).sum(axis=1), 1)


def test_it_is_given_the_number_of_scales_if_it_asks(tmp_path, cohort):
    asking = GOOD.replace("n_classes, hidden", "n_classes, n_scales, hidden").replace(
        "super().__init__()", "super().__init__(); self.n_scales = n_scales"
    )
    bags = [at_two_scales(bag) for bag in cohort[0]]
    assert build(tmp_path, asking).fit(bags, cohort[1]).network_.n_scales == 2
    assert build(tmp_path, asking).fit(*cohort).network_.n_scales == 1


def test_it_is_saved_and_read_like_any_other(tmp_path, cohort):
    model = build(tmp_path).fit(*cohort)
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(cohort[0]), model.predict_proba(cohort[0]))


def test_a_change_of_its_file_changes_the_key_of_its_fits(tmp_path):
    model = build(tmp_path)
    before = model.code_sha256({"module": model.module})
    build(tmp_path, GOOD + "# another line\n")
    assert model.code_sha256({"module": model.module}) != before


BROKEN = {
    "shape": (GOOD.replace("return self.classify(", "return self.classify.bias + 0 * self.classify(").replace(
        MEAN, MEAN + ").sum(dim=0"), "expected logits (bags, classes) = (3, 3), found (3,)"),
    "dtype": (GOOD.replace(MEAN + ")", MEAN + ").double()"), "expected logits in float32, found torch.float64"),
    "order": (GOOD.replace("rows = torch", "instances.features[0] *= 2; rows = torch").replace(
        "instances.features[0] *= 2; ", "").replace("(instances.features))", "(instances.features)) * "
        "torch.arange(len(instances.bag)).unsqueeze(1)"), "its prediction changes when the slices of a bag are permuted"),
    "company": (GOOD.replace(MEAN, "total / len(instances.bag)"),
        "its prediction changes when another bag is in the batch"),
    "chance": (GOOD.replace(MEAN, "total * torch.rand(())"), "its prediction changes when the same bags are shown twice"),
    "infinite": (GOOD.replace(MEAN, "total / 0"), "expected finite logits"),
    "failing": (GOOD.replace("instances.n_bags", "instances.number"), "its forward(instances) fails: AttributeError"),
    "constructor": (GOOD.replace("hidden=8", "hidden"), "cannot be built from n_features = 16"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_what_breaks_the_contract_is_refused_in_one_line(tmp_path, cohort, fault):
    text, message = BROKEN[fault]
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        build(tmp_path, text).fit(*cohort)
    assert "mine.py:Mean" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("nowhere.py:Net", "nowhere.py: no such file"),
        ("Net", "expected module = \"FILE.py:CLASS\", found 'Net'"),
        ("mine.py:Nett", "expected a torch.nn.Module named 'Nett', found Mean"),
    ],
)
def test_a_module_that_is_not_there_is_named(tmp_path, monkeypatch, module, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(GOOD)
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_model("module", {"module": module}, random_state=0)


def test_a_file_that_cannot_be_imported_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.py: cannot be imported: SyntaxError"):
        build(tmp_path, "def (")


def test_an_argument_that_it_does_not_have_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="unknown parameter 'hiden'; nearest valid name: 'hidden'"):
        build(tmp_path, hiden=3)


def test_attention_and_evidence_can_be_explained_where_the_network_gives_them(tmp_path, cohort):
    assert not build(tmp_path).fit(*cohort).weighs_slices
    model = build(tmp_path, giving()).fit(*cohort)
    assert model.weighs_slices
    weights = model.attention(cohort[0][:2])
    np.testing.assert_allclose([w.sum() for w in weights], 1, atol=1e-6)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'phasemil[mil]'")):
        build_model("module", {"module": "torchmil.models:ABMIL"}, random_state=0)


def test_the_adjacency_of_three_slices_in_a_row():
    a, b = 1 / 2, 1 / np.sqrt(6)
    adjacency = _adjacency(torch.tensor([0, 0, 1]))
    torch.testing.assert_close(adjacency, torch.tensor([[a, b, 0], [b, 1 / 3, b], [0, b, a]]).float())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ABMIL", "SmABMIL", "DSMIL", "TransformerABMIL", "PatchGCN", "CLAM_SB"])
def test_a_model_of_torchmil_comes_by_the_same_door(name, cohort, tmp_path):
    bags, labels = cohort
    settings = {"module": f"torchmil.models:{name}", "epochs": 1}
    first, again = (
        build_model("module", settings, random_state=0).fit(
            bags[:24], labels[:24], tune=(bags[24:30], labels[24:30])
        )
        for _ in range(2)
    )
    probabilities = first.predict_proba(bags[30:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(again.predict_proba(bags[30:]), probabilities, atol=1e-6)
    first.save(tmp_path)
    np.testing.assert_allclose(load_model(tmp_path).predict_proba(bags[30:]), probabilities, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_an_unknown_model_of_torchmil_is_named():
    with pytest.raises(ConfigError, match="torchmil has no model 'ABMILL'"):
        build_model("module", {"module": "torchmil.models:ABMILL"}, random_state=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("ProbSmoothABMIL", "the same bags are shown twice"),
        ("DeepGraphSurv", "the slices of a bag are permuted"),
        ("TransMIL", "the slices of a bag are permuted"),
    ],
)
def test_a_model_of_torchmil_that_breaks_the_contract_is_refused(cohort, name, cause):
    model = build_model("module", {"module": f"torchmil.models:{name}", "epochs": 1}, random_state=0)
    with pytest.raises(ConfigError, match=f"its prediction changes when {cause}"):
        model.fit(*cohort)


GIVING = GOOD.replace(
    f"return self.classify({MEAN})",
    f"return Output(self.classify({MEAN}), WEIGHTS, EVIDENCE)",
).replace("import torch\n", "import torch\nfrom aggregate.models.network import Output\n", 1)
"""A network that gives attention and evidence, to be filled in."""


def giving(weights="(1 / instances.sizes)[instances.bag]", evidence="self.classify(rows)"):
    return GIVING.replace("WEIGHTS", weights).replace("EVIDENCE", evidence)


@pytest.mark.parametrize(
    ("weights", "evidence", "message"),
    [
        ("[0.5]", "None", "expected attention as a tensor, found list"),
        ("rows[:, 0] * 0 + 1", "None", "expected attention of 0 or more that sums to 1 in every bag"),
        ("None", "self.classify(rows) / 0", "expected finite evidence"),
        (
            "None",
            "torch.arange(len(rows) * 3.0).view(-1, 3)",
            "its evidence is not permuted along with the slices",
        ),
    ],
)
def test_attention_and_evidence_that_are_none_are_refused(tmp_path, cohort, weights, evidence, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(tmp_path, giving(weights, evidence)).fit(*cohort)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("lambda target: 1 / 0", "a step of training fails: ZeroDivisionError"),
        (
            "lambda target: torch.zeros(len(target), 1)",
            "expected an auxiliary loss (bags,) = (3,), found (3, 1)",
        ),
    ],
)
def test_a_loss_of_its_own_is_tried_before_training(tmp_path, cohort, loss, message):
    text = giving("None", f"None, {loss}")
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(tmp_path, text).fit(*cohort)


def test_what_fails_only_while_training_is_one_line(tmp_path, cohort):
    text = GOOD.replace("rows = torch", "assert not self.training, 'only in evaluation'; rows = torch")
    with pytest.raises(ConfigError, match=re.escape("fails: AssertionError: only in evaluation")):
        build(tmp_path, text).fit(*cohort)


def test_a_network_without_parameters_is_refused(tmp_path, cohort):
    text = "from torch import nn\nclass Mean(nn.Module):\n    def __init__(self, d, p, c):\n        super().__init__()\n"
    with pytest.raises(ConfigError, match="expected a network with parameters to train, found none"):
        build(tmp_path, text).fit(*cohort)


def test_a_position_that_is_learned_from_zero_is_refused_once_it_is_learned(tmp_path, cohort):
    text = GOOD.replace(
        "self.classify = nn", "self.place = nn.Parameter(torch.zeros(64, hidden)); self.classify = nn"
    ).replace(
        "total = rows",
        "place = torch.arange(len(rows)) - (instances.sizes.cumsum(0) - instances.sizes)[instances.bag]; "
        "rows = torch.relu(rows + self.place[place]); total = rows",
    )
    with pytest.raises(
        ConfigError, match="trained: its prediction changes when the slices of a bag are permuted"
    ):
        build(tmp_path, text, epochs=20, learning_rate=0.02).fit(*cohort)


def test_a_file_with_dataclasses_can_be_imported(tmp_path, cohort):
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Size:\n    n: int = 1\n"
    build(tmp_path, head + GOOD).fit(*cohort)


def test_an_argument_named_like_a_key_of_the_training_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="its argument 'epochs' has the name of a training parameter"):
        build(tmp_path, GOOD.replace("hidden=8", "hidden=8, epochs=3"))


def test_a_saved_model_is_read_with_the_file_it_was_trained_with_only(tmp_path, cohort):
    build(tmp_path).fit(*cohort).save(tmp_path / "model")
    build(tmp_path, GOOD.replace("torch.relu", "-torch.relu"))
    with pytest.raises(
        ResultsError, match=r"weights of .*mine\.py:Mean are not those this model was trained with"
    ):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    "parameters",
    [
        {"model": "module", "parameters": {"module": "FILE:Mean"}},
        {"model": "module", "grid": {"module": ["FILE:Mean"]}},
    ],
)
@pytest.mark.parametrize("kind", ["grid", "calibrated"])
def test_a_change_of_the_file_changes_the_key_of_wrapped_fits_too(tmp_path, kind, parameters):
    if kind == "calibrated":
        parameters = {"model": "module", "parameters": {"module": "FILE:Mean"}}
    file = tmp_path / "mine.py"
    text = json.dumps(parameters).replace("FILE", str(file))
    hashes = []
    for source in (GOOD, GOOD + "# another line\n"):
        file.write_text(source)
        hashes.append(MODELS[kind].code_sha256(json.loads(text)))
    assert hashes[0] != hashes[1]
    assert all(hashes)


def test_the_file_of_a_wrapped_network_is_relative_to_the_configuration(tmp_path, experiment_folder):
    (tmp_path / "mine.py").write_text(GOOD)
    path = experiment_folder("""
[aggregate.model.cal]
kind = "calibrated"
model = "module"
parameters = {module = "mine.py:Mean", epochs = 1}
[aggregate.model.tried]
kind = "grid"
model = "module"
grid = {module = ["mine.py:Mean"]}
""")
    models = load_aggregate_config(path, ()).aggregate.model
    assert models["cal"].parameters["parameters"]["module"] == f"{tmp_path / 'mine.py'}:Mean"
    assert models["tried"].parameters["grid"]["module"] == [f"{tmp_path / 'mine.py'}:Mean"]

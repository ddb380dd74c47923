"""What changes the code part of a key: a line that computes, a library; no comment, and nothing of another model."""

import re
import shutil
from pathlib import Path

import pytest

import aggregate
from aggregate.models.registry import MODELS
from aggregate.store.code_versions import Sources
from aggregate.store.fit_cache import code_of_model

ROOT = Path(aggregate.__file__).resolve().parents[1]
HERE = Sources(ROOT)
ATTENTION, XGBOOST = "aggregate.models.attention_mil", "aggregate.models.boosting"


@pytest.fixture
def copied(tmp_path) -> Path:
    for package in ("aggregate", "pipeline"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=lambda _, names: {"__pycache__"} & {*names}
        )
    return tmp_path


def keys(sources: Sources) -> dict[str, str]:
    return {kind: sources.sha256(model.__module__) for kind, model in MODELS.items()}


def test_comments_docstrings_and_layout_leave_every_key_as_it_is(copied):
    for path in (copied / "aggregate" / "models").glob("*.py"):
        text = re.sub(
            r'"""(.*?)"""', r'"""Otherwise. \1"""', path.read_text(encoding="utf-8"), flags=re.DOTALL
        )
        text = text.replace(",\n", ",\n\n")
        path.write_text(f"# A comment.\n{text}\n\n# Another one.\n", encoding="utf-8")
    assert keys(Sources(copied)) == keys(HERE)


def test_a_changed_line_changes_the_keys_of_the_models_that_need_it_and_no_other(copied):
    path = copied / "aggregate" / "models" / "attention_mil.py"
    path.write_text(re.sub(r"(hidden: \w+ = )\d+", r"\g<1>77", path.read_text()))
    before, after = keys(HERE), keys(Sources(copied))
    changed = {kind for kind in before if before[kind] != after[kind]}
    # The others build on its network.
    assert changed == {
        "attention_mil", "phase_attention", "smooth_attention", "clam", "multiscale_attention",
    }  # fmt: skip


def test_a_change_of_what_every_model_needs_changes_every_key(copied):
    with (copied / "aggregate" / "models" / "base.py").open("a") as stream:
        stream.write("MORE = 1\n")
    before, after = keys(HERE), keys(Sources(copied))
    assert all(before[kind] != after[kind] for kind in before)


@pytest.mark.parametrize(
    ("package", "model", "is_changed"),
    [
        ("numpy", ATTENTION, True),
        ("numpy", XGBOOST, True),
        ("torch", ATTENTION, True),
        ("torch", XGBOOST, False),
        ("xgboost", ATTENTION, False),
        ("xgboost", XGBOOST, True),
        ("scipy", "aggregate.models.logistic", True),  # scikit-learn's solver
        ("pydantic", ATTENTION, False),  # it checks parameters, and computes nothing
    ],
)
def test_another_version_of_a_library_changes_the_keys_that_rest_on_it(package, model, is_changed):
    def other(name: str) -> str:
        return "0.0.1" if name == package else HERE.version_of(name)

    assert (Sources(ROOT, other).sha256(model) != HERE.sha256(model)) is is_changed


def test_every_library_that_is_imported_has_a_version():
    modules = {model.__module__ for model in MODELS.values()} | {"aggregate.explain.patient_measures"}
    libraries = HERE.libraries(*modules)
    assert libraries.pop("tabicl")  # of an extra, so it may be "not installed"
    assert {"numpy", "scipy", "scikit-learn", "scikit-image", "torch", "xgboost", "pandas"} == set(libraries)
    assert "not installed" not in libraries.values()


_OF_NO_MODEL = r"aggregate\.(?!models\.|cohort\.(chosen|patient|bag_sets|scales)$|statistics\.(fusion_rules|printed_probabilities)$)"


def test_no_model_rests_on_the_tables_of_all_kinds_nor_on_tables_and_reports():
    for model in MODELS.values():
        closure = HERE.closure(model.__module__)
        assert model.__module__ in closure
        assert not [name for name in closure if re.match(_OF_NO_MODEL, name)]
        assert not {"aggregate.models.plain", "aggregate.models.registry"} & {*closure}


def test_the_code_of_volumes_and_of_covariates_is_in_the_key_of_their_baselines():
    closure = HERE.closure(MODELS["tumour_size"].__module__, MODELS["covariates"].__module__)
    assert {"pipeline.quantities", "pipeline.covariates", "pipeline.bags"} <= {*closure}


def test_only_networks_from_outside_are_imported_by_a_name_that_no_source_says():
    """Their own hash stands in the key beside; `plain`, which finds every model, is in no key."""
    found = {
        path.stem
        for path in (ROOT / "aggregate" / "models").glob("*.py")
        if re.search(r"import_module|__import__|exec_module", path.read_text(encoding="utf-8"))
    }
    assert found == {"torchmil_network", "user_network", "plain"}


def test_a_wrapper_rests_on_the_code_of_what_it_has_inside_however_deep():
    def code(kind, **parameters):
        return code_of_model(kind, parameters)[0]

    calibrated, grid, stack = (MODELS[kind].__module__ for kind in ("calibrated", "grid", "stack"))
    assert code("calibrated", model="xgboost") == HERE.sha256(*sorted((calibrated, XGBOOST)))
    in_a_grid = {"model": "xgboost", "grid": {"rounds": [5, 9]}}
    expected = HERE.sha256(*sorted((calibrated, grid, XGBOOST)))
    assert code("calibrated", model="grid", parameters=in_a_grid) == expected
    stacked = {"a": {"kind": "grid", **in_a_grid}, "b": {"kind": "attention_mil"}}
    assert code("stack", models=stacked) == HERE.sha256(*sorted((stack, grid, XGBOOST, ATTENTION)))
    assert code("calibrated") == HERE.sha256(*sorted((calibrated, ATTENTION)))  # the default


def test_torchmils_version_is_in_the_key_of_its_models():
    pytest.importorskip("torchmil")
    _, own = code_of_model("module", {"module": "torchmil.models:ABMIL"})
    assert len(own) == 64

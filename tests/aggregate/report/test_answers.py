"""The three answers of the first screen, from tables whose numbers are set by hand."""

import json

import pytest

from aggregate.report.answers import answers
from aggregate.report.folder import ResultsFolder
from aggregate.tables.comparisons import BOOTSTRAP, COMPARISONS
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.results import ResultTables
from tests.aggregate.report.conftest import record

MODELS = {"attention": "attention_mil", "trees": "xgboost"}


def auc(model, value, low, high):
    return {"model": model, "class": "macro", "metric": "auc", "estimate": value, "ci_low": low, "ci_high": high,
            "ci_method": "bootstrap error", "n": 60, "n_positive": None, "sd_over_repeats": None}  # fmt: skip


def pair(a, b, value, p, *, adjusted=None, primary=False):
    return {"model_a": a, "model_b": b, "class": "macro", "metric": "auc", "test": BOOTSTRAP, "difference": value,
            "ci_low": value - 0.1, "ci_high": value + 0.1, "p_value": p, "p_adjusted": p if adjusted is None else adjusted,
            "n_comparisons": 6, "primary": primary, "n": 60, "n_positive": None, "note": ""}  # fmt: skip


@pytest.fixture
def told(tmp_path):
    """Return a function that writes two tables and returns the answers by their question."""

    def tell(performance, comparisons=(), **settings):
        run = record()
        run["config"]["aggregate"] |= {
            "model": {name: {"kind": kind} for name, kind in MODELS.items()},
            **settings,
        }
        (tmp_path / "run.json").write_text(json.dumps(run))
        tables = ResultTables(tmp_path)
        tables.write(PERFORMANCE, performance)
        tables.write(COMPARISONS, comparisons)
        return {note.lead: note.text for note in answers(ResultsFolder(tmp_path))}

    return tell


ABOVE = [auc("attention", 0.7, 0.6, 0.8), auc("trees", 0.75, 0.65, 0.85), auc("majority", 0.5, 0.5, 0.5),
         auc("covariates", 0.55, 0.45, 0.65), auc("phase_AP", 0.68, 0.58, 0.78)]  # fmt: skip


def test_a_model_works_if_it_is_above_chance_and_above_the_best_baseline_without_images(told):
    pairs = [pair("attention", "covariates", 0.15, 0.01), pair("attention", "majority", 0.2, 0.002)]
    text = told(ABOVE, pairs, explained_model="attention")["Does it work?"]
    assert text.startswith("Yes. attention (declared before the results) has a macro AUC of 0.70 [0.60,")
    assert "The best baseline without images, covariates, has 0.55 [0.45," in text
    # One phase sees the lesion: it is a model, and no baseline, though its AUC is higher.
    assert "phase_AP" not in text


def test_the_adjustment_of_a_declared_model_is_over_the_baselines_alone(told):
    # Holm over two: the smaller p is doubled, the larger one stays.
    pairs = [
        pair("attention", "covariates", 0.15, 0.02, adjusted=0.9),
        pair("attention", "majority", 0.2, 0.03),
    ]
    text = told(ABOVE, pairs, explained_model="attention")["Does it work?"]
    assert "p = 0.020, adjusted for 2 comparisons 0.040" in text


def test_above_chance_but_not_shown_above_the_baseline_is_said(told):
    pairs = [pair("attention", "covariates", 0.05, 0.4)]
    text = told(ABOVE, pairs, explained_model="attention")["Does it work?"]
    assert text.startswith("Better than chance, but not shown to be better than covariates.")


def test_a_model_at_chance_is_said_to_be_at_chance_and_what_it_saw_is_not_read(told):
    found = told(
        [auc("attention", 0.55, 0.45, 0.65), auc("trees", 0.6, 0.52, 0.7)], explained_model="attention"
    )
    assert found["Does it work?"].startswith("No: not better than chance.")
    assert found["What do the classes mean?"].startswith("Not read from attention")


def test_the_best_model_is_named_with_whether_its_lead_is_shown(told):
    text = told(ABOVE, [pair("attention", "trees", -0.05, 0.3)])["Which model is best?"]
    assert text.startswith("trees has the highest macro AUC of 2 models, 0.75 [0.65,")
    # The row compares attention with trees; the sentence says it the other way round.
    assert "Its lead over attention is 0.05 [\N{MINUS SIGN}0.05,\N{NO-BREAK SPACE}0.15], p = 0.300" in text
    assert "That it is better is not shown." in text


def test_a_model_behind_the_baseline_is_said_to_be_behind(told):
    text = told(ABOVE, [pair("attention", "covariates", -0.05, 0.4)], explained_model="attention")[
        "Does it work?"
    ]
    assert "attention is behind by 0.05 [\N{MINUS SIGN}0.05,\N{NO-BREAK SPACE}0.15]" in text


def test_a_declared_baseline_is_not_compared_with_itself(told):
    text = told(ABOVE, explained_model="covariates")["Does it work?"]
    assert "The best baseline without images, majority, has" in text


def test_a_run_without_a_model_of_images_says_so(told):
    performance = [auc("majority", 0.5, 0.5, 0.5), auc("covariates", 0.6, 0.52, 0.7)]
    assert told(performance)["Which model is best?"].startswith("No model of images was configured.")


def test_the_primary_comparison_is_told_whatever_it_shows(told):
    row = pair("attention", "trees", -0.05, 0.3, primary=True)
    text = told(ABOVE, [row])["Which model is best?"]
    assert text.endswith(
        "attention minus trees, macro AUC \N{MINUS SIGN}0.05 [\N{MINUS SIGN}0.15,\N{NO-BREAK SPACE}0.05], p = 0.300."
    )


@pytest.mark.parametrize(
    ("settings", "comparisons", "name", "rule"),
    [
        ({"explained_model": "trees"}, [], "trees", "declared before the results"),
        ({}, [pair("attention", "trees", 0.1, 0.5, primary=True)], "attention", "of the primary comparison"),
        ({}, [], "trees", "the highest macro AUC on these patients"),
    ],
)
def test_the_shown_model_is_the_declared_one_then_the_primary_one_then_the_best(
    told, settings, comparisons, name, rule
):
    assert f"{name} ({rule}) has a macro AUC" in told(ABOVE, comparisons, **settings)["Does it work?"]

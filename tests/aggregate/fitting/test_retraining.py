"""Training anew on some phases."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from aggregate.cohort.study_cohort import load_study
from aggregate.commands import application
from aggregate.fitting.cross_validation import cross_validate
from aggregate.fitting.retraining import retrained_probabilities
from aggregate.models.registry import build_model
from aggregate.planning.fit_tasks import ModelSpec
from aggregate.planning.plan import choose_folds, load_aggregate_config
from aggregate.store.fit_cache import FitCache
from pipeline.bags import write_bag
from pipeline.tables import read_table
from tests.conftest import CLASSES, PHASES, patients_of

TOML = '[aggregate.splits]\nfolds = 3\nrepeats = 1\n[aggregate.model.m]\nkind = "majority"\n'


class Quiet:
    def fitted(self, task, fit, *, from_cache):
        pass


def test_a_view_shows_the_named_phases_only(bags_and_labels):
    patients = patients_of(*bags_and_labels).in_phases({"AP", "DP"})
    for i, bag in enumerate(bags_and_labels[0]):
        seen = patients[i].bags["bags"]
        assert set(seen.phase.tolist()) <= {1, 3}
        assert patients[i].phases_present("bags") == tuple(
            p for p in bag.header.phases_present if p in ["AP", "DP"]
        )


def test_a_patient_without_the_phase_gets_the_class_frequencies(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(TOML), ())
    study = load_study(config)
    folds = choose_folds(config, study)
    without = np.array(["NC" not in header.phases_present for header in study.headers])
    assert without.any()

    def fit(seen, narrowed):
        assert not any(without[np.concatenate([f.train, f.tune, f.test])].any() for f in narrowed)
        spec = ModelSpec("m", "majority", {})
        return cross_validate(
            seen, narrowed, [spec], cache=FitCache(tmp_path / "cache"), seed=0, jobs=1, watcher=Quiet()
        )

    found = retrained_probabilities(
        study, folds, frozenset({"NC"}), np.arange(60), fit=fit, sees=build_model("mean_pooling", {}, 0).sees
    )
    assert np.allclose(found.sum(axis=2), 1)


def test_another_view_is_another_fit(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(TOML), ())
    study = load_study(config)
    folds = choose_folds(config, study)
    keys = [
        cross_validate(
            s, folds, [ModelSpec("m", "majority", {})], cache=FitCache(tmp_path / "c"), seed=0, jobs=1, watcher=Quiet()
        ).tasks["m"][0].key
        for s in (study, study.in_phases(frozenset({"AP"})))
    ]  # fmt: skip
    assert keys[0] != keys[1]


SMALL = """
[aggregate]
jobs = 1
[aggregate.splits]
folds = 2
repeats = 1
[aggregate.statistics]
draws = 100
[aggregate.model.attention]
kind = "attention_mil"
epochs = 1
"""
REASON = "no training on NC: repeat 0, fold {}: no training patient of class cHCC-CCA has any of these phases"


@pytest.fixture(scope="module")
def explained(tmp_path_factory, bags_and_labels):
    """Explain, with retraining, a cohort whose mixed tumours were all but once scanned without NC: its folder."""
    folder = tmp_path_factory.mktemp("retrained")
    rows, n_mixed_with_nc = ["patient_id,phase,image,mask,label"], 0
    for bag, label in zip(*bags_and_labels, strict=True):
        shown = {"AP"}
        if "NC" in bag.header.phases_present and (label != 2 or not n_mixed_with_nc):
            shown.add("NC")
            n_mixed_with_nc += label == 2
        missing = {phase: "no scan in the cohort table" for phase in PHASES if phase not in shown}
        sources = {phase: source for phase, source in bag.header.sources.items() if phase in shown}
        header = replace(bag.header, phases_missing=missing, sources=sources)
        write_bag(folder / "out" / "bags", replace(bag.in_phases(shown), header=header))
        rows += [f"{bag.patient_id},{phase},{phase}.nii.gz,,{CLASSES[label]}" for phase in sources]
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    toml = folder / "small.toml"
    toml.write_text('name = "small"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n' + SMALL)
    for words in (["run", str(toml)], ["explain", str(folder / "out"), "--retrain"]):
        assert CliRunner().invoke(application, words, catch_exceptions=False).exit_code == 0
    return folder / "out"


def test_a_subset_that_takes_a_class_from_a_training_fold_is_not_estimable_and_all_others_are(explained):
    rows = {
        row["phases"]: row
        for row in read_table(explained / "tables" / "phase_subsets.csv")
        if row["method"] == "retraining"
    }
    told = {phases: row["ci_method"] for phases, row in rows.items() if not row["estimate"]}
    assert told in [{"NC": f"not estimable: {REASON.format(fold)}"} for fold in (0, 1)]
    assert set(rows) == {"NC", "AP", "NC+AP"}


def test_what_rests_on_such_a_subset_says_why_it_has_no_number(explained):
    rows = read_table(explained / "tables" / "phase_value.csv")
    empty = {(r["method"], r["phase"], r["measure"]) for r in rows if not r["estimate"]}
    assert empty == {
        ("retraining", "NC", "shapley"),
        ("retraining", "AP", "shapley"),
        ("retraining", "NC", "auc_alone"),
        ("retraining", "AP", "auc_without"),
        ("retraining", "AP", "loss_without"),
    }
    assert all("not estimable: no training on NC" in r["ci_method"] for r in rows if not r["estimate"])
    of_model = [row for row in read_table(explained / "tables" / "phases.csv") if row["model"] == "attention"]
    assert {row["worth_by"] for row in of_model} == {"masking"}


def test_the_report_says_why(explained):
    page = (explained / "report.html").read_text(encoding="utf-8")
    assert any(REASON.format(fold) in page for fold in (0, 1))

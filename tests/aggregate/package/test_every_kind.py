"""Every kind of model of the registry becomes a package that says the same to the last bit, or is refused by name."""

import re
from pathlib import Path

import numpy as np
import pytest

from aggregate.cohort.study_cohort import load_study
from aggregate.cross_validated_run import Run
from aggregate.fitting.cross_validation import cross_validate, predictions_of
from aggregate.fitting.fitted_models import in_all_classes
from aggregate.models.registry import MODELS, build_model
from aggregate.package.bag_contract import contract_of
from aggregate.package.freezing import FreezeChoices, write_package
from aggregate.package.loaded_package import load_package
from aggregate.package.model_folders import check_freezable
from aggregate.planning.fit_tasks import ModelSpec
from aggregate.planning.plan import load_aggregate_config
from aggregate.planning.splits import repeated_folds
from aggregate.store.fit_cache import FitCache
from pipeline.errors import ConfigError, PackageError
from tests.aggregate.models.test_contract import INSIDE, QUICK
from tests.aggregate.package.conftest import RUN, new_bags, write_training
from tests.conftest import patients_of

REFUSED = {"random_forest": "as a pickle only", "tabicl": "holds the features of every training patient"}
OWN = {
    "covariates": {"covariates": ["age"]},
    "module": {"module": "torchmil.models:ABMIL", "epochs": 2},
    "random_forest": {},
    "tabicl": {},
}
KINDS = sorted(set(MODELS) - set(REFUSED))
NETWORK = """
from torch import nn

from aggregate.models.segments import segment_sum
from phasemil import Output


class Net(nn.Module):
    def __init__(self, n_features, n_phases, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_features, n_classes)

    def forward(self, instances):
        evidence = self.layer(instances.features)
        return Output(segment_sum(evidence, instances.bag, instances.n_bags))
"""


class NoOneWatches:
    def fitted(self, task, fit, *, from_cache):
        """Take no note."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    config = load_aggregate_config(write_training(tmp_path_factory.mktemp("kinds"), RUN), ())
    return config, load_study(config)


def parameters_of(kind: str) -> dict[str, object]:
    given = {**INSIDE, **OWN}.get(kind, {})
    valid = MODELS[kind]().get_params()
    return {**{name: value for name, value in QUICK.items() if name in valid}, **given}


def frozen(study, spec: ModelSpec, folder: Path):
    """Return the fitted models of a small cross-validation, and the package of them."""
    config, cohort = study
    config.output.mkdir(exist_ok=True)
    folds = repeated_folds(cohort.patients, folds=2, repeats=1, tune_share=0.25, seed=1)
    cache = FitCache(config.cache_folder)
    result = cross_validate(cohort, folds, [spec], cache=cache, seed=1, jobs=1, watcher=NoOneWatches())
    run = Run(config, cohort, (spec,), result, predictions_of(cohort, result), 0.0)
    folder.mkdir()
    check_freezable(spec.kind, spec.parameters, with_code=True)
    (config.results_folder / "run.json").write_text('{"config": {}}')
    choices = FreezeChoices(spec.name, "folds", with_code=True)
    write_package(run, contract_of(config, cohort, spec), result.tasks[spec.name], choices, folder)
    return result.tasks[spec.name], load_package(folder, run_code=True)


def in_memory(study, task):
    """Fit the model of a task again, as the cross-validation did."""
    _, cohort = study
    patients, codes = cohort.patients, cohort.patients.codes
    model = build_model(task.spec.kind, task.spec.parameters, random_state=task.seed)
    tune = patients.take(task.fold.tune), codes[task.fold.tune]
    return model.fit(patients.take(task.fold.train), codes[task.fold.train], tune=tune)


def asked_patients():
    patients = patients_of(new_bags(6), np.zeros(6))
    from pipeline.covariates import read_covariate  # noqa: PLC0415

    ages = read_covariate("age", {p: str(50 + i) for i, p in enumerate(patients.patient_ids)})
    object.__setattr__(patients, "covariates", {"age": ages})
    return patients


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_the_same_from_a_package(kind, study, tmp_path):
    if kind == "module":
        pytest.importorskip("torchmil")
    tasks, package = frozen(study, ModelSpec(kind, kind, parameters_of(kind)), tmp_path / "package")
    patients = asked_patients()
    said = [
        in_all_classes((model := in_memory(study, task)).predict_proba(patients), model, 3, absent=0.0)
        for task in tasks
    ]
    np.testing.assert_array_equal(package.uncalibrated(patients), np.mean(said, axis=0))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_frozen_is_refused_by_name(kind):
    for parameters in ((kind, {}), ("average", {"models": {"inside": {"kind": kind}}})):
        with pytest.raises(PackageError, match=rf"kind '{kind}' cannot be frozen: .*{REFUSED[kind]}"):
            check_freezable(*parameters, with_code=True)


def test_every_kind_is_frozen_or_refused():
    assert set(KINDS) | set(REFUSED) == set(MODELS)


@pytest.mark.parametrize("inside", ["alone", "in an ensemble", "in an average"])
def test_a_network_of_a_file_goes_with_the_package_when_that_is_said(inside, study, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(NETWORK)
    own = {"module": f"{file}:Net", "epochs": 2}
    spec = {
        "alone": ModelSpec("mine", "module", own),
        "in an ensemble": ModelSpec("mine", "ensemble", {"model": "module", "parameters": own, "members": 2}),
        "in an average": ModelSpec("mine", "average", {"models": {"mine": {"kind": "module", **own}}}),
    }[inside]
    with pytest.raises(ConfigError, match=r"a network of mine\.py, .* say --with-code"):
        check_freezable(spec.kind, spec.parameters, with_code=False)
    tasks, package = frozen(study, spec, tmp_path / "package")
    patients = asked_patients()
    said = [in_memory(study, task).predict_proba(patients) for task in tasks]
    file.unlink()
    moved = (tmp_path / "package").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=re.escape("say --run-code")):
        load_package(moved)
    package = load_package(moved, run_code=True)
    np.testing.assert_array_equal(package.uncalibrated(patients), np.mean(said, axis=0))
    assert all(
        str(tmp_path / "mine.py").encode() not in path.read_bytes()
        for path in moved.rglob("*")
        if path.is_file()
    )

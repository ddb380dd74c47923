"""Explain a finished run: out-of-fold models from the cache, slices from the store, tables beside the others."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from aggregate.cohort.folds import Fold
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.cross_validated_run import Run, cross_validate_all
from aggregate.explain.inputs import ExplainableModel, OutOfFoldModels
from aggregate.explain.measures_cache import MeasuredPatients
from aggregate.explain.patient_measures import sets_with_measures
from aggregate.explain.phase_value import Evaluate
from aggregate.explain.pictures import ReadPatient
from aggregate.explain.resampling import resampling_of
from aggregate.explain.signs import remarks_on_roles
from aggregate.explain.writing import Aids, Retrain, explain
from aggregate.fitting.cross_validation import OutOfFold
from aggregate.fitting.retraining import retrained_probabilities
from aggregate.models.base import Attends, GivesEvidence
from aggregate.models.registry import build_model, load_model, may_weigh_slices
from aggregate.store.fit_cache import FitCache
from aggregate.tables.results import ResultTables
from pipeline.errors import ResultsError
from pipeline.phase_roles import phase_roles
from pipeline.store import SliceStore, StoredPatient


def explain_run(run: Run, tables: ResultTables, *, retrain: bool) -> list[str]:
    """Write what explains a run, tables and pictures; return remarks on what could not be explained, and why."""
    settings = run.config.aggregate.statistics
    remarks, roles = [], phase_roles(run.config.cohort)
    inputs = out_of_fold_models(
        run.study,
        run.result,
        FitCache(run.config.cache_folder),
        first=run.config.aggregate.explained_model,
    )
    if not inputs.models:
        remarks.append(
            "no model of this run has attention: attention, phases and slice votes are not written"
        )
    store = SliceStore(run.config.store_path)
    lacking = [name for name in run.study.patients.patient_ids if store.key_of(name) is None]
    measured_in = sets_with_measures(run.study.matched.headers)
    if lacking:
        what = "pictures are" if measured_in else "concepts and pictures are"
        remarks.append(
            f"{store.folder} lacks {len(lacking)} patients, such as {lacking[0]}: {what} not written"
        )
    if measured_in or not lacking:
        remarks += remarks_on_roles(roles)
    resampling = resampling_of(
        run.study.patients.codes, draws=settings.draws, seed=settings.seed, confidence=settings.confidence
    )
    aids = Aids(
        read_patient=None if lacking else _reader(store, run.study),
        measured_in=measured_in,
        kept=MeasuredPatients(
            run.config.cache_folder,
            lambda name: f"{store.content_of(name)}{run.study.view_of_first_set}",
        ),
        retrain=_retraining(run) if retrain else None,
        roles=roles,
        png_dpi=run.config.aggregate.figures.png_dpi,
        jobs=run.config.aggregate.jobs,
        shown_cases=run.config.aggregate.shown_cases,
    )
    explain(tables, inputs, run.predictions, resampling, aids=aids, seed=run.config.aggregate.seed)
    return remarks


def _reader(store: SliceStore, study: StudyCohort) -> ReadPatient:
    """Read what is stored of the phases that the study sees."""
    return partial(_read_patient, store, study.phase_names)


def _read_patient(store: SliceStore, phases: Sequence[str], patient_id: str) -> StoredPatient:
    stored = store.read(patient_id, with_planes=False)
    return replace(stored, phases=tuple(slices for slices in stored.phases if slices.phase in phases))


def out_of_fold_models(
    study: StudyCohort, result: OutOfFold, cache: FitCache, *, first: str | None = None
) -> OutOfFoldModels:
    """Load the fitted models that can be explained, in the order of the configuration but for `first`.

    Raises:
        ResultsError: a fit of the cache lacks its model.
    """
    models = {}
    for name in sorted(result.tasks, key=lambda name: name != first):
        tasks = result.tasks[name]
        if may_weigh_slices(tasks[0].spec.kind, tasks[0].spec.parameters):
            loaded = [(task.fold, _load(cache, task.key, name)) for task in tasks]
            if all(model.weighs_slices for _, model in loaded):  # a user's network tells it once it is there
                models[name] = loaded
    return OutOfFoldModels(models, study.patients)


def _load(cache: FitCache, key: str, name: str) -> ExplainableModel:
    model = load_model(cache.model_folder(key))
    if not (isinstance(model, Attends) and isinstance(model, GivesEvidence)):
        raise ResultsError(
            f"{cache.model_folder(key)}: model {name} gives no attention; remove the cache and run again"
        )
    return model


def _retraining(run: Run) -> Retrain:
    """Return, per model, the evaluation that trains it anew on a subset of the phases."""
    folds = run.result.folds
    specs = {spec.name: spec for spec in run.specs}

    def of_model(name: str, patients: Sequence[int]) -> Evaluate:
        asked = np.array(patients, dtype=np.intp)

        def fit(study: StudyCohort, narrowed: Sequence[Fold]) -> OutOfFold:
            return cross_validate_all(run.config, study, narrowed, [specs[name]])

        sees = build_model(specs[name].kind, specs[name].parameters, random_state=0).sees
        return lambda phases: retrained_probabilities(run.study, folds, phases, asked, fit=fit, sees=sees)

    return of_model

"""What a study asks beyond its grid: learning curves, robustness and projections, from further fits and the fitted models."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from threadpoolctl import threadpool_limits

from aggregate.cohort.folds import Fold
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.config import AggregateConfig
from aggregate.cross_validated_run import Run, cross_validate_all
from aggregate.fitting.cross_validation import OutOfFold
from aggregate.fitting.fitted_models import changed_probabilities, fitted_models, probabilities_of_new
from aggregate.fitting.smaller_training import CurvePoint, curve_points
from aggregate.planning.fit_tasks import ModelSpec
from aggregate.planning.study_grid import grid_of
from aggregate.store.fit_cache import FitCache
from aggregate.study.basis import StudyBasis
from aggregate.study.learning_curve import LEARNING_CURVE, learning_curve_rows
from aggregate.study.projection import PROJECTION, projection_rows
from aggregate.study.robustness import ROBUSTNESS, robustness_rows
from aggregate.tables.results import ResultTables
from pipeline.bags import HISTOLOGY
from pipeline.names import phase_vocabulary

Rows = Iterator[Mapping[str, Any]]


def fit_learning_curves(run: Run) -> list[CurvePoint]:
    """Train what the learning curves need; fits are kept in the cache as those of the grid are."""
    section = run.config.aggregate.study and run.config.aggregate.study.learning_curve
    if not section:
        return []
    specs = {spec.name: spec for spec in run.specs}
    points: list[CurvePoint] = []
    for name in (name for name in dict.fromkeys(section.models) if name in run.result.tasks):
        points += curve_points(
            run.study,
            run.result.folds,
            name,
            section.shares,
            fit=partial(_cross_validate, run.config, specs[name]),
            seed=run.config.aggregate.seed,
        )
    return points


def keys_of(points: Sequence[CurvePoint]) -> Mapping[str, Sequence[str]]:
    """Return the keys of the fits of the learning curves, as run.json names them."""
    return {f"{point.model}, share {point.share:g}": point.keys for point in points}


def write_asked_tables(
    run: Run, points: Sequence[CurvePoint], basis: StudyBasis, tables: ResultTables
) -> None:
    """Write the tables that need fitted models, and so cannot be made again from the predictions alone."""
    study = basis.study
    # The products are small: a second thread costs more than it computes.
    with threadpool_limits(limits=1):
        if study.learning_curve:
            targets = study.learning_curve.extrapolate_to
            tables.write(LEARNING_CURVE, learning_curve_rows(basis, points, targets))
        if study.robustness:
            tables.write(ROBUSTNESS, _robustness(run, basis))
        if run.study.projected:
            tables.write(PROJECTION, _projection(run, basis), {"class": run.predictions.classes})


def _cross_validate(
    config: AggregateConfig, spec: ModelSpec, study: StudyCohort, folds: Sequence[Fold]
) -> OutOfFold:
    return cross_validate_all(config, study, folds, [spec])


def _robustness(run: Run, basis: StudyBasis) -> Rows:
    section, cache = basis.study.robustness, FitCache(run.config.cache_folder)
    phases, asked = _phases_of(run), run.study.patients.index_of(run.predictions.patient_ids)
    for name in dict.fromkeys(section.models) if section else ():
        if section and name in run.result.tasks:
            models = fitted_models(run.result, name, cache)
            ask = partial(changed_probabilities, models, run.study.patients, asked)
            yield from robustness_rows(
                basis, name, ask, phases[name], section, seed=run.config.aggregate.seed
            )


def _phases_of(run: Run) -> Mapping[str, Sequence[str]]:
    """Return the phases that each configuration may see, in the order of the cohort's."""
    config, study = run.config, run.config.aggregate.study
    resolve = phase_vocabulary(config.cohort).find
    headers = [header for of_set in run.study.matched.headers.values() for header in of_set if header]
    present = {name for header in headers for name in header.phases_present if header.modality != HISTOLOGY}
    every = [
        name for name in dict.fromkeys(n for header in headers for n in header.phase_names) if name in present
    ]
    found = {}
    for one in grid_of(config):
        given = study.phases[one.levels["phases"]] if study and not one.is_beside else ()
        chosen = {resolve(text) or text for text in given}
        found[one.name] = [name for name in every if not chosen or name in chosen]
    return found


def _projection(run: Run, basis: StudyBasis) -> Rows:
    cohort, cache = run.study.projected, FitCache(run.config.cache_folder)
    for name in basis.names:
        if cohort and name in run.result.tasks:
            models = fitted_models(run.result, name, cache)
            scores = probabilities_of_new(models, cohort.patients, len(run.predictions.classes))
            yield from projection_rows(basis, name, cohort.patients, scores)

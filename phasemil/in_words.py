"""The answer in words: as lines for a terminal, as sentences for the page, as a record for other programs."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aggregate.package.training_measures import LESION_MEASURES
from phasemil.one_patient import OnePatient
from pipeline.provenance import software_versions

RESEARCH_ONLY = "For research use only: no medical device, no basis for decisions on patients."


def percent(share: float) -> str:
    """Return a probability as readers of reports write it; never as certain."""
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def decision(one: OnePatient) -> str:
    """Return what is decided, or that the model abstains."""
    found, level = one.answer.prediction_set or (), f"{100 * one.level.coverage:.0f} %"
    if one.answer.abstains:
        left = "no class is likely enough"
        if found:
            left = f"{', '.join(found[:-1])} and {found[-1]} cannot be told apart"
        return f"The model abstains: {left} (prediction set at {level} coverage)."
    return f"{found[0]}: the only class in the prediction set at {level} coverage."


def thresholds(one: OnePatient) -> str:
    """Return which classes reach their thresholds."""
    limits, called = one.package.decisions.thresholds, one.answer.called
    told = [
        f"{name} {'reaches' if called[name] else 'does not reach'} {percent(limit)}"
        for name, limit in limits.items()
        if limit is not None
    ]
    return f"Thresholds of the package (rule: {one.package.decisions.rule}): {', '.join(told) or 'none'}."


def calibrated(one: OnePatient) -> str:
    """Return how the probabilities are calibrated."""
    calibration = one.package.calibration
    if calibration.method == "of the model":
        how = f"by the model itself, on {calibration.learned_on}"
    else:
        how = f"by one temperature ({calibration.temperature:.2f}), learned on {calibration.learned_on}"
    return f"Probabilities are calibrated {how}; {calibration.n_patients} patients. In another hospital they may be off."


def covered(one: OnePatient) -> str:
    """Return how often prediction sets held the class of training patients."""
    if one.level.found is None:
        return ""
    return (
        f"Among the training patients, each asked of models that had not seen the patient, {percent(one.level.found)} of the sets held "
        "the class of the patient."
    )


def missing(one: OnePatient) -> Iterator[str]:
    """Yield what is missing of the patient, and whether such patients were seen in training."""
    lacking = one.phases_missing
    yield f"Phases missing: {', '.join(lacking) or 'none'}."
    for name, column in one.package.contract.covariates.items():
        if name in one.answer.covariates_missing:
            given = one.covariates.get(name, "")
            why = (
                f"{given!r} is no word of the training patients ({', '.join(column.words)})"
                if given
                else "not known"
            )
            yield f"Covariate {name}: missing ({why})."
    n = one.n_of_combination
    if one.answer.is_combination_known:
        yield f"Phases seen by the model: {one.answer.combination}; {n} training patients had just these."
    else:
        yield (
            f"Phases seen by the model: {one.answer.combination}. No training patient had just these: what the model says is untested."
        )


def unlike(one: OnePatient) -> str:
    """Return how much of the patient is unlike the training patients."""
    if not one.n_compared:
        return "Whether the patient is like the training patients cannot be told: these are too few."
    told = f"Unlike 90 % of the training patients (of a distance: 95 %): {len(one.unlike)} of {one.n_compared} measures"
    usual = "of a patient like them about one in ten is"
    return f"{told}; {usual}{': ' + '; '.join(one.unlike) if one.unlike else ''}."


def printed(one: OnePatient) -> Iterator[str]:
    """Yield the lines of a terminal."""
    told = ", ".join(f"{name} {percent(p)}" for name, p in one.answer.probabilities.items())
    yield f"{one.answer.patient_id}: {told} (calibrated)"
    yield decision(one)
    yield thresholds(one)
    yield from missing(one)
    yield unlike(one)
    yield RESEARCH_ONLY


def record(one: OnePatient) -> Mapping[str, Any]:
    """Return the answer as JSON values."""
    answer, package = one.answer, one.package
    return {
        "format": "phasemil-patient",
        "version": 1,
        "research_use_only": True,
        "patient_id": answer.patient_id,
        "probabilities": dict(answer.probabilities),
        "calibration": package.calibration.model_dump(mode="json"),
        "predicted": answer.predicted,
        "called": dict(answer.called),
        "thresholds": dict(package.decisions.thresholds),
        "coverage": one.level.coverage,
        "prediction_set": list(answer.prediction_set or ()),
        "abstains": answer.abstains,
        "phases": list(one.phases_present),
        "phases_missing": list(one.phases_missing),
        "phases_seen": answer.combination,
        "phases_in_training": answer.is_combination_known,
        "training_patients_with_these_phases": one.n_of_combination,
        "covariates": dict(one.covariates),
        "covariates_missing": list(answer.covariates_missing),
        "covariates_outside": list(answer.covariates_outside),
        "phase_shares": [vars(share) for share in one.shares],
        "measures": {
            measure.key: _known(np.nan if one.measured is None else measure.of(one.measured))
            for measure in LESION_MEASURES
        },
        "unlike_training": {"n_compared": one.n_compared, "outside": list(one.unlike)},
        "remarks": list(one.remarks),
        "package_sha256": package.sha256,
        "experiment": package.record.experiment,
        "model": package.record.model,
        "software": dict(software_versions()),
        "seconds": {step: round(took, 3) for step, took in one.seconds.items()},
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

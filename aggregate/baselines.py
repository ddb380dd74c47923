"""The baselines that stand beside every model: what a classifier must beat before anybody should care."""

from collections.abc import Mapping, Sequence

from aggregate.config import AggregateSection
from aggregate.crossval import ModelSpec
from aggregate.study import Study

Covariates = Mapping[str, Mapping[str, str]]
"""Patient identifier -> column -> cell."""


def with_baselines(section: AggregateSection, study: Study) -> list[ModelSpec]:
    """Return the models of the configuration, then the baselines it does not name itself."""
    specs = [ModelSpec(name, model.kind, model.parameters) for name, model in section.model.items()]
    taken = {spec.name for spec in specs}
    baselines = _baselines(section, _phases_seen(study), _covariates_of(section, study))
    return specs + [spec for spec in baselines if section.baselines and spec.name not in taken]


def names_of_baselines(section: AggregateSection, phases: Sequence[str]) -> list[str]:
    """Return the names of the baselines that are run where all these phases are seen."""
    return [spec.name for spec in _baselines(section, phases, {})] if section.baselines else []


def _phases_seen(study: Study) -> list[str]:
    return [p for p in study.headers[0].phase_names if any(p in h.phases_present for h in study.headers)]


def _covariates_of(section: AggregateSection, study: Study) -> Covariates:
    return {
        patient.patient_id: {name: patient.covariates.get(name, "") for name in section.covariates}
        for patient in study.patients
    }


def _baselines(
    section: AggregateSection, phases: Sequence[str], covariates: Covariates
) -> Sequence[ModelSpec]:
    always = [
        ModelSpec("mean_pooling", "mean_pooling", {}),
        ModelSpec("majority", "majority", {}),
        ModelSpec("bag_size", "bag_size", {}),
        ModelSpec("tumour_size", "tumour_size", {}),
        ModelSpec("centre_slice", "centre_slice", {}),
    ]
    if section.covariates:
        always.append(ModelSpec("covariates", "covariates", {"covariates": covariates}))
    single = (
        [ModelSpec(f"phase_{p}", "single_phase", {"phase": p}) for p in phases] if len(phases) > 1 else []
    )
    return [*always, *single]

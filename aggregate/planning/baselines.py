"""The baselines that are run beside the models of the configuration; a useful model must be better."""

from collections.abc import Sequence

from aggregate.cohort.patient import ONLY_SET
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.config import AggregateSection
from aggregate.models.either import with_class_numbers
from aggregate.outcomes.planning import outcome_baselines, outcome_specs
from aggregate.planning.fit_tasks import ModelSpec
from pipeline.bags import HISTOLOGY

WITHOUT_IMAGE = frozenset({"majority", "bag_size", "tumour_size", "covariates"})
"""Kinds that see no features: what a model has to beat. The others that are run beside it see less of the same images."""

_OF_SLICES = frozenset({"tumour_size", "centre_slice"})
"""Kinds that know slices and their tumour area, which a bag of tiles does not have. Where there are scans beside the histology
the baselines look at the scans, whose sets come first."""


def with_baselines(section: AggregateSection, study: StudyCohort) -> list[ModelSpec]:
    """Return the models of the configuration, then the baselines it does not name itself."""
    if study.outcome is not None:
        return outcome_specs(section, study)
    classes = study.patients.classes
    specs = [
        ModelSpec(name, model.kind, with_class_numbers(model.kind, dict(model.parameters), classes))
        for name, model in section.model.items()
    ]
    taken = {spec.name for spec in specs}
    is_histology = study.headers_of_first_set[0].modality == HISTOLOGY
    baselines = [
        spec
        for spec in _baselines(section, _phases_seen(study), next(iter(study.patients.bag_sets)))
        if not (is_histology and spec.kind in _OF_SLICES)
    ]
    return specs + [spec for spec in baselines if section.baselines and spec.name not in taken]


def names_of_baselines(section: AggregateSection, phases: Sequence[str]) -> list[str]:
    """Return the names of the baselines that are run where all these phases are seen."""
    if not section.baselines:
        return []
    of_classes = section.task == "classification"
    return [s.name for s in (_baselines(section, phases, "") if of_classes else outcome_baselines(section))]


def _phases_seen(study: StudyCohort) -> list[str]:
    headers = study.headers_of_first_set
    return [name for name in study.phase_names if any(name in header.phases_present for header in headers)]


def _baselines(section: AggregateSection, phases: Sequence[str], bag_set: str) -> Sequence[ModelSpec]:
    """Return the baselines; those that look at a bag look at that of the first set, named where sets have names."""
    bags = {"bags": bag_set} if bag_set != ONLY_SET else {}
    always = [
        ModelSpec("mean_pooling", "mean_pooling", bags),
        ModelSpec("majority", "majority", {}),
        ModelSpec("bag_size", "bag_size", bags),
        ModelSpec("tumour_size", "tumour_size", bags),
        ModelSpec("centre_slice", "centre_slice", bags),
    ]
    if section.covariates:
        always.append(ModelSpec("covariates", "covariates", {"covariates": list(section.covariates)}))
    single = [ModelSpec(f"phase_{name}", "single_phase", {**bags, "phase": name}) for name in phases]
    return [*always, *(single if len(phases) > 1 else [])]

"""What a package asks of bags and covariates: contract.json, learned from the training patients and held against new ones."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from aggregate.cohort.bag_sets import header_in_phases
from aggregate.cohort.patient import ONLY_SET, Patient
from aggregate.cohort.patients import Patients
from aggregate.cohort.slide_files import SlideFormat
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.config import AggregateConfig
from aggregate.models.base import PatientEstimator
from aggregate.models.baselines import SinglePhase
from aggregate.models.registry import model_class
from aggregate.models.wrappers import HoldsModels
from aggregate.planning.fit_tasks import ModelSpec
from pipeline.bags import CT, BagHeader, FeatureBlock, Recipe, differences
from pipeline.covariates import Kind
from pipeline.errors import BagError

CONTRACT = "contract.json"
FEWEST_TOLD = 5
"""A group of fewer training patients is told as "<5", and a word of fewer is no word of a group."""
_TRAINING = "the training patients"
NO_BAG = "none"
"""In place of the phases, where a patient has no bag in a set."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class BagContract(_Part):
    """What the bags of one set must be."""

    modality: str
    format: SlideFormat | None
    """What writes the files, of histology features of another program; null for bags."""
    encoder: str
    layer: str
    weights_name: str
    weights_sha256: str
    precision: str
    preprocessing: dict[str, Any]
    preprocessing_sha256: str
    phase_names: tuple[str, ...]
    scale_names: tuple[str, ...]
    feature_blocks: tuple[tuple[str, int, int], ...]
    """Name, first column, first column after it."""
    measure_names: tuple[str, ...]
    measure_units: tuple[str, ...]
    radiomics_names: tuple[str, ...]
    radiomics_settings: dict[str, Any]
    is_in_phases: bool
    """Whether a bag is read in the phases of `phase_names` alone, as scans are."""

    @classmethod
    def of(cls, header: BagHeader, source_format: SlideFormat | None, *, is_in_phases: bool) -> "BagContract":
        """Return the contract that the header of a training patient keeps."""
        recipe = header.recipe
        names = ("encoder", "layer", "weights_name", "weights_sha256", "precision", "preprocessing_sha256")
        own = ("modality", "phase_names", "scale_names", "measure_names", "measure_units", "radiomics_names")
        return cls(
            **{name: getattr(recipe, name) for name in names},
            **{name: getattr(header, name) for name in own},
            format=source_format,
            preprocessing=dict(recipe.preprocessing),
            feature_blocks=tuple((one.name, one.start, one.stop) for one in header.feature_blocks),
            radiomics_settings=dict(header.radiomics_settings),
            is_in_phases=is_in_phases,
        )

    @property
    def header(self) -> BagHeader:
        """A header that keeps the contract, to compare others with."""
        recipe = Recipe(
            self.encoder,
            self.layer,
            self.weights_name,
            self.weights_sha256,
            self.precision,
            self.preprocessing,
        )
        return BagHeader(
            patient_id=_TRAINING,
            phase_names=self.phase_names,
            phases_missing={},
            scale_names=self.scale_names,
            recipe=recipe,
            sources={},
            content_key="",
            tile_size_um=0.0,
            tile_size_px=0,
            modality=self.modality,
            feature_blocks=tuple(FeatureBlock(*block) for block in self.feature_blocks),
            measure_names=self.measure_names,
            measure_units=self.measure_units,
            radiomics_names=self.radiomics_names,
            radiomics_settings=self.radiomics_settings,
        )

    def shown(self, header: BagHeader, place: str) -> BagHeader:
        """Return the header of a new patient's bag as the model reads it, in the phases of the contract.

        Raises:
            BagError: the bag is of another encoder, preprocessing or layout; both values are named.
        """
        if self.is_in_phases and header.modality == self.modality:
            unknown = [name for name in self.phase_names if name not in header.phase_names]
            if unknown:
                raise BagError(
                    f"{place}: phase {unknown[0]} of the package is in no bag: the package has {', '.join(self.phase_names)}, "
                    f"the bag {', '.join(header.phase_names)}; extract it with [cohort] phases as in stage1.toml of the package"
                )
            header = header_in_phases(header, self.phase_names)
        for what, trained, found in differences(self.header, header):
            raise BagError(
                f"{place}: {what} of the bag is {found}, the package was trained on {trained}; extract it with the settings "
                "of stage1.toml in the package"
            )
        return header


class CovariateContract(_Part):
    """What a column of the cohort table must be."""

    kind: Kind
    words: tuple[str, ...] = ()
    """Of a category, the words of the training patients that the model knows; sorted."""


class PackageContract(_Part):
    """What a package asks of new patients, and what it names."""

    classes: tuple[str, ...]
    phases: tuple[str, ...]
    """Of scans, in acquisition order, as the configuration names them."""
    phase_roles: dict[str, str | None]
    phase_aliases: dict[str, str]
    label_aliases: dict[str, str]
    bag_sets: dict[str, BagContract]
    """The sets that the model reads."""
    phases_read: tuple[str, ...]
    """Those that the model looks at; empty for all."""
    covariates: dict[str, CovariateContract]
    """The columns of the cohort table that the model reads."""
    combinations: dict[str, int | str]
    """Phases that a training patient had of those that the model looks at -> how many had just these, or "<5"."""

    def combination(self, patient: Patient) -> str:
        """Return which of the phases that the model looks at a patient has, as `combinations` names it."""
        told = {name: self._phases_of(patient, name) for name in self.bag_sets}
        if len(told) == 1:
            return next(iter(told.values()))
        return "; ".join(f"{name}: {phases}" for name, phases in told.items())

    def has_phases(self, patient: Patient) -> bool:
        """Return whether a patient has any of the phases that the model looks at, in any set."""
        return any(self._phases_of(patient, name) != NO_BAG for name in self.bag_sets)

    def _phases_of(self, patient: Patient, bag_set: str) -> str:
        present = patient.phases_present(bag_set)
        is_chosen = bool(self.phases_read) and self.bag_sets[bag_set].is_in_phases
        shown = [name for name in present if name in self.phases_read] if is_chosen else present
        return "+".join(shown) or NO_BAG


def contract_of(config: AggregateConfig, study: StudyCohort, spec: ModelSpec) -> PackageContract:
    """Return what a model asks of new patients, as its training patients were.

    Args:
        config: of the run.
        study: the training patients.
        spec: the model.
    """
    reads = model_class(spec.kind).reads(spec.parameters)
    every_set = list(study.matched.headers)
    is_only = len(every_set) == 1 and "" in reads.bag_sets
    names = [name for name in every_set if name in reads.bag_sets or is_only]
    cohort = config.cohort
    contract = PackageContract(
        classes=study.patients.classes,
        phases=cohort.phases,
        phase_roles=cohort.phase_roles.model_dump(),
        phase_aliases=dict(cohort.phase_aliases),
        label_aliases=dict(cohort.label_aliases),
        bag_sets={name: _bag_contract(config, study, name) for name in names},
        phases_read=_phases_read(spec, cohort.phases),
        covariates={name: _covariate(study.patients, name) for name in sorted(reads.covariates)},
        combinations={},
    )
    found = Counter(contract.combination(study.patients[i]) for i in range(len(study.patients)))
    return contract.model_copy(update={"combinations": dict(sorted(told_counts(found).items()))})


def told_counts(counts: Mapping[str, int]) -> dict[str, int | str]:
    """Return counts of patients, those of small groups as "<5"."""
    return {name: n if n >= FEWEST_TOLD else f"<{FEWEST_TOLD}" for name, n in counts.items() if n}


def rare_words(patients: Patients, contract: PackageContract) -> Mapping[str, int]:
    """Return, by covariate that the model reads, how many words fewer than five training patients have; none left out."""
    found: dict[str, int] = {}
    for name, covariate in contract.covariates.items():
        if covariate.kind is Kind.CATEGORY:
            counts = Counter(filter(None, _words_of(patients, name)))
            rare = sum(n < FEWEST_TOLD for n in counts.values())
            found |= {name: rare} if rare else {}
    return found


def _words_of(patients: Patients, name: str) -> Iterator[str]:
    words = patients.covariates[name].words
    yield from (words[patient_id] for patient_id in patients.patient_ids)


def _covariate(patients: Patients, name: str) -> CovariateContract:
    column = patients.covariates[name]
    if column.kind is not Kind.CATEGORY:
        return CovariateContract(kind=column.kind)
    return CovariateContract(
        kind=column.kind, words=tuple(sorted(set(filter(None, _words_of(patients, name)))))
    )


def _bag_contract(config: AggregateConfig, study: StudyCohort, name: str) -> BagContract:
    header = next(header for header in study.matched.headers[name] if header)
    source = config.bag_sources.get(name) or config.bag_sources[ONLY_SET]
    return BagContract.of(header, source.format, is_in_phases=header.modality == CT)


def _phases_read(spec: ModelSpec, phases: Sequence[str]) -> tuple[str, ...]:
    """Return the phases that a model, or any model in it, looks at; none where one looks at all."""
    model = model_class(spec.kind)
    every_model = [(model, spec.parameters), *model.models_inside(spec.parameters)]
    read: set[str] = set()
    for kind, parameters in every_model:
        if issubclass(kind, HoldsModels):
            continue
        own = _phases_of_kind(kind, parameters)
        if own is None:
            return ()
        read |= own
    return tuple(name for name in phases if name in read)


def _phases_of_kind(kind: type[PatientEstimator], parameters: Mapping[str, Any]) -> set[str] | None:
    """Return the phases that one model, without others inside, looks at; None for all that there are."""
    if kind is SinglePhase:
        return {str(parameters["phase"])}
    if not kind.reads(parameters).bag_sets:
        return set()
    has_phases = any(field.name == "phases" for field in fields(kind))
    chosen = parameters.get("phases", ()) if has_phases else ()
    return {str(name) for name in np.atleast_1d(chosen)} if len(chosen) else None

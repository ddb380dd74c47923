"""The patients of an experiment, matched with their bags, and the patients left out."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.matching import MatchedCohort, match_cohort
from aggregate.cohort.patient import Reads
from aggregate.cohort.patients import Patients
from aggregate.config import AggregateConfig
from aggregate.outcomes.outcome import Outcome
from aggregate.outcomes.reading import groups_of, outcome_of, with_outcomes
from pipeline.bags import RANDOM_BANNER, BagHeader, arrays_sha256
from pipeline.cohort import Exclusion
from pipeline.cohort import Patient as Row
from pipeline.provenance import canonical_json

UNSEEN = "model "
"""Prefix of the stage of an exclusion that concerns one model only; the model's name follows."""


@dataclass(frozen=True, eq=False)
class StudyCohort:
    """All patients with a label and a bag in at least one bag set, sorted by identifier.

    Attributes:
        name: name of the experiment.
        patients: the samples of the models.
        matched: rows of the cohort table, headers and recipes of the bags, exclusions.
        view: a further restriction of the bags beside the configuration's; a part of every fit's cache key.
        projected: the patients of classes that no model is trained on, kept aside to be scored; None where there are
            none.
        outcome: what is predicted where it is no class; the classes of the patients are then its groups.
    """

    name: str
    patients: Patients
    matched: MatchedCohort
    view: str = ""
    projected: "StudyCohort | None" = None
    outcome: Outcome | None = None

    @property
    def targets(self) -> NDArray[Any]:
        """What models are trained on (n,): the codes of the classes, or the values of the outcome."""
        return self.patients.codes if self.outcome is None else self.outcome.values

    @property
    def columns(self) -> tuple[str, ...]:
        """What a model says of a patient: a probability of each class, or the columns of the outcome."""
        return self.patients.classes if self.outcome is None else self.outcome.columns

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of the cohort table, in the order of the patients."""
        return self.matched.rows

    @property
    def exclusions(self) -> tuple[Exclusion, ...]:
        """The patients and phases left out, with the reason."""
        return self.matched.exclusions

    @cached_property
    def headers(self) -> tuple[BagHeader, ...]:
        """Header of the first bag of each patient, in the order of the bag sets."""
        sets = self.matched.headers.values()
        return tuple(
            next(header for header in of_patient if header) for of_patient in zip(*sets, strict=True)
        )

    @property
    def phase_names(self) -> tuple[str, ...]:
        """Phases of the first bag set."""
        return self.headers_of_first_set[0].phase_names

    @property
    def headers_of_first_set(self) -> tuple[BagHeader, ...]:
        """Headers of the first bag set, for the patients who have a bag in it."""
        return tuple(header for header in next(iter(self.matched.headers.values())) if header)

    @property
    def view_of_first_set(self) -> str:
        """The phases of the first bag set that the configuration uses; empty if it uses all."""
        return next(iter(self.matched.views.values()))

    @property
    def weights(self) -> str:
        """The encoder weights of the bag sets, as every table states them."""
        recipes = self.matched.recipes
        are_random = {name for name, recipe in recipes.items() if recipe.has_random_weights}
        named = {name: recipe.weights_name for name, recipe in recipes.items()}
        if 0 < len(are_random) < len(recipes):
            named |= {name: f"{RANDOM_BANNER} ({named[name]})" for name in are_random}
        told = "; ".join(f"{name}: {weights}" for name, weights in named.items())
        told = told if len(named) > 1 else next(iter(named.values()))
        return f"{RANDOM_BANNER} ({told})" if len(are_random) == len(recipes) else told

    @property
    def bag_keys(self) -> dict[str, dict[str, str]]:
        """Bag set -> patient -> content key of the bag, also of the patients kept aside."""
        return {
            name: {header.patient_id: header.content_key for header in headers if header}
            for name, headers in self.all_headers.items()
        }

    def bag_arrays(self) -> dict[str, dict[str, str]]:
        """Return bag set -> patient -> SHA-256 of the arrays of the bag, also of the patients kept aside; every bag is read."""
        found: dict[str, dict[str, str]] = {name: {} for name in self.matched.headers}
        for cohort in (self, *([self.projected] if self.projected else [])):
            for name, headers in cohort.matched.headers.items():
                bags = cohort.patients.bag_sets[name]
                present = [(i, header) for i, header in enumerate(headers) if header]
                found[name] |= {header.patient_id: arrays_sha256(bags[i]) for i, header in present}
        return found

    @property
    def all_headers(self) -> dict[str, tuple[BagHeader | None, ...]]:
        """Bag set -> header of each patient's bag, the patients kept aside last."""
        aside = self.projected.matched.headers if self.projected else {}
        return {name: (*of_set, *aside.get(name, ())) for name, of_set in self.matched.headers.items()}

    @property
    def everybody(self) -> "list[tuple[Patients, int, Row]]":
        """Every patient by identifier, those kept aside among the others: the table, the number in it, and the row."""
        cohorts = [self, *([self.projected] if self.projected else [])]
        found = [(one.patients, i, row) for one in cohorts for i, row in enumerate(one.rows)]
        return sorted(found, key=lambda patient: patient[2].patient_id)

    def keeping_aside(self, classes: Collection[str]) -> "StudyCohort":
        """Return the cohort without the patients of some classes, which are kept aside; the others keep their order.

        What trains and measures models then knows of no such class.
        """
        known = [name for name in self.patients.classes if name not in classes]
        is_aside = np.isin(self.patients.labels, list(classes))
        aside = self._of_classes(is_aside, [name for name in self.patients.classes if name in classes])
        return replace(self._of_classes(~is_aside, known), projected=aside)

    def _of_classes(self, is_wanted: NDArray[np.bool_], classes: Sequence[str]) -> "StudyCohort":
        numbers = np.flatnonzero(is_wanted)
        patients = self.patients.take(numbers)
        codes = np.array([classes.index(name) for name in patients.labels.tolist()], dtype=np.intp)
        patients = replace(patients, codes=codes, classes=tuple(classes))
        matched = replace(
            self.matched,
            rows=tuple(self.rows[i] for i in numbers),
            classes=patients.classes,
            bag_sets=patients.bag_sets,
            headers={
                name: tuple(of_set[i] for i in numbers) for name, of_set in self.matched.headers.items()
            },
        )
        return replace(self, patients=patients, matched=matched)

    def with_codes(self, codes: NDArray[np.intp]) -> "StudyCohort":
        """Return the same patients with other labels."""
        return replace(self, patients=replace(self.patients, codes=codes))

    def in_phases(self, phases: frozenset[str]) -> "StudyCohort":
        """Return the same patients without the instances of other phases."""
        return replace(self, patients=self.patients.in_phases(phases), view="+".join(sorted(phases)))

    def with_exclusions(self, exclusions: Sequence[Exclusion]) -> "StudyCohort":
        """Return the cohort with further exclusions."""
        matched = replace(self.matched, exclusions=(*self.exclusions, *exclusions))
        return replace(self, matched=matched)

    def contents(self, reads: Reads) -> list[str]:
        """Return the cache key of each patient's data for a fit that reads some bag sets and covariates."""
        every_set = list(self.matched.headers)
        named = reads.bag_sets | (set(every_set) if len(every_set) == 1 and "" in reads.bag_sets else set())
        sets = [name for name in every_set if name in named]
        return [canonical_json(self._content(i, sets, reads)) for i in range(len(self.patients))]

    def _content(self, patient: int, sets: Sequence[str], reads: Reads) -> list[object]:
        headers = [(name, self.matched.headers[name][patient]) for name in sets]
        bags = [[header.content_key, self.matched.views.get(name, "")] for name, header in headers if header]
        given = self.patients[patient].covariates
        covariates = {name: value for name, value in given.items() if name in reads.covariates}
        return [self.patients.patient_ids[patient], bags, self.view, covariates]


def load_study(config: AggregateConfig) -> StudyCohort:
    """Match the cohort table with the bag sets of the configuration; classes of a study's `project` are kept aside.

    Raises:
        BagError: as for `match_cohort`.
        CohortError: as for `match_cohort`.
    """
    if config.aggregate.task != "classification":
        return _study_of_outcome(config)
    matched = match_cohort(config.cohort, config.bag_sources)
    study = StudyCohort(config.name, Patients.of(matched), matched)
    asked = config.aggregate.study.project if config.aggregate.study else ()
    return study.keeping_aside(asked) if asked else study


def _study_of_outcome(config: AggregateConfig) -> StudyCohort:
    """Match the cohort table with the bag sets; the groups of the outcome are the classes."""
    task, section = config.aggregate.task, config.aggregate.outcome
    cohort = config.cohort.model_copy(update={"classes": groups_of(section, task)})
    labelled = partial(with_outcomes, section=section, task=task)
    matched = match_cohort(cohort, config.bag_sources, labelled=labelled)
    outcome = outcome_of(matched.rows, section, task)
    return StudyCohort(config.name, Patients.of(matched), matched, outcome=outcome)


def without_phases_seen(study: StudyCohort, sees: Mapping[str, NDArray[np.bool_]]) -> Iterator[Exclusion]:
    """List the patients for whom a model has no data, one exclusion per patient and model.

    Args:
        study: the patients.
        sees: model -> whether it has data of each patient (n,).
    """
    for model, is_seen in sees.items():
        for i in np.flatnonzero(~is_seen).tolist():
            yield Exclusion(
                study.patients.patient_ids[i],
                "",
                f"{UNSEEN}{model}",
                "no bag in the model's bag set, or none of the model's phases; the patient is not used to train the model "
                "and is predicted as the class shares of its training patients",
            )

"""Several fits of one model on different shares of the patients, averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.chosen import Chosen, Joined
from aggregate.models.base import Arrays, Labels, PatientEstimator, Samples, TunePatients, seed_of
from aggregate.models.class_codes import codes_among, encode_labels
from aggregate.models.parameters import AtLeastTwo
from aggregate.models.plain import PLAIN_MODELS
from aggregate.models.wrappers import Grid, Wrapper
from pipeline.bags import Bag


@dataclass(kw_only=True, eq=False, repr=False)
class Ensemble(Wrapper):
    """Mean probabilities of several fits, each tuned on another share of the training and tuning patients together.

    The patients are dealt to the members, class by class: a member stops early on its share and learns from all others.
    So every patient is learned from, and no single early stop decides. A class of one patient is learned by every member.
    Attention and evidence are means over the members.
    """

    kind: ClassVar[str] = "ensemble"

    model: str = "phase_concat"
    """Kind of the models inside."""
    members: AtLeastTwo = 5
    """Number of fits, and of shares; the seed of each is its own."""

    @classmethod
    def kinds_inside(cls) -> Mapping[str, type[PatientEstimator]]:
        """Return what may stand inside: a grid, too, so that each member chooses on its share."""
        return {**PLAIN_MODELS, Grid.kind: Grid}

    @property
    def weighs_slices(self) -> bool:
        """Whether every member has attention and evidence of single instances."""
        return all(model.weighs_slices for model in getattr(self, "members_", [self.new_inner()]))

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Fit every member on all but its share."""
        self.classes_, codes = encode_labels(labels)
        if tune is not None:
            patients = Joined(patients, tune[0])
            codes = np.concatenate([codes, codes_among(self.classes_, tune[1])])
        known = self.classes_[codes]
        seed = seed_of(self.random_state)
        share_of = _deal(codes, self.members, np.random.default_rng(seed))
        self.members_ = []
        for number, own in enumerate(np.random.SeedSequence(seed).generate_state(self.members)):
            rest, share = np.flatnonzero(share_of != number), np.flatnonzero(share_of == number)
            member = self.new_inner(random_state=int(own))
            member.fit(Chosen(patients, rest), known[rest], tune=(Chosen(patients, share), known[share]))
            self.members_.append(member)
        self.left_out_by_: dict[str, int] = {
            patients[i].patient_id: int(k) for i, k in enumerate(share_of) if k >= 0
        }

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return the mean of the members' class probabilities (patients, classes)."""
        mean: NDArray[np.float64] = self._of_members(patients).mean(axis=0)
        return mean

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of the member that did not learn from the patient (patients, classes).

        For a patient from whom all or no members learned, and for all once the model has been saved and loaded, the mean.
        """
        per_member = self._of_members(patients)
        means = per_member.mean(axis=0)
        left_out = [self.left_out_by_.get(patients[i].patient_id) for i in range(len(patients))]
        return np.stack([means[i] if k is None else per_member[k, i] for i, k in enumerate(left_out)])

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Say of which patients the members see anything (patients,)."""
        return (self.members_[0] if hasattr(self, "members_") else self.new_inner()).sees(patients)

    def seen_bags(self, patients: Samples) -> Sequence[Bag]:
        """Return the bags as the members see them."""
        self.check_fitted()
        return self.members_[0].seen_bags(patients)

    def attention(self, patients: Samples) -> list[NDArray[np.float64]]:
        """Return per patient the weight of each instance of the seen bag (n,), summing to 1."""
        return self._means_of("attention", patients)

    def instance_evidence(self, patients: Samples) -> list[NDArray[np.float64]]:
        """Return per patient the evidence of each instance of the seen bag for each class (n, classes)."""
        return self._means_of("instance_evidence", patients)

    def learned_arrays(self) -> Arrays:
        """Return nothing: the members keep what they learned."""
        return {}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take nothing; who left out whom is about patients, and is not saved."""
        self.left_out_by_ = {}

    def names_inside(self) -> Sequence[str]:
        """Return the folders of the members."""
        return [f"member_{number}" for number in range(self.members)]

    def fitted_inside(self) -> Sequence[PatientEstimator]:
        """Return the members."""
        return self.members_

    def set_fitted_inside(self, models: Sequence[PatientEstimator]) -> None:
        """Take over the members."""
        self.members_ = list(models)

    def _of_members(self, patients: Samples) -> NDArray[np.float64]:
        """Return the class probabilities of each member (members, patients, classes)."""
        return np.stack([member.predict_proba(patients) for member in self.members_])

    def _means_of(self, name: str, patients: Samples) -> list[NDArray[np.float64]]:
        self.check_fitted()
        per_member = [getattr(member, name)(patients) for member in self.members_]
        return [np.mean(of_bag, axis=0) for of_bag in zip(*per_member, strict=True)]


def _deal(codes: NDArray[np.intp], n_shares: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Deal patients to shares in turn, class by class, so that a class of two or more is in no share as a whole.

    scikit-learn's stratified folds warn of classes with fewer patients than folds.

    Returns:
        intp (n,), the share of each patient, -1 for the only one of a class.
    """
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    share_of = np.empty(len(codes), dtype=np.intp)
    share_of[order] = np.arange(len(codes)) % n_shares
    return np.where(np.bincount(codes)[codes] == 1, -1, share_of)

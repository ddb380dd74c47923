"""Attention over the instances of a bag, trained for an outcome: the networks of the classifiers, with one output."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from aggregate.models.attention_mil import AttentionMIL
from aggregate.models.base import Arrays, Labels, Tune, seed_of
from aggregate.models.mil import DTYPES, MILEstimator, shape_of
from aggregate.models.parameters import Count, Positive
from aggregate.models.phase_concat import PhaseConcat
from aggregate.models.training import Task, one_thread
from aggregate.models.views import SeenBags
from aggregate.outcomes.models.base import BagOutcomeEstimator, Floats
from aggregate.outcomes.models.outputs import OrdinalOutput, RegressionOutput, ScoreOutput, SurvivalOutput
from aggregate.outcomes.models.training import (
    CoxObjective,
    GradeObjective,
    Objective,
    ScoredTask,
    SquaredObjective,
    scores_of,
    train_scores,
)
from aggregate.outcomes.outcome import Values


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkOutcome(ScoreOutput, BagOutcomeEstimator, MILEstimator):
    """A network with one output per patient."""

    not_read: ClassVar[frozenset[str]] = frozenset({"class_weight", "bags_per_step"})

    epochs: Count = 300
    """Largest number of steps; each sees all training patients."""
    patience: Count = 40
    """Steps without a lower tuning loss after which training stops."""
    learning_rate: Positive = 1e-3
    """Learning rate of AdamW."""

    @abstractmethod
    def objective(self, values: Values, n_train: int) -> Objective:
        """Return the loss, of the outcomes of the training patients and then of the tuning patients."""

    def learn_beside(self, objective: Objective) -> None:
        """Keep what the objective learned beside the network; by default nothing."""
        del objective

    @property
    def n_outputs(self) -> int:
        """One score."""
        return 1

    def _try_building(self, bag: object, n_classes: int) -> None:
        del n_classes
        super()._try_building(bag, 1)  # type: ignore[arg-type]

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Train on `bags` with early stopping on `tune`."""
        values = labels if tune is None else np.concatenate([labels, tune[1]])
        n_train = len(labels)
        with one_thread(), self._own_random_numbers(seed_of(self.random_state)):
            packed = self._packed(bags, None if tune is None else tune[0])
            network = self.new_network(shape_of(packed, 1)).to(self.device)
            nothing = torch.zeros(0)
            self.measure(network, Task(packed, np.arange(n_train), np.arange(0), nothing, nothing))
            network = self._with_covariates(network, 1).to(self.device)
            objective = self.objective(values, n_train)
            self.course_ = train_scores(network, ScoredTask(packed, n_train, objective), self._training())
            self.best_epoch_ = self.course_.kept
            scores = scores_of(network, packed, np.arange(n_train), DTYPES[self.precision])
        self.network_ = network
        self.n_phases_, self.n_scales_ = packed.n_phases, packed.n_scales
        self.learn_beside(objective)
        self.learn_output(scores.cpu().numpy(), labels)

    def _predict_proba(self, bags: SeenBags) -> Floats:
        scores = [output.logits[:, 0].double() for output, _ in self._outputs(bags)]
        return self.columns_of(torch.cat(scores).cpu().numpy())

    def learned_arrays(self) -> Arrays:
        """Return the network, the scaling, and what makes columns of a score."""
        return {**super().learned_arrays(), **self.marked_output()}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore what `learned_arrays` returned."""
        super().set_learned_arrays(self.unmarked_output(arrays))


@dataclass(kw_only=True, eq=False, repr=False)
class CoxNetwork(NetworkOutcome, SurvivalOutput):
    """Cox's partial likelihood over all training patients of the fold at every step, ties by Efron."""

    def objective(self, values: Values, n_train: int) -> CoxObjective:
        """Return the partial likelihood."""
        return CoxObjective(values, n_train, self.device)


@dataclass(kw_only=True, eq=False, repr=False)
class RegressionNetwork(NetworkOutcome, RegressionOutput):
    """Squared error of the standardised number."""

    def objective(self, values: Values, n_train: int) -> SquaredObjective:
        """Return the squared error."""
        self.standardised(values[:n_train])
        return SquaredObjective(self.restandardised(values), n_train, self.device)


@dataclass(kw_only=True, eq=False, repr=False)
class OrdinalNetwork(NetworkOutcome, OrdinalOutput):
    """Cumulative logits with cut-offs that are learned with the network."""

    def objective(self, values: Values, n_train: int) -> GradeObjective:
        """Return the likelihood of the grades."""
        self.shares(values[:n_train])
        return GradeObjective(values, self.grades, n_train, self.device)

    def learn_beside(self, objective: Objective) -> None:
        """Keep the cut-offs."""
        if isinstance(objective, GradeObjective):
            self.cuts_ = objective.cuts().detach().double().cpu().numpy()


@dataclass(kw_only=True, eq=False, repr=False)
class AttentionCox(CoxNetwork, AttentionMIL):
    """Gated attention-MIL with Cox's partial likelihood over all training patients of the fold at every step."""

    kind: ClassVar[str] = "attention_cox"


@dataclass(kw_only=True, eq=False, repr=False)
class PhaseConcatCox(CoxNetwork, PhaseConcat):
    """The phases side by side with their differences, with Cox's partial likelihood over all training patients at every step."""

    kind: ClassVar[str] = "phase_concat_cox"


@dataclass(kw_only=True, eq=False, repr=False)
class AttentionRegression(RegressionNetwork, AttentionMIL):
    """Gated attention-MIL with the squared error of a number."""

    kind: ClassVar[str] = "attention_regression"


@dataclass(kw_only=True, eq=False, repr=False)
class PhaseConcatRegression(RegressionNetwork, PhaseConcat):
    """The phases side by side with their differences, with the squared error of a number."""

    kind: ClassVar[str] = "phase_concat_regression"


@dataclass(kw_only=True, eq=False, repr=False)
class AttentionOrdinal(OrdinalNetwork, AttentionMIL):
    """Gated attention-MIL with cumulative logits of a grade."""

    kind: ClassVar[str] = "attention_ordinal"


@dataclass(kw_only=True, eq=False, repr=False)
class PhaseConcatOrdinal(OrdinalNetwork, PhaseConcat):
    """The phases side by side with their differences, with cumulative logits of a grade."""

    kind: ClassVar[str] = "phase_concat_ordinal"

"""Training many fits of one network as one computation: every parameter has a leading axis of fits.

The fits are independent: none of them reads a number of another. Each has its own patients, scaling, seed,
order of bags and early stopping, so a fit gives the same result in a stack as alone, up to float rounding.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import groupby
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from aggregate.models.adamw import StackedAdamW
from aggregate.models.base import balanced_weights
from aggregate.models.packing import Batch, PackedBags, Scaling, draw_batch, scaling_of

Parameters = Mapping[str, Tensor]
_BAGS_PER_FORWARD = 8
_FLOATS_IN_CACHE = 2**22
"""What a step of the fits of one stack may take on a CPU, which is quickest on what its cache holds."""
_FLOATS_IN_MEMORY = 2**28
"""One gigabyte: what all stacks that train side by side may take for a step."""


@dataclass(frozen=True)
class Shape:
    """What a network must know of the bags before it draws its parameters."""

    n_features: int
    n_phases: int
    n_classes: int


class Network(ABC):
    """A network over a stack of fits."""

    @abstractmethod
    def initial(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Draw the parameters of one fit, without the axis of fits."""

    @abstractmethod
    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits (fits, bags, classes)."""

    def floats_per_fit(self, n_slices: int, n_features: int) -> int:
        """Return about how many numbers a training step of one fit keeps."""
        return n_slices * (2 * n_features + 1024)

    def training_outputs(
        self, parameters: Parameters, batch: Batch, target: Tensor
    ) -> tuple[Tensor, Tensor | float]:
        """Return the logits and a loss to be added (fits, bags), for target (fits, bags), -1 where no bag is."""
        del target
        return self.logits(parameters, batch), 0.0


@dataclass(frozen=True)
class Training:
    """How a network is trained."""

    epochs: int
    """Passes over the training bags at most."""
    patience: int
    """Epochs without a lower tuning loss after which a fit stops."""
    learning_rate: float
    """Step of AdamW."""
    weight_decay: float
    """Decoupled weight decay of AdamW."""
    bags_per_step: int
    """Training bags per step, about: an epoch is cut into equal steps."""
    dropout: float
    """Share of a bag embedding set to zero while training."""

    def steps_per_epoch(self, n_bags: int) -> int:
        """Return into how many steps an epoch over `n_bags` is cut."""
        return max(1, round(n_bags / self.bags_per_step))


@dataclass(frozen=True, eq=False)
class Job:
    """One fit.

    Attributes:
        train: intp, bags to train on.
        tune: intp, bags that decide when to stop; empty to train all epochs.
        codes: intp (bags,), class of every bag that is in train or tune.
        n_classes: number of classes.
        seed: of the initial parameters, the order of bags and the dropout.
        is_balanced: weigh the classes inversely to their training patients.
    """

    train: NDArray[np.intp]
    tune: NDArray[np.intp]
    codes: NDArray[np.intp]
    n_classes: int
    seed: int
    is_balanced: bool


@dataclass(frozen=True, eq=False)
class Fitted:
    """The result of one fit: its parameters and scaling with an axis of one fit, and its best epoch."""

    parameters: Parameters
    scaling: Scaling
    best_epoch: int


def train_jobs(
    network: Network, training: Training, packed: PackedBags, jobs: Sequence[Job]
) -> Iterator[tuple[int, Fitted]]:
    """Train all jobs, stacked where they have equally many classes and steps per epoch.

    Yields the number of each job with its fit, a stack at a time as it is done. On a CPU the stacks train side by
    side, each on its share of the threads.
    """
    n_threads = torch.get_num_threads()
    n_jobs = _stacks_at_once(network, training, packed, n_threads)
    stacks = list(_stacks_of(network, training, packed, jobs, at_least=n_jobs))
    packed.sums  # noqa: B018 - computed here once, before many threads ask for it
    stop = Event()

    def train(stack: Sequence[int]) -> list[Fitted]:
        if packed.features.device.type == "cpu":
            torch.set_num_threads(max(1, n_threads // len(stacks)))
        return _Stack(network, training, packed, [jobs[n] for n in stack]).train(stop)

    with ThreadPoolExecutor(n_jobs) as pool:
        futures: dict[Future[list[Fitted]], list[int]] = {}
        try:
            futures |= {pool.submit(train, stack): stack for stack in stacks}
            for future in as_completed(futures):
                yield from zip(futures[future], future.result(), strict=True)
        finally:
            # After Ctrl-C, or when nobody asks for the rest: no thread trains on while the program ends.
            stop.set()
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(n_threads)  # what a thread sets is what the threads after it begin with


def _stacks_at_once(network: Network, training: Training, packed: PackedBags, n_threads: int) -> int:
    """Return how many stacks train side by side: one on a GPU; on a CPU one a thread, as far as memory goes."""
    if packed.features.device.type != "cpu":
        return 1
    floats = _floats_per_fit(network, training, packed) * _fits_at_once(network, training, packed)
    return max(1, min(n_threads, _FLOATS_IN_MEMORY // floats))


def _stacks_of(
    network: Network, training: Training, packed: PackedBags, jobs: Sequence[Job], *, at_least: int
) -> Iterator[list[int]]:
    """Cut the jobs into stacks of equal shape, and each shape into `at_least` stacks where it has as many jobs."""

    def shape(number: int) -> tuple[int, int, bool]:
        job = jobs[number]
        return job.n_classes, training.steps_per_epoch(len(job.train)), len(job.tune) > 0

    most = _fits_at_once(network, training, packed)
    for _, numbers in groupby(sorted(range(len(jobs)), key=shape), key=shape):
        alike = np.array(list(numbers))
        n_stacks = min(len(alike), max(at_least, -(-len(alike) // most)))
        yield from (piece.tolist() for piece in np.array_split(alike, n_stacks))


def _fits_at_once(network: Network, training: Training, packed: PackedBags) -> int:
    budget = _FLOATS_IN_CACHE if packed.features.device.type == "cpu" else _FLOATS_IN_MEMORY
    return max(1, budget // _floats_per_fit(network, training, packed))


def _floats_per_fit(network: Network, training: Training, packed: PackedBags) -> int:
    n_slices = int(training.bags_per_step * packed.sizes.mean())
    return network.floats_per_fit(n_slices, packed.n_features)


class _Stack:
    """The fits that are still training, and the best state so far of all."""

    def __init__(self, network: Network, training: Training, packed: PackedBags, jobs: Sequence[Job]) -> None:
        self._network, self._training, self._packed, self._jobs = network, training, packed, list(jobs)
        device = packed.features.device
        drawn = [self._draw(job) for job in jobs]
        parameters = {name: torch.stack([one[name] for one in drawn]).to(device) for name in drawn[0]}
        self._best = {name: value.clone() for name, value in parameters.items()}
        self._optimizer = StackedAdamW(parameters, training.learning_rate, training.weight_decay)
        self._scaling = scaling_of(packed, [job.train for job in jobs])
        self._all_scaling = self._scaling
        self._weights = torch.stack([class_weights_of(job) for job in jobs]).to(device)  # (fits, classes)
        self._generators = [np.random.default_rng(job.seed) for job in jobs]
        self._active: NDArray[np.intp] = np.arange(
            len(jobs)
        )  # numbers of the jobs that are still in the stack
        self._best_loss = np.full(len(jobs), np.inf)
        self._best_epoch = np.zeros(len(jobs), dtype=np.intp)

    def train(self, stop: Event) -> list[Fitted]:
        """Train to the end and return the best state of each job.

        Raises:
            CancelledError: `stop` was set.
        """
        for epoch in range(self._training.epochs):
            self._train_epoch(stop)
            if not self._keep_best(epoch):
                break
        return [
            Fitted(
                parameters={name: value[fit : fit + 1].clone() for name, value in self._best.items()},
                scaling=self._all_scaling.take(torch.tensor([fit])),
                best_epoch=int(self._best_epoch[fit]),
            )
            for fit in range(len(self._jobs))
        ]

    def _draw(self, job: Job) -> Parameters:
        generator = torch.Generator().manual_seed(job.seed)
        shape = Shape(self._packed.n_features, self._packed.n_phases, job.n_classes)
        return self._network.initial(shape, generator)

    def _active_jobs(self) -> list[Job]:
        return [self._jobs[number] for number in self._active.tolist()]

    def _train_epoch(self, stop: Event) -> None:
        n_steps = self._training.steps_per_epoch(len(self._jobs[0].train))
        jobs = self._active_jobs()
        orders = [g.permutation(job.train) for g, job in zip(self._generators, jobs, strict=True)]
        cut = [np.array_split(order, n_steps) for order in orders]
        for step in range(n_steps):
            if stop.is_set():
                raise CancelledError
            chosen = [pieces[step] for pieces in cut]
            batch = replace(
                draw_batch(self._packed, chosen, self._scaling),
                dropout=self._training.dropout,
                generators=self._generators,
            )
            target = self._target(chosen)
            logits, extra = self._network.training_outputs(self._optimizer.parameters, batch, target)
            self._optimizer.step(self._losses(logits, target, extra).sum())

    def _target(self, bags: Sequence[NDArray[np.intp]]) -> Tensor:
        """Return the class of each bag of a batch (fits, bags), -1 where there is none."""
        target = np.full((len(bags), max(map(len, bags))), -1)
        for fit, (job, chosen) in enumerate(zip(self._active_jobs(), bags, strict=True)):
            target[fit, : len(chosen)] = job.codes[chosen]
        return torch.from_numpy(target).to(self._packed.features.device)

    def _losses(self, logits: Tensor, target: Tensor, extra: Tensor | float = 0.0) -> Tensor:
        """Return the weighted cross-entropy of each fit (fits,), the mean over its bags."""
        is_real = target >= 0  # (fits, bags)
        weight = self._weights.gather(1, target.clamp(min=0)) * is_real  # (fits, bags)
        entropy = functional.cross_entropy(
            logits.float().transpose(1, 2), target, ignore_index=-1, reduction="none"
        )  # (fits, bags)
        return (weight * (entropy + extra)).sum(dim=1) / is_real.sum(dim=1)

    def _keep_best(self, epoch: int) -> bool:
        """Keep the state of the fits that improved, drop those that ran out of patience; False when none is left."""
        losses = self._tune_losses(epoch)
        improved = losses < self._best_loss[self._active]
        self._best_loss[self._active[improved]] = losses[improved]
        self._best_epoch[self._active[improved]] = epoch
        here, there = torch.from_numpy(np.flatnonzero(improved)), torch.from_numpy(self._active[improved])
        for name, value in self._optimizer.parameters.items():
            self._best[name][there] = value.detach()[here]
        goes_on = epoch - self._best_epoch[self._active] < self._training.patience
        if not goes_on.all():
            self._shrink_to(np.flatnonzero(goes_on))
        return bool(goes_on.any())

    def _tune_losses(self, epoch: int) -> NDArray[np.float64]:
        """Return the loss on the tuning bags (fits,); without any, one that falls with every epoch."""
        tune = [job.tune for job in self._active_jobs()]
        if not len(tune[0]):
            return np.full(len(tune), -float(epoch))
        totals = torch.zeros(len(tune), dtype=torch.float64)
        counts = np.zeros(len(tune))
        with torch.inference_mode():
            for chosen in chunks_of_bags(tune):
                batch = draw_batch(self._packed, chosen, self._scaling)
                n_bags = np.array([len(c) for c in chosen])
                logits = self._network.logits(self._optimizer.parameters, batch)
                losses = self._losses(logits, self._target(chosen)).double().cpu()
                totals += losses.nan_to_num() * torch.from_numpy(n_bags)  # a fit without bags left has 0 / 0
                counts += n_bags
        means: NDArray[np.float64] = totals.numpy() / counts
        return means

    def _shrink_to(self, keep: NDArray[np.intp]) -> None:
        """Go on with some of the fits only."""
        chosen = torch.from_numpy(keep)
        self._optimizer.keep(chosen)
        self._scaling = self._scaling.take(chosen)
        self._weights = self._weights[chosen]
        self._generators = [self._generators[fit] for fit in keep]
        self._active = self._active[keep]


def class_weights_of(job: Job) -> Tensor:
    """Return the weight of each class (classes,), from the training bags of the job alone."""
    weights = (
        balanced_weights(job.codes[job.train], job.n_classes) if job.is_balanced else np.ones(job.n_classes)
    )
    return torch.from_numpy(weights).float()


def chunks_of_bags(bags: Sequence[NDArray[np.intp]]) -> Iterator[list[NDArray[np.intp]]]:
    """Cut each fit's bags into pieces that are small enough for one forward pass."""
    for begin in range(0, max(map(len, bags)), _BAGS_PER_FORWARD):
        yield [chosen[begin : begin + _BAGS_PER_FORWARD] for chosen in bags]

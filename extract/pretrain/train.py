"""Train an architecture, from scratch or from given weights, on images drawn by formula; the schedule counts steps, not time."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn

from extract.encoders import choose_precision
from extract.pretrain.formulas import formulas
from extract.pretrain.objective import TERMS, Learner, losses
from extract.pretrain.pool import Pool, from_grey
from extract.pretrain.settings import ObjectiveSettings, PretrainConfig, ViewSettings
from extract.pretrain.trunk import folded, undo_added_norms
from extract.pretrain.views import Views, draw_views
from pipeline.files import written_whole

CURVE = ("step", "cpu_minutes", "size", *TERMS)
"""Columns of the curve; the terms are means since the row before."""
_CURVE_ROWS = 120


@dataclass
class Run:
    """The state of a training: everything that a checkpoint holds."""

    learner: Learner
    averaged: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    cpu_seconds: float = 0.0
    curve: list[list[float]] = field(default_factory=list)

    def average(self, memory: float) -> None:
        """Update the moving average of the trunk; early in training it forgets faster."""
        memory = min(memory, (1 + self.step) / (10 + self.step))
        for name, value in self.learner.trunk.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - memory)
            else:
                self.averaged[name].copy_(value)

    def averaged_trunk(self) -> nn.Module:
        """Return the averaged trunk, in inference mode, as torchvision would build it."""
        network = copy.deepcopy(self.learner.trunk)
        network.load_state_dict(self.averaged)
        return folded(network)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "learner": self.learner.state_dict(), "averaged": self.averaged,
            "optimiser": self.optimiser.state_dict(), "step": self.step, "cpu_seconds": self.cpu_seconds,
            "curve": self.curve,
        }  # fmt: skip
        with written_whole(path) as sibling:
            torch.save(state, sibling)

    def load(self, path: Path, device: torch.device) -> None:
        """Restore the state from a checkpoint."""
        state = torch.load(path, map_location=device, weights_only=True)
        self.learner.load_state_dict(state["learner"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averaged = state["averaged"]
        self.step, self.cpu_seconds, self.curve = state["step"], state["cpu_seconds"], state["curve"]


def start(config: PretrainConfig, n_formulas: int, device: torch.device) -> Run:
    """Build the learner and go on from the checkpoint where there is one."""
    torch.manual_seed(config.seed)
    learner = Learner(config.architecture, n_formulas, config.begin_from).to(device)
    learner.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decayed = [p for p in learner.parameters() if p.ndim > 1]
    free = [p for p in learner.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}],
        lr=config.learning_rate, betas=(0.9, 0.98),
    )  # fmt: skip
    run = Run(learner, copied(learner.trunk), optimiser)
    path = checkpoint_path(config)
    if path.exists():
        run.load(path, device)
    return run


def copied(trunk: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state of a trunk, to which the running average begins."""
    return {name: value.clone() for name, value in trunk.state_dict().items()}


def checkpoint_path(config: PretrainConfig) -> Path:
    """Name the checkpoint of a configuration."""
    return config.output / f"{config.name}.checkpoint.pt"


def views_per_image(objective: ObjectiveSettings) -> int:
    """Return 2 where two views of an image are compared, else 1."""
    return 2 if objective.instance else 1


def precision_of(config: PretrainConfig, device: torch.device) -> str:
    """Return what the products are computed in: bfloat16 emulated by a CPU takes seven times as long as float32."""
    if config.precision != "auto":
        return config.precision
    return "float32" if choose_precision("auto", device) == "float32" else "bfloat16"


def rate(config: PretrainConfig, done: float) -> float:
    """Return the learning rate when the share `done` of the run is over: a short rise, then half a cosine."""
    rise = min(1.0, (done + 1e-3) / 0.03)
    return config.learning_rate * rise * (0.5 + 0.5 * math.cos(math.pi * min(1.0, done)))


def side(views: ViewSettings, done: float) -> int:
    """Return the side of the inputs in pixels when the share `done` of the run is over."""
    return views.size if done >= 1 - views.final_share else views.first_size


def train(config: PretrainConfig, progress: Progress) -> Run:
    """Train all steps; an interrupted training gives the same result when it is called again."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    members = formulas(config.pool.formulas, seed=config.seed)
    pool = Pool(
        config.pool.folder, members, images=config.pool.images, size=config.pool.size, seed=config.seed
    )
    run = start(config, len(members), device)
    drawing = progress.add_task("drawing the pool", total=pool.blocks)
    for _ in pool.bring_to(_redraws(config, run.step), device):
        progress.advance(drawing)
    if config.begin_from is not None and run.step == 0:
        undo_added_norms(run.learner.trunk, _inputs(_draw(config, 0, pool, device)[1]))
        run.averaged = copied(run.learner.trunk)
    bar = progress.add_task("training", total=config.steps, completed=run.step)
    for row in _steps(config, run, pool, device):
        told = f"training: loss {row[CURVE.index('loss')]:.3f}"
        progress.update(bar, completed=run.step, description=told)
    return run


def _redraws(config: PretrainConfig, step: int) -> int:
    return step // config.pool.redraw_every if config.pool.redraw_every else 0


def _steps(config: PretrainConfig, run: Run, pool: Pool, device: torch.device) -> Iterator[list[float]]:
    """Take one step after the other; yield the rows of the curve as they are completed."""
    every = max(1, config.steps // _CURVE_ROWS)
    run.learner.train()
    recent: list[Tensor] = []
    while run.step < config.steps:
        # Time of the processor, so that a process that was stopped for a while does not count the pause.
        began = time.process_time()
        recent.append(_step(config, run, pool, device))
        run.step += 1
        run.average(config.average)
        for _ in pool.bring_to(_redraws(config, run.step), device):
            pass
        run.cpu_seconds += time.process_time() - began
        if run.step % every == 0 or run.step == config.steps:
            means = torch.stack(recent).mean(0).tolist()
            size = side(config.views, (run.step - 1) / config.steps)
            run.curve.append([run.step, run.cpu_seconds / 60, size, *means])
            recent.clear()
            yield run.curve[-1]
        if run.step % config.checkpoint_steps == 0 or run.step == config.steps:
            run.save(checkpoint_path(config))


def _step(config: PretrainConfig, run: Run, pool: Pool, device: torch.device) -> Tensor:
    """Take one step, whose chance depends on its number alone; return the terms."""
    own, views = _draw(config, run.step, pool, device)
    inputs = _inputs(views)
    with torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision_of(config, device) == "bfloat16"
    ):
        told = run.learner(inputs)
    terms = losses(told, own, views, config.objective)
    for group in run.optimiser.param_groups:
        group["lr"] = rate(config, run.step / config.steps)
    run.optimiser.zero_grad(set_to_none=True)
    terms["loss"].backward()
    nn.utils.clip_grad_norm_(run.learner.parameters(), 5.0)
    run.optimiser.step()
    return torch.stack([terms[name].detach() for name in TERMS])


def _draw(config: PretrainConfig, step: int, pool: Pool, device: torch.device) -> tuple[Tensor, list[Views]]:
    """Draw the images of a step; return their formulas and one or two views of each."""
    seed = np.random.SeedSequence([config.seed, step])
    chosen = np.sort(np.random.default_rng(seed).choice(len(pool.images), config.batch, replace=False))
    number = int(seed.generate_state(1, np.uint64)[0] >> 1)
    chance = torch.Generator(device).manual_seed(number)
    torch.manual_seed(number)  # networks that drop whole layers at random draw from here
    fields = from_grey(torch.from_numpy(pool.images[chosen]).to(device))
    size = side(config.views, step / config.steps)
    views = [
        draw_views(fields, size, chance, mixed=config.views.mixed)
        for _ in range(views_per_image(config.objective))
    ]
    return torch.from_numpy(pool.labels[chosen]).to(device), views


def _inputs(views: Sequence[Views]) -> Tensor:
    return torch.cat([v.images for v in views]).contiguous(memory_format=torch.channels_last)

"""Train an architecture from scratch to name the formula behind an image, tell its factors and know it again."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from extract.architectures import find_architecture
from extract.pretrain.formulas import formulas
from extract.pretrain.pool import Pool, from_grey
from extract.pretrain.settings import ObjectiveSettings, PretrainConfig
from extract.pretrain.views import FACTORS, Views, draw_views
from pipeline.files import written_whole

CURVE = ("minutes", "step", "views", "size", "loss", "formula", "factors", "instance", "accuracy")


class NormedConv(nn.Module):
    """A convolution and the batch norm that training adds behind it; both become one convolution when written."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve, then normalise."""
        normalised: Tensor = self.norm(self.convolution(images))
        return normalised

    def folded(self) -> nn.Conv2d:
        """Return the convolution that does the same as both."""
        return fuse_conv_bn_eval(self.convolution, self.norm)


def trunk(architecture: str) -> tuple[nn.Module, int]:
    """Build an untrained network of the table of encoders, with batch norms where it has none; count its features."""
    row = find_architecture(architecture)
    network = row.build()
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        _replace(network, nn.Conv2d, NormedConv)
    return network, row.dim


def folded(network: nn.Module) -> nn.Module:
    """Return a copy in inference mode without the batch norms that training added."""
    network = copy.deepcopy(network).eval()
    _replace(network, NormedConv, NormedConv.folded)
    return network


def _replace(network: nn.Module, kind: type[nn.Module], by: Callable[..., nn.Module]) -> None:
    for name, child in network.named_children():
        if isinstance(child, kind):
            setattr(network, name, by(child))
        else:
            _replace(child, kind, by)


class Learner(nn.Module):
    """A trunk with one head per term of the objective."""

    def __init__(self, architecture: str, n_formulas: int) -> None:
        super().__init__()
        self.trunk, width = trunk(architecture)
        self.formula = nn.Linear(width, n_formulas)
        self.factors = nn.Linear(width, len(FACTORS))
        self.instance = nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 64))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return formula logits, factors and unit vectors that identify the instance."""
        features = self.trunk(images)
        return (
            self.formula(features),
            self.factors(features),
            functional.normalize(self.instance(features).float()),
        )


def losses(
    outputs: tuple[Tensor, Tensor, Tensor],
    formula: Tensor,
    views: Sequence[Views],
    objective: ObjectiveSettings,
) -> Mapping[str, Tensor]:
    """Return the weighted sum `loss`, its terms, and the accuracy of the formula.

    Args:
        outputs: of the learner on the views of all images, first views before second ones.
        formula: int64 (n,), the formula of each image.
        views: one or two times n views.
        objective: the weights.
    """
    logits, told, units = outputs
    own = formula.repeat(len(views))
    partner = torch.cat([formula[v.partner] for v in views])
    fraction = torch.cat([v.own_share for v in views])
    factors = torch.cat([v.factors for v in views])
    logits = logits.float()
    by_formula = (
        fraction * functional.cross_entropy(logits, own, reduction="none", label_smoothing=0.05)
        + (1 - fraction) * functional.cross_entropy(logits, partner, reduction="none", label_smoothing=0.05)
    ).mean()
    by_factors = functional.mse_loss(told.float(), factors)
    by_instance = _known_again(units, objective.temperature) if objective.instance else torch.zeros(())
    total = objective.formula * by_formula + objective.factors * by_factors + objective.instance * by_instance
    accuracy = (logits.argmax(1) == own).float().mean()
    return {
        "loss": total,
        "formula": by_formula,
        "factors": by_factors,
        "instance": by_instance,
        "accuracy": accuracy,
    }


def _known_again(units: Tensor, temperature: float) -> Tensor:
    """InfoNCE of first views followed by second views, as unit vectors."""
    n = len(units) // 2
    likeness = units @ units.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=units.device), -math.inf)
    return functional.cross_entropy(likeness, torch.arange(2 * n, device=units.device).roll(n))


@dataclass
class Run:
    """Where a training stands; everything a checkpoint holds."""

    learner: Learner
    averaged: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    views: int = 0
    seconds: float = 0.0
    curve: list[list[float]] = field(default_factory=list)

    def average(self, memory: float) -> None:
        """Let the averaged trunk follow the trunk; early on the memory is short."""
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
            "optimiser": self.optimiser.state_dict(), "step": self.step, "views": self.views,
            "seconds": self.seconds, "curve": self.curve,
        }  # fmt: skip
        with written_whole(path) as sibling:
            torch.save(state, sibling)

    def load(self, path: Path, device: torch.device) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, map_location=device, weights_only=True)
        self.learner.load_state_dict(state["learner"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averaged = state["averaged"]
        self.step, self.views, self.seconds = state["step"], state["views"], state["seconds"]
        self.curve = state["curve"]


def start(config: PretrainConfig, n_formulas: int, device: torch.device) -> Run:
    """Build the learner and go on from the checkpoint where there is one."""
    torch.manual_seed(config.seed)
    learner = Learner(config.architecture, n_formulas).to(device)
    learner.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decayed = [p for p in learner.parameters() if p.ndim > 1]
    free = [p for p in learner.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}],
        lr=config.learning_rate, betas=(0.9, 0.98),
    )  # fmt: skip
    averaged = {name: value.clone() for name, value in learner.trunk.state_dict().items()}
    run = Run(learner, averaged, optimiser)
    path = checkpoint_path(config)
    if path.exists():
        run.load(path, device)
    return run


def checkpoint_path(config: PretrainConfig) -> Path:
    """Name the checkpoint of a configuration."""
    return config.output / f"{config.name}.checkpoint.pt"


def views_per_image(objective: ObjectiveSettings) -> int:
    """Return 2 where two views of an image are compared, else 1."""
    return 2 if objective.instance else 1


def rate(config: PretrainConfig, done: float) -> float:
    """Return the learning rate when the share `done` of the run is over: a short rise, then half a cosine."""
    rise = min(1.0, (done + 1e-3) / 0.03)
    return config.learning_rate * rise * (0.5 + 0.5 * math.cos(math.pi * min(1.0, done)))


def share_done(config: PretrainConfig, run: Run) -> float:
    """Return the share of the run that is over, by time or by steps, whichever is further."""
    by_steps = 0.0 if config.steps is None else run.step / config.steps
    return max(run.seconds / (60 * config.minutes), by_steps)


def train(config: PretrainConfig, progress: Progress) -> Run:
    """Train until the time or the steps are over; a second call goes on where the first was cut off."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    members = formulas(config.pool.formulas, seed=config.seed)
    pool = Pool(
        config.pool.folder, members, images=config.pool.images, size=config.pool.size, seed=config.seed
    )
    drawing = progress.add_task(
        "drawing the pool", total=pool.blocks, completed=int((pool.rounds[:] > 0).sum())
    )
    for _ in pool.fill(device):
        progress.advance(drawing)
    run = start(config, len(members), device)
    if not config.pool.redraw:
        _go_on(config, run, pool, progress)
        return run
    with pool.redrawn_meanwhile(device):
        _go_on(config, run, pool, progress)
    return run


def _go_on(config: PretrainConfig, run: Run, pool: Pool, progress: Progress) -> None:
    bar = progress.add_task("training", total=1.0)
    last_saved = last_noted = run.seconds
    for done, row in _steps(config, run, pool):
        progress.update(
            bar, completed=done, description=f"training: loss {row[4]:.3f}, accuracy {row[8]:.3f}"
        )
        if run.seconds - last_noted > 10 or done >= 1:
            run.curve.append(row)
            last_noted = run.seconds
        if run.seconds - last_saved > 60 * config.checkpoint_minutes or done >= 1:
            run.save(checkpoint_path(config))
            last_saved = run.seconds


def _steps(config: PretrainConfig, run: Run, pool: Pool) -> Iterator[tuple[float, list[float]]]:
    """Take one step after the other; yield the share done and a row of the curve."""
    device = next(run.learner.parameters()).device
    labels = torch.from_numpy(pool.labels).to(device)
    picks = np.random.default_rng([config.seed, run.step])
    chance = torch.Generator(device).manual_seed(config.seed + run.step)
    run.learner.train()
    done = share_done(config, run)
    while done < 1:
        began = time.monotonic()
        chosen = np.sort(picks.choice(len(pool.images), config.batch, replace=False))
        fields = from_grey(torch.from_numpy(pool.images[chosen]).to(device))
        final = done > 1 - config.views.final_share
        size = config.views.final_size if final else config.views.size
        for group in run.optimiser.param_groups:
            group["lr"] = rate(config, done)
        values = _step(config, run, (fields, labels[torch.from_numpy(chosen).to(device)]), size, chance)
        run.step += 1
        run.views += views_per_image(config.objective) * config.batch
        run.average(config.average)
        run.seconds += time.monotonic() - began
        done = share_done(config, run)
        yield done, [run.seconds / 60, run.step, run.views, size, *values]


def _step(
    config: PretrainConfig, run: Run, images: tuple[Tensor, Tensor], size: int, chance: torch.Generator
) -> list[float]:
    fields, own = images
    views = [
        draw_views(fields, size, chance, mixed=config.views.mixed)
        for _ in range(views_per_image(config.objective))
    ]
    inputs = torch.cat([v.images for v in views]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
        outputs = run.learner(inputs)
    terms = losses(outputs, own, views, config.objective)
    run.optimiser.zero_grad(set_to_none=True)
    terms["loss"].backward()
    nn.utils.clip_grad_norm_(run.learner.parameters(), 5.0)
    run.optimiser.step()
    return [terms[name].item() for name in CURVE[4:]]

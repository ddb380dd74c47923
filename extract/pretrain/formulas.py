"""Images drawn by formula: nine families of procedural images, each with any number of seeded members.

No photograph, no scan and nothing of this project's phantom goes into them. The phantom is the test of the
encoder that is trained here, not its teacher: this package neither imports it nor imitates its tumours, and the
blobs below are shapes of any polarity, number and place, without anatomy, phases or classes of disease.

The families follow published work on learning to see without photographs: fractals of iterated function systems
(Kataoka et al., "Pre-training without natural images"), dead leaves, spectral noise and untrained networks
(Baradad et al., "Learning to see by looking at noise"), and beside them gratings and sparse Gabor noise, Voronoi
mosaics, strokes, and blurred blobs with rims and cores.

A formula is one member of a family: its parameters come from its own seed and never change, and are what the
encoder learns to tell apart. What differs between its images (places, phases, a little of everything) comes
from the random generator of the canvas.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from extract.pretrain.canvas import Canvas, column, standardised

Family = Callable[[np.random.Generator, Canvas], Tensor]


@dataclass(frozen=True)
class Formula:
    """One member of a family of procedural images."""

    family: str
    seed: int

    def draw(self, canvas: Canvas) -> Tensor:
        """Return float32 (n, size, size) with mean 0 and standard deviation 1 in each image."""
        fields = FAMILIES[self.family](np.random.default_rng(self.seed), canvas)
        return standardised(fields.float())


def formulas(counts: Mapping[str, int], *, seed: int) -> tuple[Formula, ...]:
    """List the formulas to tell apart: `counts` gives the members of each family."""
    sequence = np.random.SeedSequence(seed)
    names = [family for family, count in counts.items() for _ in range(count)]
    seeds = sequence.generate_state(len(names), np.uint64) >> np.uint64(1)
    return tuple(Formula(name, int(number)) for name, number in zip(names, seeds, strict=True))


def draw_fractal(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Play the chaos game of an iterated function system of 2 to 5 contracting affine maps."""
    walkers, steps, burn_in = 384, 72, 12
    maps, shifts, weights = _contractions(member, int(member.integers(2, 6)))
    device = canvas.device
    linear = torch.tensor(maps, device=device) * (1 + 0.04 * canvas.normal(len(maps), 2, 2))
    shift = torch.tensor(shifts, device=device) + 0.04 * canvas.normal(len(maps), 2)
    draws = steps * canvas.n * walkers
    chosen = torch.multinomial(
        torch.tensor(weights, device=device), draws, replacement=True, generator=canvas.chance
    ).view(steps, canvas.n, walkers)
    place = canvas.uniform(walkers, 2, low=-1)
    rows = torch.arange(canvas.n, device=device)[:, None]
    trail = []
    for step in range(steps):
        place = (linear[rows, chosen[step]] @ place[..., None])[..., 0] + shift[rows, chosen[step]]
        if step >= burn_in:
            trail.append(place)
    density = _histogram(torch.cat(trail, 1), canvas)
    return torch.log1p(density * member.uniform(0.3, 4.0)) if member.random() < 0.7 else density.clamp_max(1)


def _contractions(member: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    turn, tilt = member.uniform(-math.pi, math.pi, (2, count))
    stretch = np.stack([member.uniform(0.35, 0.85, count), member.uniform(0.2, 0.8, count)], -1)
    signs = member.choice([-1, 1], (count, 2))
    linear = _rotations(turn) @ (np.eye(2) * (stretch * signs)[:, None, :]) @ _rotations(tilt)
    shift = member.uniform(-1, 1, (count, 2))
    weights = np.abs(np.linalg.det(linear)) + 0.02
    return linear.astype(np.float32), shift.astype(np.float32), (weights / weights.sum()).astype(np.float32)


def _rotations(angles: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _histogram(points: Tensor, canvas: Canvas) -> Tensor:
    """Count points (n, k, 2) per pixel, each image framed by its own 1st and 99th percentile."""
    sample = points[:, :: max(1, points.shape[1] // 1000)]
    low, high = (sample.quantile(q, dim=1, keepdim=True) for q in (0.01, 0.99))
    span = (high - low).amax(-1, keepdim=True).clamp_min(1e-4)
    pixels = (((points - (low + high) / 2) / (span * 1.1) + 0.5) * canvas.size).long()
    inside = ((pixels >= 0) & (pixels < canvas.size)).all(-1)
    image = torch.arange(canvas.n, device=canvas.device)[:, None]
    flat = (image * canvas.size + pixels[..., 1]) * canvas.size + pixels[..., 0]
    counts = torch.bincount(flat[inside], minlength=canvas.n * canvas.size**2)
    return counts.view(canvas.n, canvas.size, canvas.size).float()


def draw_noise(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Filter white noise: power law or band, with or without a direction; then bend the values."""
    return _bent(canvas.filtered_noise(_spectrum(member, canvas)), int(member.integers(5)))


def _spectrum(member: np.random.Generator, canvas: Canvas) -> Tensor:
    fx, fy = canvas.frequencies()
    angle, aspect = member.uniform(0, math.pi), math.exp(member.uniform(0, 1.6) * (member.random() < 0.6))
    along, across = fx * math.cos(angle) + fy * math.sin(angle), fy * math.cos(angle) - fx * math.sin(angle)
    radius = torch.hypot(along * aspect, across / aspect).clamp_min(1.0)
    if member.random() < 0.5:
        return radius ** -member.uniform(0.5, 2.2)
    centre, width = math.exp(member.uniform(math.log(3), math.log(30))), member.uniform(0.15, 0.6)
    return torch.exp(-0.5 * ((radius / centre).log() / width) ** 2)


def _bent(fields: Tensor, kind: int) -> Tensor:
    """Bend standardised values: not at all, to ridges, to valleys, to two levels, to skewed grains."""
    bends: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda z: z,
        torch.abs,
        lambda z: -z.abs().sqrt(),
        lambda z: torch.tanh(4 * z),
        lambda z: torch.exp(z.clamp_max(2.5)),
    )
    return bends[kind](fields)


def draw_gratings(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Add, multiply or scatter waves of 1 to 3 frequencies and directions, warped by smooth noise."""
    x, y = canvas.points()
    warp = canvas.filtered_noise(_smooth(canvas, 3.0)) * member.uniform(0, 1.2)
    fields = []
    for _ in range(int(member.integers(1, 4))):
        frequency = math.exp(member.uniform(math.log(2), math.log(22)))
        angle = member.uniform(0, math.pi) + 0.08 * canvas.normal()
        phase = canvas.uniform(high=2 * math.pi)
        along = x * column(angle.cos()) + y * column(angle.sin())
        if member.random() < 0.25:
            along = torch.hypot(
                x - column(canvas.uniform(low=-0.7, high=0.7)), y - column(canvas.uniform(low=-0.7, high=0.7))
            )
        wave = torch.sin(math.pi * frequency * along + column(phase) + warp)
        fields.append(torch.tanh(wave * member.uniform(0.5, 5)))
    stack = torch.stack(fields)
    field = stack.sum(0) if member.random() < 0.5 else stack.prod(0)
    if member.random() < 0.4:
        field = field * torch.sigmoid(3 * canvas.filtered_noise(_smooth(canvas, 4.0)))
    return field


def draw_sparse(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Scatter one small kernel (Gabor, ring, disc or line) at random places with random weights."""
    density = math.exp(member.uniform(math.log(0.002), math.log(0.05)))
    spots = (canvas.uniform(canvas.size, canvas.size) < density).float()
    if member.random() < 0.5:
        spots = spots * canvas.normal(canvas.size, canvas.size)
    x, y = canvas.points()
    width, angle = math.exp(member.uniform(math.log(0.04), math.log(0.2))), member.uniform(0, math.pi)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    radius = torch.hypot(x, y) / width
    kernels = (
        torch.exp(-0.5 * radius**2) * torch.cos(along * member.uniform(2, 6) / width),
        torch.exp(-0.5 * ((radius - 1) / member.uniform(0.1, 0.4)) ** 2),
        torch.sigmoid((1 - radius) * 8),
        torch.exp(-0.5 * ((along / width) ** 2 + (across / width * member.uniform(3, 8)) ** 2)),
    )
    kernel = torch.fft.rfft2(torch.fft.ifftshift(kernels[int(member.integers(4))]))
    return canvas.filter(spots, kernel)


def draw_mosaic(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Divide the canvas among random points: cell values, distances or borders, in one of three metrics."""
    count = int(math.exp(member.uniform(math.log(8), math.log(90))))
    x, y = canvas.points()
    stretch, angle = math.exp(member.uniform(-0.7, 0.7)), member.uniform(0, math.pi)
    warp = canvas.filtered_noise(_smooth(canvas, 8.0)) * member.uniform(0, 0.04)
    places = canvas.uniform(2, count, low=-1.1, high=1.1)
    if member.random() < 0.35:
        side = math.ceil(math.sqrt(count))
        line = torch.linspace(-1.05, 1.05, side, device=canvas.device)
        lattice = torch.stack(torch.meshgrid(line, line, indexing="ij")).view(1, 2, -1)
        places = lattice + canvas.normal(2, lattice.shape[-1]) * member.uniform(0.02, 0.5) / side
    dx = (x + warp).flatten(1)[..., None] - places[:, None, 0]
    dy = (y + warp).flatten(1)[..., None] - places[:, None, 1]
    along = (dx * math.cos(angle) + dy * math.sin(angle)) * stretch
    across = (dy * math.cos(angle) - dx * math.sin(angle)) / stretch
    metric = int(member.integers(3))
    if metric == 0:
        far = torch.hypot(along, across)
    elif metric == 1:
        far = along.abs() + across.abs()
    else:
        far = torch.maximum(along.abs(), across.abs())
    near, owner = far.topk(2, dim=-1, largest=False)
    values = canvas.uniform(places.shape[-1]).gather(1, owner[..., 0])
    border = (near[..., 1] - near[..., 0]) * math.sqrt(count)
    edge = torch.tanh(border / member.uniform(0.1, 0.8))
    choices = (
        values,
        near[..., 0],
        border,
        edge,
        values * edge,
        values + 0.5 * near[..., 0] * math.sqrt(count),
    )
    return choices[int(member.integers(len(choices)))].view(canvas.n, canvas.size, canvas.size)


def draw_leaves(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Let leaves fall on each other (front ones first): superellipses of power-law size, plain or textured."""
    count = 56
    x, y = canvas.points()
    exponent, aspect = math.exp(member.uniform(-0.4, 1.8)), math.exp(member.uniform(0, 1.1))
    smallest, slope = math.exp(member.uniform(math.log(0.04), math.log(0.15))), member.uniform(1.0, 3.0)
    direction, spread = member.uniform(0, math.pi), float(member.choice([0.15, 3.2]))
    radius = (smallest * canvas.uniform(count).clamp_min(1e-3) ** (-1 / slope)).clamp_max(0.8)
    angle = direction + spread * canvas.uniform(count, low=-0.5, high=0.5)
    centre = canvas.uniform(2, count, low=-1.1, high=1.1)
    shade, softness = canvas.normal(count), member.uniform(6, 40)
    grain = canvas.filtered_noise(_spectrum(member, canvas)) * float(member.choice([0.0, 0.3, 0.8]))
    shading = float(member.choice([0.0, 0.0, 0.7]))
    field = torch.zeros(canvas.n, canvas.size, canvas.size, device=canvas.device)
    open_part = torch.ones_like(field)
    for leaf in range(count):
        cos, sin = column(angle[:, leaf].cos()), column(angle[:, leaf].sin())
        dx, dy = x - column(centre[:, 0, leaf]), y - column(centre[:, 1, leaf])
        size = column(radius[:, leaf])
        along, across = (
            (dx * cos + dy * sin).abs() / (size * aspect),
            (dy * cos - dx * sin).abs() * aspect / size,
        )
        depth = 1 - along.pow(exponent) - across.pow(exponent)
        cover = torch.sigmoid(depth * softness * size * 4) * open_part
        field = field + cover * (column(shade[:, leaf]) + shading * depth.clamp_min(-0.5))
        open_part = open_part - cover
    return field + grain


def draw_blobs(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Put 1 to 8 blurred blobs with wavy outlines on faint texture; level, rim and core of either sign."""
    count = int(member.integers(1, 9))
    x, y = canvas.points()
    field = canvas.filtered_noise(_spectrum(member, canvas)) * member.uniform(0.05, 0.5)
    level, rim, core = member.choice([-1, 1], 3) * member.uniform(0, 1.5, 3)
    thickness, core_radius = member.uniform(0.03, 0.25), member.uniform(0.2, 0.7)
    softness, waviness = math.exp(member.uniform(math.log(0.02), math.log(0.3))), member.uniform(0, 0.35)
    waves = int(member.integers(2, 8))
    grain = canvas.filtered_noise(_spectrum(member, canvas)) * float(member.choice([0.0, 0.4, 0.8]))
    for _ in range(count):
        radius = column(canvas.uniform(low=0.6, high=1.4)) * member.uniform(0.45, 0.7) / math.sqrt(count)
        dx, dy = (
            x - column(canvas.uniform(low=-0.8, high=0.8)),
            y - column(canvas.uniform(low=-0.8, high=0.8)),
        )
        squeeze = column(canvas.uniform(low=-0.3, high=0.3).exp())
        far = torch.hypot(dx * squeeze, dy / squeeze) / radius
        turn = torch.atan2(dy, dx)
        outline = 1 + waviness * torch.cos(waves * turn + column(canvas.uniform(high=2 * math.pi)))
        depth = far - outline
        inside = torch.sigmoid(-depth / softness)
        field = field * (1 - inside * 0.5) + inside * (level + grain)
        field = field + rim * torch.exp(-0.5 * (depth / thickness) ** 2)
        field = field + core * torch.sigmoid((core_radius - far) / softness)
    return field


def draw_strokes(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Draw 1 to 7 curved strokes of one thickness, smoothness and kind of bend."""
    count, per_stroke = int(member.integers(1, 8)), 20
    step = member.uniform(0.03, 0.16)
    bend, wobble = member.uniform(-0.5, 0.5), member.uniform(0.0, 0.5)
    heading = canvas.uniform(count, 1, low=-math.pi, high=math.pi)
    if member.random() < 0.4:
        heading = member.uniform(-math.pi, math.pi) + 0.2 * canvas.normal(count, 1)
    turns = bend * canvas.normal(count, 1) + wobble * canvas.normal(count, per_stroke)
    heading = heading + turns.cumsum(-1)
    path = torch.stack([heading.cos(), heading.sin()], -1).cumsum(2) * step  # (n, strokes, per_stroke, 2)
    path = path - path.mean(2, keepdim=True) + canvas.uniform(count, 1, 2, low=-0.7, high=0.7)
    path = path.flatten(1, 2)
    coarse_x, coarse_y = replace(
        canvas, size=canvas.size // 2
    ).points()  # distances are smooth: a quarter will do
    far = torch.full((canvas.n, coarse_x.numel()), 9.0, device=canvas.device)
    for start in range(0, path.shape[1] - 1, per_stroke):
        a, b = path[:, start : start + per_stroke - 1], path[:, start + 1 : start + per_stroke]
        far = torch.minimum(far, _far_from_segments(coarse_x, coarse_y, a, b))
    far = far.view(canvas.n, 1, *coarse_x.shape)
    far = functional.interpolate(far, size=(canvas.size, canvas.size), mode="bilinear", align_corners=False)[
        :, 0
    ]
    thickness = math.exp(member.uniform(math.log(0.02), math.log(0.14)))
    ink = torch.sigmoid((thickness - far) / (thickness * member.uniform(0.1, 0.5)))
    sign = float(member.choice([-1.0, 1.0]))
    return sign * ink + canvas.filtered_noise(_spectrum(member, canvas)) * member.uniform(0, 0.25)


def _far_from_segments(x: Tensor, y: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the distance (n, pixels) from each pixel to the nearest of segments (n, k, 2)."""
    pixels = torch.stack([x.flatten(), y.flatten()], -1)  # (pixels, 2)
    along = end - start
    squared = (along**2).sum(-1).clamp_min(1e-8)[:, None]  # (n, 1, k)
    offset = pixels @ along.mT - (start * along).sum(-1)[:, None]  # (n, pixels, k)
    share = (offset / squared).clamp(0, 1)
    nearest_x = start[:, None, :, 0] + share * along[:, None, :, 0]
    nearest_y = start[:, None, :, 1] + share * along[:, None, :, 1]
    squares = (pixels[:, None, 0] - nearest_x) ** 2 + (pixels[:, None, 1] - nearest_y) ** 2
    return squares.amin(-1).sqrt()


def draw_networks(member: np.random.Generator, canvas: Canvas) -> Tensor:
    """Pass noise through an untrained upsampling network whose weights are the formula."""
    channels, side = 12, int(member.choice([4, 8]))
    weights = torch.Generator().manual_seed(int(member.integers(2**31)))
    field = canvas.normal(channels, side, side) * 0.7 + torch.randn(
        1, channels, side, side, generator=weights
    ).to(canvas.device)
    strength = member.uniform(0.2, 0.9)
    while side < canvas.size:
        side = min(side * 2, canvas.size)
        field = functional.interpolate(field, size=(side, side), mode="bilinear", align_corners=False)
        field = field + strength * member.uniform(0.2, 1.0) * canvas.normal(1, side, side)
        kernel = torch.randn(channels, channels, 3, 3, generator=weights).to(canvas.device) / math.sqrt(
            9 * channels
        )
        field = functional.leaky_relu(functional.conv2d(field, kernel, padding=1), 0.2)
        field = field / field.std((1, 2, 3), keepdim=True).clamp_min(1e-4)
    mix = torch.randn(channels, generator=weights).to(canvas.device)
    return torch.einsum("nchw,c->nhw", field, mix)


def _smooth(canvas: Canvas, cycles: float) -> Tensor:
    """Return the amplitudes that keep fewer than about `cycles` cycles per canvas."""
    fx, fy = canvas.frequencies()
    return torch.exp(-0.5 * (fx**2 + fy**2) / cycles**2)


FAMILIES: Mapping[str, Family] = {
    "fractal": draw_fractal,
    "noise": draw_noise,
    "gratings": draw_gratings,
    "sparse": draw_sparse,
    "mosaic": draw_mosaic,
    "leaves": draw_leaves,
    "blobs": draw_blobs,
    "strokes": draw_strokes,
    "networks": draw_networks,
}
"""Every family by name."""

"""Before a run: one built-in image, or slab, embedded in the run's precision must come out as in float32."""

import torch
from torch import Tensor

from extract.encoders import Encoder
from pipeline.errors import ConfigError, WeightsError

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}
"""Largest allowed distance from the float32 feature, as a share of its length.

Measured in bfloat16 on a CPU with this image of 224 pixels (299 for inception_v3): 0.003 to 0.011 for the networks of
the table with random weights, 0.004 for squeezenet1_1 with the embedded ones, and 0.023 for efficientnet_v2_s; the
tolerance is twice the largest. float16 has three bits more than bfloat16: an eighth of the largest would be 0.003, and
the tolerance is three times that. Emulated on a CPU it was 0.0003 for squeezenet1_1 with the embedded weights and
0.0005 for resnet18 and densenet121 with random ones.
"""

_LEAST_CHANGE = 1e-4
"""Networks of the table with random weights change by 0.1 and more."""


def built_in_image(side: int) -> Tensor:
    """Draw float32 (1, 3, side, side) in [0, 1]: smooth shapes and an edge, the same on every machine."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x, y = column / (side - 1) * 2 - 1, row / (side - 1) * 2 - 1
    body = ((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1).float() * 0.4
    lesion = ((x - 0.3) ** 2 + (y + 0.1) ** 2 < 0.06).float() * 0.3
    return (body + lesion + 0.15 * (x * y).abs()).clamp(0, 1).expand(1, 3, -1, -1)


def built_in_slab(side: int, n_planes: int) -> Tensor:
    """Draw float32 (1, 1, n_planes, side, side) in [0, 1]: the built-in image, fading towards both ends."""
    z = (torch.arange(n_planes) + 0.5) / n_planes * 2 - 1
    return built_in_image(side)[:, :1].unsqueeze(2) * (1 - 0.5 * z**2).view(1, 1, -1, 1, 1)


def check_precision(encoder: Encoder, side: int, n_planes: int = 16) -> float:
    """Compare what the run computes, in its precision and compiled if asked, with plain float32.

    Returns:
        the relative distance.

    Raises:
        ConfigError: torch.compile cannot build the network on this machine.
        WeightsError: the distance is above the tolerance, or not a number.
    """
    image = built_in_image(side) if encoder.dims == 2 else built_in_slab(side, n_planes)
    exact = encoder.embed_plainly(image)
    _check_sees(encoder, image, exact)
    try:
        found = encoder.embed(image)
    except RuntimeError as error:
        is_of_compiler = type(error).__module__.startswith(("torch._inductor", "torch._dynamo"))
        if not (encoder.is_compiled and is_of_compiler):
            raise
        raise ConfigError(
            f"[extract] compile = true: torch.compile cannot build {encoder.name} on this {encoder.device.type}: "
            f"{_cause(error)}; it needs a C++ compiler such as g++; install one, or set compile = false"
        ) from error
    drift = float((found - exact).norm() / exact.norm())
    tolerance = TOLERANCE[encoder.precision]
    if not drift <= tolerance:
        raise WeightsError(
            f"self-test of {encoder.name} with {encoder.weights_name}: expected {encoder.precision} within "
            f"{tolerance:g} of float32, found {drift:.3g}; set [extract] precision = 'float32'"
        )
    return drift


def _check_sees(encoder: Encoder, image: Tensor, exact: Tensor) -> None:
    """Refuse an encoder that gives nothing, or the same for an image and its negative.

    Raises:
        WeightsError: the weights make it blind.
    """
    change = float((encoder.embed_plainly(1 - image) - exact).norm() / exact.norm())
    if not change > _LEAST_CHANGE:
        raise WeightsError(
            f"self-test of {encoder.name} with {encoder.weights_name}: expected other features for an image than for its negative, "
            f"found a relative difference of {change:.3g}; these weights see nothing: take others"
        )


def _cause(error: RuntimeError) -> str:
    """Return the first line of what torch.compile says that is not its own wrapping."""
    inner = getattr(error, "inner_exception", None) or error
    return f"{type(inner).__name__}: {str(inner).strip().partition(chr(10))[0]}"

"""Before a run: one built-in image embedded in the run's precision must come out as in float32."""

import torch
from torch import Tensor

from extract.encoders import PRECISIONS, Encoder
from pipeline.errors import WeightsError

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}
"""Largest allowed distance from the float32 feature, as a share of its length.

Rounding to bfloat16 (8 bits) moves the features of the table's networks by 0.3 to 2 per cent, to float16 (11 bits)
by less than 0.3; a wrong kernel or an overflow moves them by more than 10.
"""


def built_in_image(side: int) -> Tensor:
    """Draw float32 (1, 3, side, side) in [0, 1]: smooth shapes and an edge, the same on every machine."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x, y = column / (side - 1) * 2 - 1, row / (side - 1) * 2 - 1
    body = ((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1).float() * 0.4
    lesion = ((x - 0.3) ** 2 + (y + 0.1) ** 2 < 0.06).float() * 0.3
    return (body + lesion + 0.15 * (x * y).abs()).clamp(0, 1).expand(1, 3, -1, -1)


@torch.inference_mode()
def check_precision(encoder: Encoder, side: int) -> float:
    """Compare the run's precision with float32 and return the relative distance.

    Raises:
        WeightsError: it is above the tolerance, or not a number.
    """
    image = encoder.normalise(built_in_image(side))
    exact = encoder.network(image).float().flatten()
    dtype = PRECISIONS[encoder.precision]
    with torch.autocast(encoder.device.type, dtype=dtype, enabled=dtype != torch.float32):
        found = encoder.network(image).float().flatten()
    drift = float((found - exact).norm() / exact.norm())
    tolerance = TOLERANCE[encoder.precision]
    if not drift <= tolerance:
        raise WeightsError(
            f"self-test of {encoder.name} with {encoder.weights_name}: expected {encoder.precision} within "
            f"{tolerance:g} of float32, found {drift:.3g}; set [extract] precision = 'float32'"
        )
    return drift

"""Before a run: one built-in image embedded in the run's precision must come out as in float32."""

import torch
from torch import Tensor

from extract.encoders import PRECISIONS, Encoder
from pipeline.errors import WeightsError

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}
"""Largest allowed distance from the float32 feature, as a share of its length.

Measured in bfloat16 on a CPU with this image of 224 pixels (299 for inception_v3): 0.003 to 0.011 for the networks of
the table with random weights, 0.004 for squeezenet1_1 with the embedded ones, and 0.023 for efficientnet_v2_s; the
tolerance is twice the largest. float16 has three bits more than bfloat16 and is refused on a CPU, so it was not
measured: an eighth of the largest would be 0.003, and the tolerance is three times that.
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

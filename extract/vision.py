"""Import torchvision with any build of torch.

The CUDA build of torchvision (the one on the package index) and a CPU build of torch are a common pair. With them
`import torchvision` fails with "operator torchvision::nms does not exist", because its compiled library
does not load and two fake kernels are registered for undefined operators. Defining the two schemas first
makes the import succeed; the detection operators stay unusable, and nothing here uses them.
"""

from functools import cache
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_KEPT_ALIVE: list[torch.library.Library] = []
"""A library object that is collected takes its operators with it."""


@cache
def torchvision_models() -> ModuleType:
    """Return the module `torchvision.models`, importable whatever builds of torch and torchvision are paired."""
    try:
        import torchvision  # noqa: PLC0415 - must run after a failed first attempt can be mended
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _define_missing_operators()
        import torchvision  # noqa: PLC0415
    models: ModuleType = torchvision.models
    return models


def _define_missing_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _KEPT_ALIVE.append(library)

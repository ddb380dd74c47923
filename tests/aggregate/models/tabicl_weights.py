"""A checkpoint of TabICL in the layout of the published ones: the same network, small, with random weights."""

import atexit
import shutil
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

IS_INSTALLED = find_spec("tabicl") is not None
SETTINGS = {
    "max_classes": 4, "embed_dim": 8, "col_num_blocks": 1, "col_nhead": 2, "col_num_inds": 4, "row_num_blocks": 1,
    "row_nhead": 2, "row_num_cls": 2, "icl_num_blocks": 2, "icl_nhead": 2,
}  # fmt: skip


def write_checkpoint(path: Path, *, seed: int = 0) -> Path:
    """Write a checkpoint of random weights."""
    from tabicl._model.tabicl import TabICL  # noqa: PLC0415 - of an extra

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TabICL(**SETTINGS, zero_init=False)
    torch.save({"config": SETTINGS, "state_dict": network.state_dict()}, path)
    return path


@cache
def tabicl_parameters() -> dict[str, object]:
    """Return parameters of the kind `tabicl` for tests of any kind, with a checkpoint that stays for this process."""
    if not IS_INSTALLED:
        return {}
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {"weights": str(write_checkpoint(Path(folder) / "small.ckpt")), "n_estimators": 2, "components": 6}

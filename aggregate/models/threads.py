"""How PyTorch uses the cores: many small computations side by side, each on one thread."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let this thread's products and element-wise operations run on one core.

    What a few bags take is less than what waking a second core costs.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)

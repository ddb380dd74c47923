"""The digits of a probability in the tables, and so in every decision that rests on one."""

import numpy as np
from numpy.typing import NDArray

PROBABILITY_DIGITS = 10
"""Enough that the ranks of confident models survive."""


def as_printed(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round probabilities to the digits of a table, before anything is decided or computed from them.

    Two that print alike are equal from then on: a decision between them is the same whoever makes it.
    """
    return np.round(probabilities, PROBABILITY_DIGITS)

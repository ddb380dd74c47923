"""Cells of the cohort table about one scan: values that replace those of its header, and which values of its mask are the lesion."""

import re
from dataclasses import dataclass
from math import isfinite

from pipeline.cohort_table import Row

_POSSIBLE_MM = (0.001, 1000.0)
"""Far beyond any scanner, and far from where arithmetic on affines overflows."""


@dataclass(frozen=True)
class HeaderOverrides:
    """Values that replace those of a wrong image header; None keeps the value of the header."""

    spacing_mm: tuple[float | None, float | None, float | None] = (None, None, None)
    """Along x, y, z of the stored array."""
    flip_z: bool = False
    """The array is stored superior first although its header says otherwise."""
    hu_slope: float = 1.0
    hu_intercept: float = 0.0


def mask_label_of(row: Row) -> tuple[int, ...]:
    """Return the values of a mask that are the lesion, of a cell such as `2`, `2.0` (as spreadsheets write) or `2 3`."""
    words = re.split(r"[\s;,+]+", row["mask_label"]) if row["mask_label"] else ()
    try:
        labels = tuple(int(re.sub(r"\.0*$", "", word)) for word in words)
    except ValueError:
        labels = (0,)
    if any(label < 1 for label in labels):
        raise ValueError(
            f"mask_label {row['mask_label']!r}; expected whole numbers above 0, such as 2 or 2 3"
        )
    return labels


def overrides_of(row: Row) -> HeaderOverrides:
    """Return the values that replace those of the header.

    Raises:
        ValueError: a cell is no number, or one that cannot be meant.
    """

    def number(column: str) -> float | None:
        try:
            value = float(row[column]) if row[column] else None
        except ValueError:
            raise ValueError(f"{column} {row[column]!r} is not a number") from None
        if value is not None and not (isfinite(value) and (value > 0 or column == "hu_intercept")):
            raise ValueError(
                f"{column} {row[column]!r}; expected a finite number, above 0 but for hu_intercept"
            )
        if (
            value is not None
            and column.startswith("spacing")
            and not _POSSIBLE_MM[0] <= value <= _POSSIBLE_MM[1]
        ):
            raise ValueError(
                f"{column} {row[column]!r}; expected millimetres from {_POSSIBLE_MM[0]:g} to {_POSSIBLE_MM[1]:g}"
            )
        return value

    slope, intercept = number("hu_slope"), number("hu_intercept")
    flip = row["flip_z"].lower()
    if flip not in ("", "0", "1", "no", "yes", "false", "true"):
        raise ValueError(f"flip_z {row['flip_z']!r}; expected yes or no")
    return HeaderOverrides(
        spacing_mm=(number("spacing_x"), number("spacing_y"), number("spacing_z")),
        flip_z=flip in ("1", "yes", "true"),
        hu_slope=1.0 if slope is None else slope,
        hu_intercept=0.0 if intercept is None else intercept,
    )

"""How estimates stand in the cells of a table."""

from collections.abc import Mapping

from aggregate.statistics.intervals import NOT_ESTIMABLE, Estimate

SMALLEST_P_VALUE = 0.0001


def or_not_estimable(value: float | None) -> float | str:
    """Return the number, or the words that stand where there is none."""
    return NOT_ESTIMABLE if value is None else value


def interval_cells(estimate: Estimate, *, name: str = "estimate") -> Mapping[str, float | str]:
    """Return the cells `name`, ci_low, ci_high and ci_method; the last gives the reason for a missing number."""
    return {
        name: or_not_estimable(estimate.value),
        "ci_low": or_not_estimable(estimate.low),
        "ci_high": or_not_estimable(estimate.high),
        "ci_method": estimate.method,
    }


def p_value_cell(p_value: float | None) -> float | str:
    """Return the p-value, or that it is below what the table can show: never zero."""
    if p_value is not None and p_value < SMALLEST_P_VALUE:
        return f"<{SMALLEST_P_VALUE}"
    return or_not_estimable(p_value)

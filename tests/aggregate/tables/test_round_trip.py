"""What is written is read back: every table, in every style, with whatever its columns may hold."""

import codecs
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.tables.registry import all_tables
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import ALL, BELOW_SMALLEST, SMALLEST_P_VALUE
from aggregate.tables.table import Kind, Table

STYLES = [
    {"separator": separator, "decimal": decimal, "byte_order_mark": mark}
    for separator, decimal in ((",", "."), (";", ","), (";", "."))
    for mark in (False, True)
]
NAMES = {
    "class": ("HCC", "a;b,c", "=x"),
    "phase": ("AP", "late 'P'"),
    "covariate": ("age", "-height", 'a "b"'),
}
NUMBERS = st.floats(-1e9, 1e9)
COUNTS = st.integers(0, 10**9)
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(
        ["=1+1", "'=1+1", "'", "-2", "@x", "+", "\t", "a;b", "a,b", '"', "a\nb", "a\r\nb", " ", "1,5", "\x00"]
    ),
)
VALUES: Mapping[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: TEXTS,
    Kind.COUNT: COUNTS | st.none(),
    Kind.COUNT_OR_ALL: COUNTS | st.just(ALL) | st.none(),
    Kind.NUMBER: NUMBERS | st.just(math.nan) | st.just(math.inf) | st.none(),
    Kind.PROBABILITY: st.floats(0, 1) | st.none(),
    Kind.ESTIMATE: NUMBERS | st.just(NOT_ESTIMABLE) | st.none(),
    Kind.P_VALUE: st.floats(0, 1) | st.floats(0, 0.0002) | st.just(NOT_ESTIMABLE) | st.none(),
    Kind.YES_NO: st.booleans() | st.none(),
}


@st.composite
def rows_of(draw, table: Table) -> list[dict[str, Any]]:
    kinds = {name: column.kind for column in table.columns for name in column.expanded(NAMES)}
    row = st.fixed_dictionaries({name: VALUES[kind] for name, kind in kinds.items()})
    if not table.names_weights:  # a row without any text is none
        row = row.filter(lambda values: any(values.values()))
    return draw(st.lists(row, max_size=3))


def as_read(value: Any, table: Table, name: str) -> Any:
    """What a value must be after it was written: itself, a number to the digits of the table."""
    column = table.column(name)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if column.kind is Kind.P_VALUE and isinstance(value, float) and value < SMALLEST_P_VALUE:
        return BELOW_SMALLEST
    return pytest.approx(value, abs=0.51 * 10.0**-table.digits) if isinstance(value, float) else value


@pytest.mark.parametrize("table", all_tables(), ids=lambda table: table.file)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), style=st.sampled_from(STYLES))
def test_every_table_reads_what_it_wrote(tmp_path_factory, table, data, style):
    tables = ResultTables(tmp_path_factory.mktemp("round"), **style, weights="resnet18; (a,b)")
    rows = data.draw(rows_of(table))
    tables.write(table, rows, NAMES)
    found = tables.read(table)
    assert len(found) == len(rows)
    for ours, theirs in zip(rows, found, strict=True):
        assert {name: theirs[name] for name in ours} == {n: as_read(v, table, n) for n, v in ours.items()}
    assert {row["weights"] for row in found if table.names_weights} <= {"resnet18; (a,b)"}
    first = tables.path(table).read_bytes()
    assert first.startswith(codecs.BOM_UTF8) == style["byte_order_mark"]
    tables.write(table, [{name: row[name] for name in table.header(NAMES)} for row in found], NAMES)
    assert tables.path(table).read_bytes() == first

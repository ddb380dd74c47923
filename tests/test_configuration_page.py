"""docs/configuration.md: every key of every table, as the types have it."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from aggregate.models.registry import MODELS
from aggregate.outcomes.models.kinds import OUTCOME_MODELS
from pipeline.config import Section

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "make_configuration.py"))
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROWS = [re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in PAGE.splitlines() if line.startswith("| `")]
BASES = {"ExperimentConfig", "ExtractConfig", "AggregateConfig", "PhantomConfig"}
"""They share the keys of the first; only their tables differ."""


def every_section(kind=Section):
    for child in kind.__subclasses__():
        yield child
        yield from every_section(child)


def test_the_committed_page_is_the_one_that_is_generated():
    assert SCRIPT["page"]() == PAGE, "run `python docs/make_configuration.py`"


def test_every_key_has_a_type_a_default_and_a_meaning():
    assert len(ROWS) > 100
    assert [key for key, kind, _, meaning in ROWS if not kind or not meaning] == []
    assert [key for key, kind, default, _ in ROWS if not default and not kind.startswith("table")] == []


ELSEWHERE = ("tests.", "extract.encoder_cards", "extract.importers.")
"""Tables of cards stand on docs/encoders.md (test_docs.py), and settings of layouts are options, which `extract.py layouts` lists."""


@pytest.mark.parametrize(
    "kind",
    [kind for kind in every_section() if not kind.__module__.startswith(ELSEWHERE)],
)
def test_every_table_that_a_package_reads_is_on_the_page(kind):
    text = SCRIPT["about"](kind)
    assert kind.__name__ in BASES or text in PAGE or kind.__name__ == "PretrainConfig"


def test_every_kind_of_model_is_on_the_page():
    assert all(f"\n### `{name}`\n" in PAGE for name in {**MODELS, **OUTCOME_MODELS})


def test_defaults_are_written_as_a_configuration_has_them():
    written = [default for _, _, default, _ in ROWS if default not in ("", "-", "required")]
    for default in written:
        tomllib.loads(f"value = {default.strip('`')}")


def test_types_are_told_with_their_limits():
    rows = {row[0]: row[1:] for row in ROWS}
    assert rows["`tune_share`"][:2] == ["number, above 0, at most 0.5", "`0.2`"]
    assert rows["`which`"][0] == '`"tumour"` or `"organ"` or `"z_ranges"`'
    assert rows["`every_mm`"][:2] == ["number, above 0", "-"]
    assert rows["`patients`"][1] == "`{ HCC = 12, iCCA = 12, cHCC-CCA = 12 }`"

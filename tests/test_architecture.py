"""The rules of the layout, as design decisions that a test can see."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "pipeline": {"pipeline"},
    "extract": {"extract", "pipeline"},
    "aggregate": {"aggregate", "pipeline"},
    "phasemil": {"phasemil", "extract", "aggregate", "pipeline"},
}
"""Which packages a package may import; `phasemil` passes their public names on, and none imports it."""
SOURCES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


STEPS = (
    {
        "predictions",
        "drawing",
        "config",
        "model_section",
        "study_section",
        "cohort",
        "statistics",
        "outcomes.section",
        "outcomes.outcome",
        "outcomes.reading",
        "outcomes.predictions",
        "outcomes.statistics",
    },
    {"models", "store", "outcomes.models"},
    {"planning", "outcomes.planning", "run_folder.run_record", "run_folder.fit_seconds"},
    {"fitting", "outcomes.fitting"},
    {"tables", "outcomes.tables"},
    {"explain"},
    {"study"},
    {"report", "outcomes.report"},
    {"paper"},
    {
        "run_folder",
        "doctor",
        "carried_out",
        "cross_validated_run",
        "explained_run",
        "printed_summary",
        "orchestration",
        "outcomes.run",
        "study_questions",
        "study_run",
        "budgeted_run",
        "cluster",
        "compared_runs",
        "first_config",
    },
    {"package"},
    {"commands"},
)
"""The rooms of stage 2 in the order in which a run goes through them; a room imports its own and earlier ones only."""


def step_of(module: str) -> int:
    """Return the step of a module such as aggregate.run_folder.placing; the longest name of a room decides."""
    parts = module.split(".")[1:]
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next(i for name in names for i, rooms in enumerate(STEPS) if name in rooms)


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            longer = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (
                name if (ROOT / f"{name.replace('.', '/')}.py").exists() else node.module for name in longer
            )


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    assert set(imported_packages(path)) & set(ALLOWED) <= ALLOWED[package]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "aggregate").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_run_goes_one_way(path):
    """Plan, fits, predictions, tables, explanations, report: no step imports one that comes after it."""
    if path.name == "__init__.py":
        return
    own = step_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    imported = {name for name in imported_modules(path) if name.startswith("aggregate.")}
    assert not {
        name for name in imported if name not in {"aggregate.models", "aggregate"} and step_of(name) > own
    }


def test_pipeline_imports_no_torch():
    found = {name for path in (ROOT / "pipeline").rglob("*.py") for name in imported_packages(path)}
    assert not found & {"torch", "torchvision"}


def test_no_module_bears_a_package_name_or_an_empty_one():
    names = {path.stem for path in SOURCES} | {
        path.parent.name for path in SOURCES if path.parent.name not in ALLOWED
    }
    assert not names & {"pipeline", "extract", "aggregate", "utils", "helpers", "misc"}


def test_package_inits_hold_a_docstring_and_nothing_else():
    for path in SOURCES:
        # That of `phasemil` is the table of the public names; tests/test_phasemil.py holds it to be light.
        if path.name == "__init__.py" and path.parent.name != "phasemil":
            (node,) = ast.parse(path.read_text(encoding="utf-8")).body
            assert isinstance(node, ast.Expr), path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_fits_in_400_lines_and_a_function_in_the_eye(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            described = isinstance(node.body[0], ast.Expr) and len(node.body) > 1
            first = node.body[1].lineno if described else node.body[0].lineno
            assert (node.end_lineno or 0) - first < 60, f"{path}: {node.name}"


def test_the_packages_imported_are_those_of_this_checkout():
    assert Path(pipeline.__file__).is_relative_to(ROOT)

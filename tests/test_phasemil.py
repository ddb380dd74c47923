"""`import phasemil`: the public names in one place, imported when they are asked for."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import phasemil

ROOT = Path(__file__).resolve().parents[1]


def test_importing_it_loads_neither_the_packages_nor_the_libraries():
    code = "import sys, phasemil; print(*({n.partition('.')[0] for n in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "phasemil" in loaded
    assert not {"torch", "numpy", "sklearn", "aggregate", "extract", "pipeline"} & set(loaded)


def test_the_version_is_that_of_the_installed_package():
    assert phasemil.__version__ == version("phasemil")


@pytest.mark.parametrize("name", [name for name in phasemil.__all__ if name != "__version__"])
def test_every_public_name_is_there_once_and_documented(name):
    found = getattr(phasemil, name)
    assert found.__name__ == name
    assert found.__doc__
    assert name in dir(phasemil)


def test_the_names_for_type_checkers_are_those_of_the_table():
    tree = ast.parse((ROOT / "phasemil" / "__init__.py").read_text(encoding="utf-8"))
    imports = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith(("aggregate", "extract", "pipeline"))
    ]
    assert {alias.name: node.module for node in imports for alias in node.names} == phasemil._HOME


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'phasemil' has no attribute 'Pateints'"):
        _ = phasemil.Pateints

import ast
from pathlib import Path

import pytest
import torch

import extract.pretrain
from extract.pretrain.canvas import Canvas
from extract.pretrain.formulas import FAMILIES, Formula, formulas


def canvas(seed=0, n=3):
    return Canvas(n, 32, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(6))
def test_images_of_every_family_are_finite_and_standardised(family, seed):
    fields = Formula(family, seed).draw(canvas())
    assert fields.shape == (3, 32, 32)
    assert fields.isfinite().all()
    assert fields.mean((1, 2)).abs().max() < 1e-3
    assert (fields.std((1, 2)) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seeds_draw_the_same_images(family):
    assert torch.equal(Formula(family, 1).draw(canvas()), Formula(family, 1).draw(canvas()))


@pytest.mark.parametrize("family", FAMILIES)
def test_chance_and_formula_both_change_the_image(family):
    first = Formula(family, 1).draw(canvas())
    assert not torch.allclose(first, Formula(family, 1).draw(canvas(seed=1)))
    assert not torch.allclose(first, Formula(family, 2).draw(canvas()))


def test_as_many_formulas_as_asked_for_and_none_twice():
    listed = formulas({"noise": 5, "blobs": 7}, seed=3)
    assert [f.family for f in listed] == ["noise"] * 5 + ["blobs"] * 7
    assert len({f.seed for f in listed}) == 12
    assert listed == formulas({"noise": 5, "blobs": 7}, seed=3)


def test_nothing_of_the_phantom_is_imported():
    """The phantom is the test of the encoder, not its teacher."""
    sources = sorted(Path(extract.pretrain.__file__).parent.rglob("*.py"))
    assert len(sources) > 5
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert "phantom" not in (node.module or ""), path
                assert not any("phantom" in alias.name for alias in node.names), path
            elif isinstance(node, ast.Import):
                assert not any("phantom" in alias.name for alias in node.names), path
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"__import__", "import_module", "importlib.import_module"}, path

"""What the products of stacked fits promise."""

from contextlib import suppress

import pytest
import torch

from aggregate.models import products
from aggregate.models.gated_score import GatedScore
from aggregate.models.products import affine
from aggregate.models.threads import one_thread


@pytest.fixture(params=["MKL", "oneDNN"])
def library(request, monkeypatch):
    """Both ways to compute a large product, whichever is the quicker one here."""
    if request.param == "oneDNN" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(products, "_onednn_is_quicker", lambda: request.param == "oneDNN")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("is_rectified", [False, True])
@pytest.mark.parametrize(("fits", "rows"), [(2, 3), (2, 1100), (1, 1100)])
def test_a_product_and_its_gradients_equal_those_of_double_precision(fits, rows, is_rectified):
    generator = torch.Generator().manual_seed(0)
    shapes = [(fits, rows, 96), (fits, 96, 40), (fits, 1, 40)]
    drawn = [torch.randn(shape, generator=generator) for shape in shapes]
    outward = torch.randn((fits, rows, 40), generator=generator)
    single = [tensor.clone().requires_grad_() for tensor in drawn]
    double = [tensor.double().requires_grad_() for tensor in drawn]
    result = affine(*single, is_rectified=is_rectified)
    result.backward(outward)
    expected = double[0] @ double[1] + double[2]
    if is_rectified:
        # Where rounding decides the sign, the gradients differ rightly.
        expected = expected * (result > 0)
    expected.backward(outward.double())
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-4)
    for ours, exact in zip(single, double, strict=True):
        torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-5, atol=1e-3)


def test_the_gradients_of_a_rectified_product_equal_finite_differences():
    shapes = [(2, 5, 4), (2, 4, 3), (2, 1, 3)]
    factors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *values: affine(*values, is_rectified=True), factors)


@pytest.mark.usefixtures("library")
def test_features_that_need_no_gradient_get_none():
    inputs = torch.randn(1, 1100, 64)
    weight = torch.randn(1, 64, 32, requires_grad=True)
    affine(inputs, weight, torch.zeros(1, 1, 32)).sum().backward()
    assert inputs.grad is None
    torch.testing.assert_close(weight.grad[0, :, 0], inputs[0].sum(dim=0), rtol=1e-4, atol=1e-4)


@pytest.fixture
def gated():
    """Embedded slices, weight and bias of the gates, and weight of the score."""
    shapes = [(2, 5, 4), (2, 4, 6), (2, 1, 6), (2, 3, 1)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def test_a_gated_score_is_what_its_formula_says(gated):
    embedded, weight, bias, score = gated
    signal, door = (embedded @ weight + bias).chunk(2, dim=2)
    expected = ((signal.tanh() * door.sigmoid()) @ score).squeeze(2)
    torch.testing.assert_close(GatedScore.apply(*gated), expected)


def test_the_gradient_of_a_gated_score_equals_finite_differences(gated):
    assert torch.autograd.gradcheck(GatedScore.apply, gated)


def test_embedded_slices_are_left_as_they_were(gated):
    before = gated[0].clone()
    GatedScore.apply(*gated).sum().backward()
    assert torch.equal(gated[0], before)


def test_one_thread_is_given_back_even_after_an_error():
    before = torch.get_num_threads()
    inside = []
    with suppress(ZeroDivisionError), one_thread():
        inside.append(torch.get_num_threads())
        inside.append(1 / 0)
    assert inside == [1]
    assert torch.get_num_threads() == before

"""What the products of stacked fits promise."""

from contextlib import suppress

import pytest
import torch

from aggregate.models.gated_score import GatedScore
from aggregate.models.products import affine
from aggregate.models.threads import one_thread


@pytest.mark.parametrize("rows", [3, 1100])
def test_a_product_and_its_gradients_equal_those_of_double_precision(rows):
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator) for shape in [(2, rows, 96), (2, 96, 40), (2, 1, 40)]]
    outward = torch.randn((2, rows, 40), generator=generator)
    single = [tensor.clone().requires_grad_() for tensor in drawn]
    double = [tensor.double().requires_grad_() for tensor in drawn]
    product = affine(*single)
    product.backward(outward)
    expected = double[0] @ double[1] + double[2]
    expected.backward(outward.double())
    torch.testing.assert_close(product.double(), expected, rtol=1e-5, atol=1e-4)
    for ours, exact in zip(single, double, strict=True):
        torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-5, atol=1e-3)


def test_features_that_need_no_gradient_get_none():
    inputs = torch.randn(1, 1100, 64)
    weight = torch.randn(1, 64, 32, requires_grad=True)
    affine(inputs, weight, torch.zeros(1, 1, 32)).sum().backward()
    assert inputs.grad is None
    torch.testing.assert_close(weight.grad[0, :, 0], inputs[0].sum(dim=0), rtol=1e-4, atol=1e-4)


def test_a_gated_score_is_what_its_formula_says():
    gate = torch.randn(2, 5, 6, dtype=torch.float64)
    weight = torch.randn(2, 3, 1, dtype=torch.float64)
    signal, door = gate.chunk(2, dim=2)
    expected = ((signal.tanh() * door.sigmoid()) @ weight).squeeze(2)
    torch.testing.assert_close(GatedScore.apply(gate, weight), expected)


def test_the_gradient_of_a_gated_score_equals_finite_differences():
    gate = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(GatedScore.apply, (gate, weight))


def test_a_gate_is_left_as_it_was():
    gate = torch.randn(1, 4, 6)
    before = gate.clone()
    GatedScore.apply(gate, torch.randn(1, 3, 1))
    assert torch.equal(gate, before)


def test_one_thread_is_given_back_even_after_an_error():
    before = torch.get_num_threads()
    inside = []
    with suppress(ZeroDivisionError), one_thread():
        inside.append(torch.get_num_threads())
        inside.append(1 / 0)
    assert inside == [1]
    assert torch.get_num_threads() == before

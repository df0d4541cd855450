"""Linear maps by oneDNN against PyTorch's own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from moldiff.nn import linear as module
from moldiff.nn.linear import Linear, linear

SHAPES = [(4, 7, 7, 5), (3, 5), (5,), (1, 5), (0, 5), (2, 0, 5)]
needs_onednn = pytest.mark.skipif(module._ONEDNN is None, reason="this build of PyTorch has no oneDNN")


def made(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def map_of(bias: bool) -> Linear:
    torch.manual_seed(0)
    return Linear(5, 6, bias=bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_are_those_of_pytorch(shape: tuple[int, ...], bias: bool) -> None:
    one, x = map_of(bias), made(*shape)
    with torch.no_grad():
        expected = functional.linear(x, one.weight, one.bias)
        torch.testing.assert_close(one(x), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one.activated(x), functional.silu(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if len(shape) > 1], ids=str)
def test_gradients_are_those_of_pytorch(shape: tuple[int, ...], bias: bool, activate: bool) -> None:
    one, x = map_of(bias), made(*shape).requires_grad_()
    inputs = [x, *one.parameters()]
    expected = functional.linear(x, one.weight, one.bias)
    expected = functional.silu(expected) if activate else expected
    found, toward = (one.activated(x) if activate else one(x)), made(*expected.shape, seed=1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    ours, theirs = (torch.autograd.grad((value * toward).sum(), inputs) for value in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_needs_no_gradient_gets_none() -> None:
    one, x = map_of(True), made(3, 5)
    one.weight.requires_grad_(False)
    one(x).sum().backward()
    assert (one.weight.grad, x.grad) == (None, None) and one.bias.grad is not None
    x.requires_grad_()
    one(x).sum().backward()
    torch.testing.assert_close(x.grad, one.weight.sum(0).expand(3, 5))


@needs_onednn
def test_gradients_of_gradients_are_refused() -> None:
    one, x = map_of(True), made(3, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(one(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_what_is_not_contiguous_is_mapped_alike() -> None:
    one, whole = map_of(True), made(4, 5, 3)
    with torch.no_grad():
        expected = functional.linear(whole.mT.contiguous(), one.weight, one.bias)
        torch.testing.assert_close(one(whole.mT), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gradients", [False, True])
def test_number_types_are_those_of_pytorch(gradients: bool) -> None:
    one, x = map_of(True), made(3, 5)
    with torch.set_grad_enabled(gradients):
        for dtype in (torch.float64, torch.bfloat16):
            other = map_of(True).to(dtype)
            assert other(x.to(dtype)).dtype == other.activated(x.to(dtype)).dtype == dtype
        exact = map_of(True).double()
        assert torch.equal(exact(x.double()), functional.linear(x.double(), exact.weight, exact.bias))
        with torch.autocast("cpu", torch.bfloat16):
            found = one.activated(x)
            expected = functional.silu(functional.linear(x, one.weight, one.bias))
        assert found.dtype == expected.dtype == torch.bfloat16
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-2)
        with pytest.raises(RuntimeError, match=r"[dD]type"):
            one(x.double())


@needs_onednn
def test_rows_are_the_same_to_the_last_bit_whatever_their_number() -> None:
    weight, x = made(96, 64), made(16, 9, 9, 64, seed=1)
    with torch.no_grad():
        for dtype in (torch.float32, torch.bfloat16):
            whole = linear(x.to(dtype), weight.to(dtype), activate=True)
            for rows in range(4, 16, 4):
                assert torch.equal(linear(x[:rows].to(dtype), weight.to(dtype), activate=True), whole[:rows])


@pytest.mark.parametrize("gradients", [False, True])
def test_a_pytorch_without_onednn_computes_alike(monkeypatch: pytest.MonkeyPatch, gradients: bool) -> None:
    one, x = map_of(True), made(4, 7, 5)
    with torch.set_grad_enabled(gradients):
        expected = one(x), one.activated(x)
        monkeypatch.setattr(module, "_ONEDNN", None)
        found = one(x), one.activated(x)
        assert torch.equal(found[0], functional.linear(x, one.weight, one.bias))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@needs_onednn
def test_a_processor_without_bfloat16_computes_alike(tmp_path: Path) -> None:
    program = """
        import torch
        from torch.nn import functional
        from moldiff.nn import linear as module
        one, x = module.Linear(5, 6), torch.randn(4, 5)
        assert module._PRECISIONS == (torch.float32,), module._PRECISIONS
        with torch.no_grad():
            torch.testing.assert_close(one.activated(x), functional.silu(functional.linear(x, one.weight, one.bias)))
            with torch.autocast("cpu", torch.bfloat16):
                found, expected = one.activated(x), functional.silu(functional.linear(x, one.weight, one.bias))
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-2)
    """
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    words = [sys.executable, "-c", textwrap.dedent(program)]
    ended = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_map_without_memory_has_shapes_alone() -> None:
    with torch.device("meta"):
        assert Linear(5, 6).activated(torch.empty(2, 5)).shape == (2, 6)

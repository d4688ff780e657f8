"""Fast dropout is dropout: its share, its scale, its gradient, and the same mask from a seed."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

from zlpr_hf.training.dropout import MIN_ELEMENTS, PROBABILITY_STEPS, drop, fast_dropout

LARGE = (64, 2 * MIN_ELEMENTS // 64)


def _seeded(values: Tensor, p: float, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return fast_dropout(values, p)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_drops_its_share(p: float) -> None:
    count = 2**20
    dropped = int((_seeded(torch.ones(count), p) == 0).sum())
    assert abs(dropped - p * count) < 6 * math.sqrt(p * (1 - p) * count) + count / PROBABILITY_STEPS


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_neighbours_and_the_four_elements_of_a_draw_are_independent(p: float) -> None:
    kept = (_seeded(torch.ones(2**20), p) != 0).double()
    for distance in (1, 2, 3, 4, 64):
        pair = torch.stack((kept[:-distance], kept[distance:]))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 6 / math.sqrt(2**20)


def test_each_place_of_a_draw_drops_equally_often() -> None:
    kept = (_seeded(torch.ones(2**18, 4), 0.1) != 0).double()
    error = 6 * math.sqrt(0.1 * 0.9 / 2**18) + 1 / PROBABILITY_STEPS
    assert torch.allclose(kept.mean(0), torch.full((4,), 0.9).double(), atol=error, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_kept_values_are_scaled_to_keep_the_mean(dtype: torch.dtype) -> None:
    values = torch.randn(LARGE).to(dtype)
    result = _seeded(values, 0.25)
    assert result.dtype == dtype
    assert result.shape == values.shape
    kept = result != 0
    assert torch.allclose(result[kept], values[kept] * (4 / 3), rtol=1e-2)


def test_gradient_passes_where_values_did() -> None:
    values = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    result = _seeded(values, 0.3)
    (gradient,) = torch.autograd.grad(result.sum(), values)
    assert torch.equal(gradient != 0, result != 0)
    assert torch.autograd.gradcheck(lambda x: _seeded(x, 0.3), values)
    assert torch.autograd.gradgradcheck(
        lambda x: _seeded(x, 0.3), values[:3, :5].detach().requires_grad_()
    )


def test_same_seed_same_mask_on_any_number_of_threads() -> None:
    values = torch.ones(LARGE)
    one = _seeded(values, 0.1)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert torch.equal(one, _seeded(values, 0.1))
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(one, fast_dropout(values, 0.1))  # the next call draws another one
    assert not torch.equal(one, _seeded(values, 0.1, seed=1))


def test_state_of_torch_holds_that_of_the_masks() -> None:
    torch.manual_seed(3)
    fast_dropout(torch.ones(LARGE), 0.1)
    state = torch.get_rng_state()
    following = fast_dropout(torch.ones(LARGE), 0.1)
    torch.set_rng_state(state)
    assert torch.equal(following, fast_dropout(torch.ones(LARGE), 0.1))


@pytest.mark.parametrize(("p", "factor"), [(0.0, 1.0), (1.0, 0.0)])
def test_rates_of_zero_and_one(p: float, factor: float) -> None:
    values = torch.randn(LARGE)
    assert torch.equal(fast_dropout(values, p), values * factor)


def test_layout_does_not_matter() -> None:
    values = torch.randn(LARGE).t()
    assert torch.equal(_seeded(values, 0.1), _seeded(values.contiguous(), 0.1))
    assert fast_dropout(torch.empty(0, 3), 0.1).shape == (0, 3)
    assert fast_dropout(torch.tensor(1.0), 0.5).shape == ()


def test_small_and_evaluated_tensors_are_left_to_torch() -> None:
    values = torch.randn(LARGE)
    ours = _seeded(values, 0.1)
    torch.manual_seed(0)
    assert torch.equal(drop(values, 0.1, training=True), ours)
    assert drop(values, 0.1, training=False) is values
    small = torch.ones(MIN_ELEMENTS - 1)
    torch.manual_seed(0)
    stock = functional.dropout(small, 0.1)
    torch.manual_seed(0)
    assert torch.equal(drop(small, 0.1, training=True), stock)
    changed = values.clone()
    assert drop(changed, 0.1, training=True, inplace=True) is changed
    with pytest.raises(ValueError, match="probability"):
        drop(values, 1.5, training=True)
    integers = torch.ones(LARGE, dtype=torch.int64)
    assert drop(integers, 0.0, training=True).dtype == torch.int64


def test_transforms_are_left_to_torch() -> None:
    torch.manual_seed(0)
    gradient = torch.func.grad(lambda x: drop(x, 0.25, training=True).sum())(torch.randn(LARGE))
    assert gradient.unique().tolist() == pytest.approx([0, 4 / 3])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_forward_mode_differentiates_torchs_dropout() -> None:
    values, tangent = torch.randn(LARGE), torch.randn(LARGE)
    with forward_ad.dual_level():
        torch.manual_seed(3)
        found = drop(forward_ad.make_dual(values, tangent), 0.25, training=True)
        found, derivative = forward_ad.unpack_dual(found)
    torch.testing.assert_close(derivative, torch.where(found == 0, 0.0, tangent / 0.75))
    assert 0.2 < float((found == 0).float().mean()) < 0.3

"""Fast dropout is dropout: its share, its scale, its gradient, and the same again from a seed."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from zlpr_hf.training.dropout import MIN_ELEMENTS, PROBABILITY_STEPS, all_dropout_fast, fast_dropout

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
def test_neighbours_and_the_four_of_a_draw_are_independent(p: float) -> None:
    kept = (_seeded(torch.ones(2**20), p) != 0).double()
    for distance in (1, 2, 3, 4, 64):
        pair = torch.stack((kept[:-distance], kept[distance:]))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 6 / math.sqrt(2**20)


def test_each_place_of_a_draw_drops_alike() -> None:
    kept = (_seeded(torch.ones(2**18, 4), 0.1) != 0).double()
    error = 6 * math.sqrt(0.1 * 0.9 / 2**18) + 1 / PROBABILITY_STEPS
    assert torch.allclose(kept.mean(0), torch.full((4,), 0.9).double(), atol=error, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_kept_is_scaled_to_keep_the_mean(dtype: torch.dtype) -> None:
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
def test_nothing_and_everything(p: float, factor: float) -> None:
    values = torch.randn(LARGE)
    assert torch.equal(fast_dropout(values, p), values * factor)


def test_layout_does_not_matter() -> None:
    values = torch.randn(LARGE).t()
    assert torch.equal(_seeded(values, 0.1), _seeded(values.contiguous(), 0.1))
    assert fast_dropout(torch.empty(0, 3), 0.1).shape == (0, 3)


@pytest.mark.parametrize(
    ("values", "p", "message"),
    [
        (torch.ones(3), 1.5, r"p must lie in \[0, 1\], got 1.5"),
        (torch.ones(3), float("nan"), "p must lie in"),
        (torch.ones(3, dtype=torch.int64), 0.1, "values must be floating .* got torch.int64"),
        (torch.ones(3, device="meta"), 0.1, "on the processor, got torch.float32 on meta"),
    ],
)
def test_what_it_cannot_take_is_told(values: Tensor, p: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fast_dropout(values, p)


def test_a_single_number_is_a_shape_too() -> None:
    assert fast_dropout(torch.tensor(1.0), 0.5).shape == ()


def _meanwhile(module: nn.Module, values: Tensor) -> Tensor:
    torch.manual_seed(0)
    with all_dropout_fast():
        result: Tensor = module(values)
    return result


def test_replaces_dropout_of_modules_and_functions() -> None:
    values = torch.randn(LARGE)
    ours = _seeded(values, 0.1)
    assert torch.equal(_meanwhile(nn.Dropout(0.1), values), ours)
    torch.manual_seed(0)
    with all_dropout_fast():
        assert torch.equal(functional.dropout(values, p=0.1), ours)
    torch.manual_seed(0)
    stock = functional.dropout(values, p=0.1)
    assert not torch.equal(stock, ours)  # outside all is as it was


def test_leaves_the_rest_to_torch() -> None:
    values = torch.randn(LARGE)
    assert _meanwhile(nn.Dropout(0.1).eval(), values) is values
    small = torch.ones(MIN_ELEMENTS - 1)
    torch.manual_seed(0)
    stock = functional.dropout(small, 0.1)
    assert torch.equal(_meanwhile(nn.Dropout(0.1), small), stock)
    changed = values.clone()
    assert _meanwhile(nn.Dropout(0.1, inplace=True), changed) is changed
    with pytest.raises(ValueError, match="probability"), all_dropout_fast():
        functional.dropout(values, p=1.5)


def test_leaves_transforms_and_compilers_to_torch() -> None:
    values = torch.randn(LARGE)
    with all_dropout_fast():
        torch.manual_seed(0)
        gradient = torch.func.grad(lambda x: functional.dropout(x, 0.25).sum())(values)
    assert gradient.unique().tolist() == pytest.approx([0, 4 / 3])


def test_ends_with_what_was_there_before() -> None:
    stock = functional.dropout
    with all_dropout_fast():
        ours = functional.dropout
        with all_dropout_fast():
            pass
        assert functional.dropout is ours is not stock
        with pytest.raises(KeyError), all_dropout_fast():
            raise KeyError
    assert functional.dropout is stock


@pytest.mark.parametrize("reentrant", [False, True])
def test_layers_computed_again_in_the_backward_pass_find_their_masks(reentrant: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.3), nn.Linear(64, 64))
    values = torch.randn(2 * MIN_ELEMENTS // 64, 64, requires_grad=True)

    def gradients(call: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        with all_dropout_fast():
            call(values).square().sum().backward()
        found = tuple(each.grad.clone() for each in (values, *layer.parameters()))
        values.grad = None
        layer.zero_grad()
        return found

    plain = gradients(layer)
    again = gradients(lambda x: checkpoint(layer, x, use_reentrant=reentrant))
    for one, other in zip(plain, again, strict=True):
        assert torch.equal(one, other)

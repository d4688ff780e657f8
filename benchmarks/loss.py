"""Time of the loss: forward and backward against torch's BCE and two other ways to write ZLPR.

Each repetition runs all losses in turn, so that other work on the machine affects all of them. The
printed values are medians and quartiles of the ratio to BCE within a repetition.

Run: python -m benchmarks.loss
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.output import save
from zlpr_hf import zlpr_loss

SIZES = ((64, 28), (64, 4_000), (64, 30_000))
REPEATS, WARM = 60, 5
POSITIVES = 3
THREADS = sorted({1, os.cpu_count() or 1})


def masked_log_sum_exp(logits: Tensor, targets: Tensor) -> Tensor:
    """Two calls of logsumexp over masked logits with a zero appended."""
    zero = torch.zeros_like(logits[:, :1])
    present = targets.bool()
    pull_up = torch.cat([(-logits).masked_fill(~present, -torch.inf), zero], dim=1)
    push_down = torch.cat([logits.masked_fill(present, -torch.inf), zero], dim=1)
    return (pull_up.logsumexp(1) + push_down.logsumexp(1)).mean()


def large_constant(logits: Tensor, targets: Tensor) -> Tensor:
    """A large constant in place of minus infinity; for hard targets only."""
    signed = (1 - 2 * targets) * logits
    zero = torch.zeros_like(logits[:, :1])
    push_down = torch.cat([signed - 1e12 * targets, zero], dim=1)
    pull_up = torch.cat([signed - 1e12 * (1 - targets), zero], dim=1)
    return (push_down.logsumexp(1) + pull_up.logsumexp(1)).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": F.binary_cross_entropy_with_logits,
    "zlpr": zlpr_loss,
    "masked log-sum-exp": masked_log_sum_exp,
    "large constant": large_constant,
}


def measure(batch: int, labels: int, device: str = "cpu") -> dict[str, dict[str, float]]:
    """Return milliseconds and the ratio to BCE per loss."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, labels, generator=generator).to(device).requires_grad_()
    flags = torch.rand(batch, labels, generator=generator) < POSITIVES / labels
    targets = flags.float().to(device)

    def compute(loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        logits.grad = None  # backward would add to it
        return loss(logits, targets)

    forwards = {name: partial(compute, loss) for name, loss in LOSSES.items()}
    return {
        name: {
            "milliseconds": each.milliseconds,
            "ratio": each.middle,
            "ratio_low": each.low,
            "ratio_high": each.high,
        }
        for name, each in time_in_turn(forwards, REPEATS).items()
    }


@dataclass(frozen=True)
class Timing:
    """Median time of forward and backward, and quartiles of its ratio to BCE."""

    milliseconds: float
    low: float
    middle: float
    high: float


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of a call, on a GPU until it has computed everything."""
    started = time.perf_counter()
    call()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def time_in_turn(forwards: Mapping[str, Callable[[], Tensor]], repeats: int) -> dict[str, Timing]:
    """Time losses in turn, one of which is ``bce``, by the functions that compute them."""
    seconds: dict[str, list[float]] = {name: [] for name in forwards}
    for repeat in range(repeats + WARM):
        for name, forward in forwards.items():
            taken = timed(lambda forward=forward: forward().backward())
            if repeat >= WARM:
                seconds[name].append(taken)
    found = {}
    for name, values in seconds.items():
        ratios = [value / bce for value, bce in zip(values, seconds["bce"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found[name] = Timing(1000 * statistics.median(values), low, middle, high)
    return found


def main() -> None:
    results: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for threads in THREADS:
        torch.set_num_threads(threads)
        for batch, labels in SIZES:
            found = results.setdefault(f"{threads} threads", {})
            found[f"{batch} x {labels}"] = measure(batch, labels)
            print(f"{batch} x {labels:,}, {threads} threads")
            for name, row in found[f"{batch} x {labels}"].items():
                print(
                    f"  {name:<20}{row['milliseconds']:>9.3f} ms{row['ratio']:>8.2f} x BCE "
                    f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
                )
    save("loss", {"results": results})


if __name__ == "__main__":
    main()

"""Time and memory of every loss relative to BCE: forward and backward pass of the loss alone.

Each repetition runs all losses in turn, so that other work on the machine affects all of them. The
values are medians and quartiles of the ratio to BCE within a repetition; memory is the bytes that
autograd keeps for the backward pass. Powerset, whose outputs are label sets, is in benchmarks.cost.

Run: python -m benchmarks.loss_cost
"""

import json
from typing import Any

import torch

from benchmarks.cost import BATCH, kept_bytes, passes
from benchmarks.loss import time_in_turn
from benchmarks.output import RESULTS, markdown_table, save
from zlpr_hf.losses.registry import LOSSES

SIZES = {100: 200, 10_000: 40}
"""Repetitions per number of labels."""


def measure(labels: int, repeats: int, device: str = "cpu") -> dict[str, dict[str, float]]:
    """Return time and memory of each loss as ratios to BCE."""
    _, forwards = passes(labels, device)
    bce = kept_bytes(forwards["bce"])
    return {
        name: {
            "time": each.middle,
            "time_low": each.low,
            "time_high": each.high,
            "memory": kept_bytes(forwards[name]) / bce,
        }
        for name, each in time_in_turn(forwards, repeats).items()
    }


def main() -> None:
    torch.set_num_threads(1)
    results = {str(labels): measure(labels, repeats) for labels, repeats in SIZES.items()}
    save("loss_cost", {"batch": BATCH, "results": results})
    print(render(results))


def render(results: dict[str, dict[str, Any]]) -> str:
    """One row per loss: time with few and with many labels, and memory with many."""
    sizes = list(results)
    rows = []
    for name in LOSSES:
        found = [results[size].get(name) for size in sizes]
        if not all(found):
            continue
        times = [f"{each['time']:.1f}" for each in found if each]
        rows.append([f"`{name}`", *times, f"{results[sizes[-1]][name]['memory']:.1f}"])
    titles = [f"time, {int(size):,} labels" for size in sizes]
    return markdown_table(["loss", *titles, "memory"], rows)


def loss_cost() -> str:
    """The table of docs/losses.md, from the stored figures."""
    stored = json.loads((RESULTS / "loss_cost.json").read_text(encoding="utf-8"))
    return render(stored["results"])


BLOCKS = {"loss_cost": loss_cost}

if __name__ == "__main__":
    main()

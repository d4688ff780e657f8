"""The cost of the losses as labels grow: time of a forward and backward pass, and memory kept.

Memory is the number of bytes that autograd keeps for the backward pass, the same on every machine.
Time is the median of interleaved repetitions. Powerset has one output per label set of 10,000 texts
with three Zipf-distributed labels each, unless there are too many.

Run: python -m benchmarks.cost
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.output import MADE_DATA, markdown_table, save, save_figure
from zlpr_hf import InputError, LabelSets, build_loss
from zlpr_hf.losses.modules import PowersetLoss
from zlpr_hf.losses.registry import LOSSES

LABELS = (10, 100, 1_000, 10_000, 30_000)
BATCH, REPEATS, TEXTS = 32, 15, 10_000


def draw_sets(labels: int, generator: np.random.Generator) -> np.ndarray:
    """Multi-hot rows of texts with up to three labels, some labels far more frequent."""
    share = 1 / np.arange(1, labels + 1)
    chosen = generator.choice(labels, size=(TEXTS, 3), p=share / share.sum())
    return np.unique(np.sort(chosen, axis=1), axis=0)


def powerset_of(labels: int) -> tuple[int, PowersetLoss | None]:
    """Return the number of different label sets, and the loss unless there are too many."""
    distinct = draw_sets(labels, np.random.default_rng(0))
    sets = sorted({tuple(sorted(set(row.tolist()))) for row in distinct})
    try:
        LabelSets.check_count(len(sets))
    except InputError:
        return len(sets), None
    return len(sets), PowersetLoss(LabelSets(tuple(sets), labels))


def passes(labels: int, device: str = "cpu") -> tuple[int, dict[str, Callable[[], Tensor]]]:
    """Return the number of label sets, and a forward pass per loss on logits of its own."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(BATCH, labels, generator=generator) < 3 / labels).float()
    count, powerset = powerset_of(labels)
    losses: dict[str, torch.nn.Module] = {
        name: build_loss(name, train_targets=targets.numpy())
        for name, kind in LOSSES.items()
        if not kind.predicts_label_sets
    }
    if powerset is not None:
        losses["powerset"] = powerset
    truth = targets.to(device)

    def one(name: str, loss: torch.nn.Module) -> Callable[[], Tensor]:
        width = count if name == "powerset" else labels
        logits = torch.randn(BATCH, width, generator=generator).to(device).requires_grad_()
        loss.to(device)
        return lambda: loss(logits, truth)

    return count, {name: one(name, loss) for name, loss in losses.items()}


def kept_bytes(forward: Callable[[], Tensor]) -> int:
    """Return the bytes of the distinct tensors that the backward pass needs."""
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        result = forward()
    nodes = [result.grad_fn]
    while nodes:  # tensors that our own autograd functions keep
        node = nodes.pop()
        for value in getattr(node, "__dict__", {}).values():
            if isinstance(value, Tensor):
                pack(value)
        nodes += [following for following, _ in getattr(node, "next_functions", ()) if following]
    return sum(kept.values())


def main() -> None:
    found: dict[str, dict[str, dict[str, float]]] = {}
    sets: dict[str, int] = {}
    for labels in LABELS:
        sets[str(labels)], forwards = passes(labels)
        seconds: dict[str, list[float]] = {name: [] for name in forwards}
        for repeat in range(REPEATS + 3):
            for name, forward in forwards.items():
                started = time.perf_counter()
                forward().backward()
                if repeat >= 3:
                    seconds[name].append(time.perf_counter() - started)
        found[str(labels)] = {
            name: {
                "milliseconds": 1000 * statistics.median(seconds[name]),
                "kept_bytes": kept_bytes(forward),
            }
            for name, forward in forwards.items()
        }
    save("cost", {"batch": BATCH, "label_sets": sets, "results": found}, folder=MADE_DATA)
    draw(found)
    rows = []
    for labels_, row in found.items():
        cells = [
            f"{row[name]['milliseconds']:.2f} ms, {row[name]['kept_bytes'] / 2**20:.1f} MiB"
            if name in row
            else "too many sets"
            for name in LOSSES
        ]
        rows.append([f"{int(labels_):,}", f"{sets[labels_]:,}", *cells])
    print(markdown_table(["labels", "label sets", *LOSSES], rows, texts=0))


def draw(found: dict[str, dict[str, dict[str, float]]]) -> None:
    """Time and kept memory over labels, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    titles = {
        "milliseconds": "forward and backward, ms",
        "kept_bytes": "kept for the backward pass, bytes",
    }
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for name in LOSSES:
            points = [(int(n), row[name][key]) for n, row in found.items() if name in row]
            axis.plot(*zip(*points, strict=True), "o-", markersize=3, label=name)
        axis.set(xscale="log", yscale="log", title=title, xlabel="labels")
    axes[0].legend(frameon=False, fontsize=7)
    save_figure("cost", figure)


if __name__ == "__main__":
    main()

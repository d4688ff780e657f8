"""Head and loss with very many labels: dense targets, ids, and chunks of logits.

All three compute the loss of texts with five labels each, and the gradients of features, weight and
bias. Time is the median of interleaved repetitions. Memory is the growth of the process's peak,
without the gradients of weight and bias, which all three need. The sizes are 670,000 labels, then
growing numbers of labels and texts. A last part trains a head of 131,072 labels that follow a power
law, on made texts and ids alone.

Run: python -m benchmarks.large_labels (Linux: the peak of memory is read from /proc)
"""

import ctypes
import math
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from benchmarks.output import save, save_figure
from zlpr_hf import linear_top_k, linear_zlpr_loss, zlpr_loss, zlpr_loss_from_indices

LABELS, HIDDEN, BATCH, POSITIVES = 670_000, 384, 64, 5
GROWING_LABELS = (1_000, 4_000, 16_000, 64_000, 256_000)
GROWING_BATCH = (8, 32, 128, 512)
SIZE = 64_000
"""Labels with growing numbers of texts."""
REPEATS = 5
TRAINED, STEPS, TEXTS = 131_072, 60, 1_000


def dense_loss(hidden: Tensor, head: nn.Linear, positives: Tensor) -> Tensor:
    """All logits, and multi-hot targets of the same size."""
    targets = torch.zeros(len(hidden), head.out_features).scatter_(1, positives, 1.0)
    return zlpr_loss(head(hidden), targets)


def ids_loss(hidden: Tensor, head: nn.Linear, positives: Tensor) -> Tensor:
    """All logits, positives as ids."""
    return zlpr_loss_from_indices(head(hidden), positives)


def chunked_loss(hidden: Tensor, head: nn.Linear, positives: Tensor) -> Tensor:
    return linear_zlpr_loss(hidden, head.weight, head.bias, positives)


SIDES: dict[str, Callable[[Tensor, nn.Linear, Tensor], Tensor]] = {
    "dense": dense_loss,
    "ids": ids_loss,
    "chunked": chunked_loss,
}


def peak_growth(work: Callable[[], object], *, warm: bool = True) -> float:
    """Return the growth of the process's peak memory in a call, in bytes."""
    status = Path("/proc/self/status")

    def read(name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", status.read_text(encoding="ascii"))
        assert found is not None
        return 1024 * int(found[1])

    if warm:
        work()  # once for nothing: what is set up on first use does not count
    ctypes.CDLL(None).malloc_trim(0)
    before = read("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    work()
    return read("VmHWM") - before


def measure(labels: int, batch: int) -> dict[str, dict[str, float]]:
    """Seconds and extra bytes of each side, and how far its gradients are from the dense ones."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(HIDDEN, labels)
    with torch.no_grad():
        head.weight.normal_(std=0.02, generator=generator)
        head.bias.fill_(-3.0)
    hidden = torch.randn(batch, HIDDEN, generator=generator, requires_grad=True)
    positives = torch.randint(labels, (batch, POSITIVES), generator=generator)
    leaves = [hidden, head.weight, head.bias]

    def gradients(side: str) -> tuple[Tensor, ...]:
        return torch.autograd.grad(SIDES[side](hidden, head, positives), leaves)

    owed = 4 * labels * (HIDDEN + 1)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    memory = {side: peak_growth(lambda side=side: gradients(side)) - owed for side in SIDES}
    for _ in range(REPEATS):
        for side, values in seconds.items():
            started = time.perf_counter()
            gradients(side)
            values.append(time.perf_counter() - started)
    exact = gradients("dense")
    return {
        side: {
            "seconds": statistics.median(values),
            "ratio": statistics.median(
                value / dense for value, dense in zip(values, seconds["dense"], strict=True)
            ),
            "extra_bytes": memory[side],
            "largest_relative_difference": max(
                float((one - other).abs().max() / other.abs().max())
                for one, other in zip(gradients(side), exact, strict=True)
            ),
        }
        for side, values in seconds.items()
    }


def draw(growth: dict[str, dict[str, dict[str, dict[str, float]]]]) -> None:
    """Time and memory over labels and over texts, all axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    for row, (over, points) in zip(figure.subplots(2, 2), growth.items(), strict=True):
        for axis, (key, title) in zip(
            row, (("seconds", "seconds"), ("extra_bytes", "extra MiB")), strict=True
        ):
            for side in SIDES:
                scale = 2**20 if key == "extra_bytes" else 1
                values = [max(point[side][key] / scale, 1e-3) for point in points.values()]
                axis.plot([int(size) for size in points], values, "o-", markersize=3, label=side)
            axis.set(xscale="log", yscale="log", title=title, xlabel=over)
    figure.axes[0].legend(frameon=False)
    save_figure("large_labels", figure, folder=Path("docs"))


def train() -> dict[str, object]:
    """A head on features that say which labels apply; labels follow a power law."""
    generator = torch.Generator().manual_seed(1)
    share = 1 / torch.arange(1, TRAINED + 1, dtype=torch.float32)
    meaning = torch.randn(TRAINED, HIDDEN, generator=generator)

    def texts(count: int) -> tuple[Tensor, Tensor]:
        ids = torch.multinomial(share, count * 3, replacement=True, generator=generator)
        ids = ids.view(count, 3)
        features = meaning[ids].mean(1) + 0.3 * torch.randn(count, HIDDEN, generator=generator)
        return features, ids

    head = nn.Linear(HIDDEN, TRAINED)
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, -math.log(TRAINED))  # all negatives together weigh 1
    # Plain steps: rows of labels that no text of a batch has hardly move.
    optimizer = torch.optim.SGD(head.parameters(), lr=30.0)

    def work() -> None:
        for _ in tqdm(range(STEPS), desc=f"train {TRAINED:,} labels"):
            features, ids = texts(256)
            optimizer.zero_grad()
            linear_zlpr_loss(features, head.weight, head.bias, ids).backward()
            optimizer.step()

    started = time.perf_counter()
    memory = peak_growth(work, warm=False)
    seconds = time.perf_counter() - started
    features, ids = texts(TEXTS)
    logits, found = linear_top_k(features, head.weight, head.bias, 5)
    hit = (found.unsqueeze(2) == ids.unsqueeze(1)).any(2)
    said = logits > 0
    true = sum(len(set(row)) for row in ids.tolist())
    return {
        "labels": TRAINED,
        "steps": STEPS,
        "seconds": seconds,
        "extra_bytes": memory,
        "precision_at_1": float(hit[:, 0].float().mean()),
        "f1_micro_of_the_best_five": float(2 * (hit & said).sum() / (said.sum() + true)),
    }


def main() -> None:
    largest = measure(LABELS, BATCH)
    memory = largest["dense"]["extra_bytes"] / largest["chunked"]["extra_bytes"]
    print(f"{LABELS:,} labels, {BATCH} texts: dense takes {memory:.1f} times the memory of chunks")
    growth = {
        "labels": {str(n): measure(n, BATCH) for n in tqdm(GROWING_LABELS, desc="labels")},
        "texts": {str(n): measure(SIZE, n) for n in tqdm(GROWING_BATCH, desc="texts")},
    }
    for points in ({str(LABELS): largest}, *growth.values()):
        for size, sides in points.items():
            for side, row in sides.items():
                print(
                    f"{int(size):>9,}  {side:<10}{row['seconds']:>9.4f} s{row['ratio']:>7.2f} x"
                    f"{row['extra_bytes'] / 2**20:>9.1f} MiB"
                    f"{row['largest_relative_difference']:>10.1e}"
                )
    trained = train()
    print("trained", trained)
    found = {"largest": largest, "memory_ratio": memory, "growth": growth, "trained": trained}
    save("large_labels", found)
    draw(growth)


if __name__ == "__main__":
    main()

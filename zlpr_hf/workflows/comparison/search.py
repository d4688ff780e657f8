"""Search of a comparison: each loss has trials of its own, and validation chooses the best one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import qmc

from zlpr_hf.errors import InputError, suggest
from zlpr_hf.losses.registry import LOSSES
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.thresholds import Thresholds
from zlpr_hf.workflows.comparison.cell import Cell

Range = tuple[float, float]

RANGES: dict[str, dict[str, Range]] = {
    "zlpr": {"temperature": (0.5, 2.0), "positive_weight": (0.5, 4.0)},
    "bce": {"positive_weight": (0.5, 8.0)},
    "focal": {"gamma": (0.0, 4.0)},
    "asymmetric": {"gamma_negative": (1.0, 6.0), "margin": (0.0, 0.2)},
    "robust_asymmetric": {
        "gamma_negative": (1.0, 6.0), "margin": (0.0, 0.2), "lambd": (1.0, 2.0),
    },
    "poly1": {"epsilon": (-0.5, 4.0)},
    "hill": {"lambd": (1.0, 2.0), "margin": (0.0, 2.0), "gamma": (0.0, 3.0)},
    "splc": {"tau": (0.5, 0.95), "margin": (0.0, 2.0), "gamma": (0.0, 3.0)},
    "class_balanced": {
        "beta": (0.5, 0.999), "lambd": (1.0, 5.0), "kappa": (0.0, 0.2), "gamma": (0.0, 3.0),
    },
    "distribution_balanced": {
        "mu": (0.3, 1.0), "lambd": (1.0, 5.0), "kappa": (0.0, 0.2), "gamma": (0.0, 3.0),
    },
    "sigmoid_f1": {"beta": (0.5, 5.0), "eta": (-2.0, 2.0)},
    "two_way": {"temperature_positive": (1.0, 6.0), "temperature_negative": (0.5, 2.0)},
}  # fmt: skip
"""Hyper-parameters of each loss that are searched; those of other losses are left alone."""

MAX_LEARNING_RATE = 1e6


@dataclass(frozen=True)
class Trial:
    """One setting of a search: rates of training and hyper-parameters of the loss."""

    rates: dict[str, float]
    loss_kwargs: dict[str, float]

    @property
    def settings(self) -> dict[str, Any]:
        """Values by the names of their options."""
        return {**self.rates, "loss_kwargs": self.loss_kwargs}


@dataclass(frozen=True)
class Search:
    """The search of a comparison that trains whole models, the same for each loss.

    Attributes:
        learning_rate: Least and greatest learning rate of the encoder.
        trials: Settings that are tried for each dataset and loss, with the first seed; the first
            has the defaults of the loss.
    """

    learning_rate: Range
    trials: int = 4

    @classmethod
    def read(cls, given: Any) -> Search:
        """Read the key ``search`` of a plan.

        Raises:
            InputError: If a name is unknown or missing, or a value is out of range.
        """
        known = tuple(cls.__dataclass_fields__)
        if not isinstance(given, Mapping):
            raise InputError(
                f"search: expected lines of 'name: value' for {', '.join(known)}, got {given!r}"
            )
        for name in given:
            if name not in known:
                otherwise = f"; expected one of {', '.join(known)}"
                hint = suggest(str(name), known, otherwise=otherwise)
                raise InputError(f"search: unknown name {name!r}{hint}")
        trials: Any = given.get("trials", cls.trials)
        ends: Any = given.get("learning_rate")
        if type(trials) is not int or trials < 1:
            raise InputError(f"search: trials: expected a whole number from 1, got {trials!r}")
        if not _is_range(ends):
            raise InputError(
                "search: learning_rate: expected the least and the greatest rate, such as "
                f"[1e-4, 1e-3], got {ends!r}"
            )
        low, high = ends
        return cls((float(low), float(high)), trials)

    def draw(
        self, loss: str, fixed: Mapping[str, float], seed: int, *, search: bool
    ) -> list[Trial]:
        """Return the trials of a loss."""
        rates = {"learning_rate": self.learning_rate}
        return list(
            draw_trials(loss, fixed, rates=rates, count=self.trials, seed=seed, search=search)
        )


def _is_range(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not {*map(type, value)} <= {int, float}:
        return False
    low, high = value
    return bool(0 < low < high <= MAX_LEARNING_RATE)


def searched_ranges(loss: str, fixed: Mapping[str, float], *, search: bool) -> dict[str, Range]:
    """Return the ranges of the hyper-parameters that are searched, without those that are fixed."""
    ranges = RANGES.get(loss, {}) if search else {}
    return {name: ends for name, ends in ranges.items() if name not in fixed}


def draw_trials(
    loss: str,
    fixed: Mapping[str, float],
    *,
    rates: Mapping[str, Range],
    count: int,
    seed: int,
    search: bool,
) -> Iterator[Trial]:
    """Yield settings: the defaults of the loss in the middle of the rates, then a Sobol sequence.

    Rates are spread evenly on a logarithmic scale, hyper-parameters on a linear one.
    """
    ranges = searched_ranges(loss, fixed, search=search)
    yield Trial({name: _between(ends, 0.5) for name, ends in rates.items()}, dict(fixed))
    sampler = qmc.Sobol(len(rates) + len(ranges), rng=seed)
    points = sampler.random_base2(max(count - 1, 1).bit_length())[: count - 1]
    for point in points.tolist():
        places = iter(point)  # first those of the rates
        drawn = {name: _between(ends, next(places)) for name, ends in rates.items()}
        kwargs = {name: low + next(places) * (high - low) for name, (low, high) in ranges.items()}
        yield Trial(drawn, {**fixed, **kwargs})


def _between(ends: Range, place: float) -> float:
    low, high = ends
    return float(low * (high / low) ** place)


def judge(cell: Cell, logits: Any, targets: Any, *, tuned: bool = False) -> float:
    """Return the mean of micro-F1 and macro-F1 on validation, at the own rule or a tuned offset.

    The own rule of a loss that does not decide at zero is a tuned offset too.
    """
    rule = Thresholds()
    if tuned or not LOSSES[cell.config.training.loss].decides_at_zero:
        rule = fit_thresholds(logits, targets, metric=cell.config.model.threshold_metric)
    found = compute_decision_metrics(rule.apply(logits), targets)
    return (found["f1_micro"] + found["f1_macro"]) / 2


@dataclass(frozen=True)
class TrialResult:
    """A trial with its score on validation; None if its run failed."""

    trial: int
    learning_rate: float
    loss_kwargs: dict[str, float]
    validation: float | None

    def __str__(self) -> str:
        values = {"learning rate": self.learning_rate} | self.loss_kwargs
        return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


@dataclass(frozen=True)
class SearchResults:
    """Search space and all trials of a comparison, by dataset and loss."""

    trials: int
    learning_rate: Range
    ranges: dict[str, dict[str, Range]]
    results: dict[str, dict[str, tuple[TrialResult, ...]]]

    @classmethod
    def read(cls, search: Search, finished: Mapping[Cell, bool]) -> SearchResults:
        """Judge the finished ones of all trials."""
        ranges: dict[str, dict[str, Range]] = {}
        results: dict[str, dict[str, tuple[TrialResult, ...]]] = {}
        for cell, is_finished in finished.items():
            training: Any = cell.config.training  # whose loss_kwargs are a mapping
            assert cell.trial is not None
            score = _judge_run(cell) if is_finished else None
            result = TrialResult(cell.trial, training.learning_rate, training.loss_kwargs, score)
            of_dataset = results.setdefault(cell.dataset, {})
            of_dataset[cell.loss] = (*of_dataset.get(cell.loss, ()), result)
            if cell.trial == 1:  # it has nothing but the hyper-parameters of the plan
                ranges[cell.loss] = searched_ranges(
                    training.loss, training.loss_kwargs, search=cell.search
                )
        return cls(search.trials, search.learning_rate, ranges, results)

    @classmethod
    def load(cls, content: Mapping[str, Any]) -> SearchResults:
        """Read search results from JSON."""
        ranges = {
            loss: {name: _pair(ends) for name, ends in each.items()}
            for loss, each in content["ranges"].items()
        }
        results = {
            dataset: {
                loss: tuple(TrialResult(**result) for result in each)
                for loss, each in of_dataset.items()
            }
            for dataset, of_dataset in content["results"].items()
        }
        return cls(content["trials"], _pair(content["learning_rate"]), ranges, results)

    def best(self, dataset: str, loss: str) -> TrialResult | None:
        """Return the trial with the highest score on validation; None if all failed."""
        finished = [each for each in self.results[dataset][loss] if each.validation is not None]
        return max(finished, key=lambda each: each.validation or 0.0, default=None)

    def is_best(self, cell: Cell) -> bool:
        """Return True if a cell has the setting of the best trial."""
        best = self.best(cell.dataset, cell.loss)
        return best is not None and best.trial == cell.trial

    def render(self) -> str:
        """Return one line per dataset and loss with the best setting."""
        lines = []
        for dataset, of_dataset in self.results.items():
            for loss in of_dataset:
                best = self.best(dataset, loss)
                setting = "all failed" if best is None else f"{best} (trial {best.trial})"
                lines.append(f"{dataset} · {loss}: {setting}")
        return "\n".join(lines)


def _judge_run(cell: Cell) -> float | None:
    """Return the score of a finished run on validation; None if its logits are not finite."""
    stored = cell.read_logits()
    logits, targets = stored["validation_logits"], stored["validation_targets"]
    return judge(cell, logits, targets) if np.isfinite(logits).all() else None


def _pair(ends: Sequence[float]) -> Range:
    low, high = ends
    return low, high

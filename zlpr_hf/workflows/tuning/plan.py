"""The plan of a search: its configuration, search space and metric."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zlpr_hf.errors import InputError
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.metrics.names import LESS_IS_BETTER, NEITHER_IS_BETTER, RANKING_PREFIXES
from zlpr_hf.workflows.argument_checks import check_config, check_metric
from zlpr_hf.workflows.arguments import RunConfig, parse_arguments, render_config
from zlpr_hf.workflows.option_words import option_words
from zlpr_hf.workflows.tuning.space import SearchSpace, read_search_space

TRIAL_OPTIONS = ("--eval_strategy=epoch", "--load_best_model_at_end=false")
"""Options of trials and of the best configuration; evaluation draws random numbers too."""


@dataclass(frozen=True)
class Plan:
    """A search, checked as far as possible without the data.

    ``argv`` are the words that ``config`` was read from. The metric is that of the validation split
    after the last epoch.
    """

    argv: tuple[str, ...]
    config: RunConfig
    space: SearchSpace
    metric: str
    prune: bool
    output_dir: Path

    def with_defaults(self, config: RunConfig) -> Plan:
        """Return the plan with the values that ``config`` has for options left at ``auto``."""
        if not self.config.auto:
            return self
        values = vars(config.model) | vars(config.training)
        chosen = [word for name in self.config.auto for word in option_words(name, values[name])]
        path, *options = self.argv
        options = [word for word in options if word not in TRIAL_OPTIONS]
        return plan_tuning(
            Path(path),
            [*options, *chosen],
            metric=self.metric,
            prune=self.prune,
            output_dir=self.output_dir,
        )

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Direction of the metric, as Optuna calls it."""
        return "minimize" if self.metric in LESS_IS_BETTER else "maximize"

    def describe(self) -> str:
        """Return all settings that trials depend on, one per line."""
        more = {"metric": self.metric, "prune": self.prune, "search_space": self.space.describe()}
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in more.items()]
        return render_config(self.config) + "".join(lines)

    def config_of(self, values: dict[str, Any]) -> str:
        """Return the configuration of ``zlpr train`` with values of the space, as YAML."""
        changes = _as_arguments(self.space.options(values))
        place = f"--output_dir={self.output_dir / 'best'}"
        return render_config(parse_arguments([*self.argv, *changes, place]))


def plan_tuning(
    config: Path, options: list[str], *, metric: str, prune: bool, output_dir: Path | None
) -> Plan:
    """Read and check a search; ``options`` are ``--name value`` that hold for all trials."""
    argv = (str(config), *options, *TRIAL_OPTIONS)
    parsed = parse_arguments(list(argv))
    check_config(parsed)
    training_args = parsed.training
    if training_args.world_size > 1:
        raise InputError(f"zlpr tune runs in one process, got {training_args.world_size}")
    if parsed.model.teacher_model_name_or_path:
        raise InputError("teacher_model_name_or_path: not supported by zlpr tune")
    if parsed.data.streaming:
        raise InputError("streaming: not supported by zlpr tune")
    if metric in NEITHER_IS_BETTER:
        raise InputError(f"metric: {metric} has no direction; expected one to maximise or minimise")
    space = SearchSpace.from_mapping(read_search_space(config), training_args)
    for name, values in space.corners():
        try:
            parse_arguments([*argv, *_as_arguments(values)])
        except InputError as error:
            raise InputError(f"search_space: {name}: {error}") from error
    if output_dir is None:
        output_dir = Path(f"{training_args.output_dir}-tuned")
    return Plan(argv, parsed, space, metric, prune, output_dir)


def _as_arguments(options: dict[str, Any]) -> list[str]:
    return [word for name, value in options.items() for word in option_words(name, value)]


def check_plan_metric(plan: Plan, num_labels: int, loss: MultiLabelLoss, *, large: bool) -> None:
    """Refuse a metric that does not exist, or that is meaningless while the loss trains."""
    check_metric("metric", plan.metric, num_labels, others={"loss"}, large=large)
    if not loss.decides_at_zero and not plan.metric.startswith((*RANKING_PREFIXES, "loss")):
        raise InputError(
            f"metric: {plan.metric} needs decisions, and loss {plan.config.training.loss} has no "
            "threshold of its own while it trains; expected a ranking metric, such as lrap"
        )

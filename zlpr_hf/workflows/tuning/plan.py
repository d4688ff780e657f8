"""The plan of a search: what is varied, and what counts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zlpr_hf.errors import InputError
from zlpr_hf.losses.modules import MultiLabelLoss
from zlpr_hf.metrics.names import LESS_IS_BETTER, NEITHER_IS_BETTER, RANKING_PREFIXES
from zlpr_hf.workflows.argument_checks import check_config, check_metric
from zlpr_hf.workflows.arguments import RunConfig, option_words, parse_arguments, render_config
from zlpr_hf.workflows.tuning.space import SearchSpace, read_search_space

TRIAL_OPTIONS = ("--eval_strategy=epoch", "--load_best_model_at_end=false")
"""What a trial and the run of its configuration share; evaluating draws random numbers too."""


@dataclass(frozen=True)
class Plan:
    """A search, checked as far as that goes without the data.

    Args:
        argv: Configuration and options of ``zlpr train`` for all trials.
        config: The same, read.
        space: What is varied.
        metric: What counts, on the validation split, after the last epoch.
        prune: Whether trials are cut short that do worse than half of those before.
        output_dir: Folder of the search.
    """

    argv: tuple[str, ...]
    config: RunConfig
    space: SearchSpace
    metric: str
    prune: bool
    output_dir: Path

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Whether the metric is to be made larger or smaller, in Optuna's words."""
        return "minimize" if self.metric in LESS_IS_BETTER else "maximize"

    def describe(self) -> str:
        """Everything that trials depend on but the data, as lines."""
        more = {"metric": self.metric, "prune": self.prune, "search_space": self.space.describe()}
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in more.items()]
        return render_config(self.config) + "".join(lines)

    def config_of(self, values: dict[str, Any]) -> str:
        """The configuration with values of the space, for ``zlpr train``.

        Args:
            values: Name to value, such as the ``params`` of a trial.

        Returns:
            YAML.
        """
        changes = _as_arguments(self.space.options(values))
        place = f"--output_dir={self.output_dir / 'best'}"
        return render_config(parse_arguments([*self.argv, *changes, place]))


def plan_tuning(
    config: Path, options: list[str], *, metric: str, prune: bool, output_dir: Path | None
) -> Plan:
    """Read and check what a search is about.

    Args:
        config: A configuration of ``zlpr train``, perhaps with a section ``search_space``.
        options: ``--name value`` for all trials; they win over the configuration.
        metric: What counts, on the validation split.
        prune: Whether trials may be cut short.
        output_dir: Folder of the search; by default the configuration's, with ``-tuned``.

    Returns:
        The plan.

    Raises:
        InputError: If an option, a name or a value is not what was expected.
    """
    argv = (str(config), *options, *TRIAL_OPTIONS)
    parsed = parse_arguments(list(argv))
    check_config(parsed)
    training_args = parsed.training
    if training_args.world_size > 1:
        raise InputError(f"a search runs in one process, got {training_args.world_size}")
    if parsed.model.teacher_model_name_or_path:
        raise InputError("teacher_model_name_or_path: trials have no teacher; search without it")
    if parsed.data.streaming:
        raise InputError("streaming: a search holds the training rows, which all trials share")
    if metric in NEITHER_IS_BETTER:
        raise InputError(f"metric: {metric} is good neither large nor small")
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
    """Refuse a metric that does not exist, or that is meaningless while the loss trains.

    Args:
        plan: The search.
        num_labels: Number of labels; the names of some metrics depend on it.
        loss: The loss of the trials.
        large: True in a large label space.
    """
    check_metric("metric", plan.metric, num_labels, others={"loss"}, large=large)
    if not loss.decides_at_zero and not plan.metric.startswith((*RANKING_PREFIXES, "loss")):
        raise InputError(
            f"metric: {plan.metric} needs decisions, and loss {plan.config.training.loss} has no "
            "threshold of its own while it trains; expected a ranking metric, such as lrap"
        )

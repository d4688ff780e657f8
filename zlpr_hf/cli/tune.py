"""``zlpr tune``: search hyperparameters, and write the best configuration."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from zlpr_hf.cli.parser import CommandParser, add_recipes, count_type
from zlpr_hf.distributed import announce_loading
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.recipes import find_recipe


def run(argv: list[str], program: Sequence[str]) -> int:
    """Search, print the best trials, and write the best configuration."""
    parser = CommandParser(
        "zlpr tune",
        description="Search hyperparameters that maximise a metric of the validation split.\n"
        "The section search_space of CONFIG selects them. Options of zlpr train hold for all\n"
        "trials, such as --num_train_epochs 3. The same command resumes an interrupted search.",
        example="zlpr tune quickstart --trials 20",
    )
    parser.add_argument("config", help="YAML file as for zlpr train, or name of a recipe")
    add_recipes(parser)
    parser.add_argument(
        "--trials",
        type=count_type(1),
        required=True,
        help="number of trials, earlier ones included",
    )
    parser.add_argument("--metric", default="f1_micro", help="metric to optimise")
    parser.add_argument(
        "--output_dir", type=Path, help="folder (default: that of CONFIG, with -tuned)"
    )
    parser.add_argument("--no_pruning", action="store_true", help="run all trials to the end")
    options, rest = parser.parse_known_args(argv)
    config = find_recipe(options.config, "tune")
    if find_spec("optuna") is None:
        raise InputError('zlpr tune needs optuna: pip install "zlpr_hf[tune]"')
    announce_loading()
    from zlpr_hf.workflows.tuning.plan import plan_tuning  # these load torch
    from zlpr_hf.workflows.tuning.run import BEST_FILE, tune

    plan = plan_tuning(
        config,
        rest,
        metric=options.metric,
        prune=not options.no_pruning,
        output_dir=options.output_dir,
    )
    tune(plan, options.trials)
    train = shlex.join([*program[:-1], "train", str(plan.output_dir / BEST_FILE)])
    print(f"to train with the best values:\n  {train}")
    return 0

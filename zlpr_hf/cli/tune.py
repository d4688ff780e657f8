"""``zlpr tune``: search hyper-parameters, and write the best configuration."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from zlpr_hf.cli.parser import CommandParser
from zlpr_hf.distributed import announce_loading
from zlpr_hf.errors import InputError


def run(argv: list[str], program: Sequence[str]) -> int:
    """Search, print the best trials and how to train with their values.

    Args:
        argv: ``CONFIG.yaml --trials N [...] [--name value ...]``; other names are settings of
            ``zlpr train`` for all trials.
        program: How the user called the command, for the commands that are printed.

    Returns:
        0.

    Raises:
        InputError: If something is wrong with the input.
    """
    parser = CommandParser(
        "zlpr tune",
        description="Search hyper-parameters; what counts is a metric of the validation split.\n"
        "CONFIG may say what is searched: search_space. Other options are settings of zlpr train,\n"
        "for all trials: --num_train_epochs 3. Killed or interrupted, the same command goes on.",
        example="zlpr tune configs/quickstart.yaml --trials 20",
    )
    parser.add_argument("config", type=Path, help="YAML file as for zlpr train")
    parser.add_argument("--trials", type=int, required=True, help="how many there are to be")
    parser.add_argument("--metric", default="f1_micro", help="what counts (f1_micro)")
    parser.add_argument("--output_dir", type=Path, help="folder (that of CONFIG, with -tuned)")
    parser.add_argument("--no_pruning", action="store_true", help="all trials run to their end")
    options, rest = parser.parse_known_args(argv)
    if options.trials < 1:
        raise InputError(f"trials: expected 1 or more, got {options.trials}")
    if not options.config.is_file():
        raise InputError(f"{options.config}: no such configuration file")
    if find_spec("optuna") is None:
        raise InputError("zlpr tune needs optuna: pip install 'zlpr_hf[tune]'")
    announce_loading()
    from zlpr_hf.workflows.tuning.plan import plan_tuning  # these load torch
    from zlpr_hf.workflows.tuning.run import BEST_FILE, tune

    plan = plan_tuning(
        options.config,
        rest,
        metric=options.metric,
        prune=not options.no_pruning,
        output_dir=options.output_dir,
    )
    tune(plan, options.trials)
    train = shlex.join([*program[:-1], "train", str(plan.output_dir / BEST_FILE)])
    print(f"to train with the best values:\n  {train}")
    return 0

"""The commands: ``zlpr train`` and ``zlpr compare``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

USAGE = """\
usage: zlpr train [CONFIG.yaml] [--name value ...]    fine-tune; zlpr train --help for all options
       zlpr compare PLAN.yaml [--dry_run]             data sets x losses x seeds, with statistics

example: zlpr compare configs/compare/quickstart.yaml --dry_run"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments after the program's name; those of the process if not given.

    Returns:
        0 if all went well, 1 if some runs of a comparison failed, 2 for wrong input, 130 if
        interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = {"train": train, "compare": compare}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] not in commands:
        print(
            f"error: expected one of {', '.join(commands)}, got {arguments[0]!r} (see zlpr --help)",
            file=sys.stderr,
        )
        return 2
    return commands[arguments[0]](arguments[1:])


def train(argv: list[str], *, program: Sequence[str] = ("zlpr", "train")) -> int:
    """Fine-tune one model and print its numbers and how to use it.

    Args:
        argv: ``[CONFIG.yaml] [--name value ...]``.
        program: How the user called it, for the commands that are printed.

    Returns:
        As :func:`main`.
    """
    from zlpr_hf.arguments import parse_arguments
    from zlpr_hf.checkpoints import CONFIG_FILE, PROFILE_FILE, RESULTS_FILE
    from zlpr_hf.errors import InputError
    from zlpr_hf.finetuning import finetune

    try:
        model_args, data_args, training_args = parse_arguments(argv)
        report = finetune(model_args, data_args, training_args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = shlex.join([*program, *argv, "--resume_from_checkpoint", "true"])
        print(f"\ninterrupted; to go on: {again}", file=sys.stderr)
        return 130
    if training_args.process_index == 0:
        folder = report.output_dir
        print(f"\n{report.render()}\n")
        print(f"written to {folder}: the model, {RESULTS_FILE}, {PROFILE_FILE}, {CONFIG_FILE}")
        if training_args.loss == "powerset":
            print("use it with stock transformers (the answer with the best score is a label set):")
            options, answer = "truncation=True", "p('type a text here')[0]['label']"
        else:
            print("use it with stock transformers (a label is predicted when its score is > 0.5):")
            options = "top_k=None, truncation=True"
            answer = "[s for s in p(['type a text here'])[0] if s['score'] > 0.5]"
        use = (
            "from transformers import pipeline; "
            f"p = pipeline('text-classification', {folder!r}, {options}); print({answer})"
        )
        print(f"  {shlex.join([sys.executable, '-c', use])}")
    return 0


def compare(argv: list[str]) -> int:
    """Run a comparison and print its table.

    Args:
        argv: ``PLAN.yaml [--output_dir DIR] [--dry_run] [--no_plots] [--name value ...]``; other
            names are settings of ``zlpr train`` for all runs.

    Returns:
        As :func:`main`.
    """
    parser = argparse.ArgumentParser(
        "zlpr compare",
        usage="zlpr compare PLAN.yaml [options] [--name value ...]",
        description="Data sets x losses x seeds, with statistics.",
        epilog="Other options are settings of zlpr train, for all runs: --num_train_epochs 1",
        allow_abbrev=False,
    )
    parser.add_argument("plan", type=Path, help="YAML file: datasets, losses, seeds")
    parser.add_argument("--output_dir", help="in place of the one in the plan")
    parser.add_argument("--dry_run", action="store_true", help="show the runs and stop")
    parser.add_argument("--no_plots", action="store_true", help="no pictures, hence no matplotlib")
    options, rest = parser.parse_known_args(argv)

    from zlpr_hf.comparison.plan import read_plan
    from zlpr_hf.comparison.plots import check_plots, draw_comparison
    from zlpr_hf.comparison.running import render_plan, run_comparison
    from zlpr_hf.comparison.table import TABLE_FILE, render_comparison
    from zlpr_hf.errors import InputError

    command = shlex.join(["zlpr", "compare", *argv])
    try:
        if not options.no_plots and not options.dry_run:
            check_plots()
        overrides = _overrides(rest)
        plan = read_plan(options.plan, output_dir=options.output_dir, overrides=overrides)
        if options.dry_run:
            print(render_plan(plan))
            print(f"to run them: {command.replace(' --dry_run', '')}")
            return 0
        comparison = run_comparison(plan)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted; finished runs stay, to go on: {command}", file=sys.stderr)
        return 130
    if comparison is None:  # not the main process
        return 0
    table = render_comparison(comparison, threshold_metric=plan.threshold_metric)
    (plan.output_dir / TABLE_FILE).write_text(table, encoding="utf-8")
    files = [] if options.no_plots else draw_comparison(comparison, plan.output_dir)
    print(f"\n{table}")
    names = ", ".join(["comparison.json", TABLE_FILE, *(path.name for path in files)])
    print(f"written to {plan.output_dir}: {names}")
    return 1 if comparison.failed else 0


def _overrides(rest: list[str]) -> dict[str, str]:
    """``--name value`` or ``--name=value`` as a mapping."""
    from zlpr_hf.errors import InputError

    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise InputError(f"expected --name value, got {word!r} (see zlpr compare --help)")
        found[name] = value if equals else next(words, "")
    return found


if __name__ == "__main__":
    sys.exit(main())

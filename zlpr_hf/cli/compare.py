"""``zlpr compare``: datasets x losses x seeds, with statistics."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from filelock import FileLock

from zlpr_hf.cli.parser import CommandParser, add_recipes, without_token
from zlpr_hf.distributed import announce_loading, is_main_process
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.workflows.recipes import find_recipe


def run(argv: list[str], program: Sequence[str]) -> int:
    """Run a comparison and print its table; return 1 if some runs failed."""
    parser = CommandParser(
        "zlpr compare",
        description="Train all combinations of datasets, losses and seeds, and compare them.\n"
        "Options of zlpr train hold for all runs, such as --num_train_epochs 1.",
        example="zlpr compare quickstart --dry_run",
    )
    parser.add_argument("plan", help="YAML file (datasets, losses, seeds) or name of a recipe")
    add_recipes(parser)
    parser.add_argument("--output_dir", help="output folder (default: that of the plan)")
    parser.add_argument("--dry_run", action="store_true", help="list the runs and stop")
    parser.add_argument(
        "--no_plots", action="store_true", help="draw no plots; matplotlib is not needed then"
    )
    options, rest = parser.parse_known_args(argv)
    overrides = _overrides(rest)
    path = find_recipe(options.plan, "compare")
    announce_loading()
    from zlpr_hf.workflows.comparison.plan import read_plan  # these load torch
    from zlpr_hf.workflows.comparison.plots import check_plots, draw_comparison
    from zlpr_hf.workflows.comparison.run import LOCK_FILE, render_plan, run_comparison
    from zlpr_hf.workflows.comparison.table import TABLE_FILE, render_comparison, render_summary

    if not options.no_plots and not options.dry_run:
        check_plots()
    plan = read_plan(path, output_dir=options.output_dir, overrides=overrides)
    if options.dry_run:
        if not is_main_process():
            return 0
        print(render_plan(plan))
        words = [word for word in without_token(argv) if word != "--dry_run"]
        print(f"to run them: {shlex.join([*program, *words])}")
        return 0
    comparison = run_comparison(plan)
    if comparison is None:  # not the main process
        return 0
    table = render_comparison(comparison, threshold_metric=plan.threshold_metric)
    with FileLock(plan.output_dir / LOCK_FILE):  # processes that share the runs end together
        comparison.save(plan.output_dir)
        write_whole(plan.output_dir / TABLE_FILE, table)
        files = [] if options.no_plots else draw_comparison(comparison, plan.output_dir)
    print(f"\n{render_summary(comparison)}")
    names = ", ".join(["comparison.json", TABLE_FILE, *(path.name for path in files)])
    print(f"written to {plan.output_dir}: {names}")
    return 1 if comparison.failed else 0


def _overrides(rest: list[str]) -> dict[str, str]:
    """Return ``--name value`` and ``--name=value`` as a mapping."""
    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise InputError(f"expected --name value, got {word!r} (see zlpr compare --help)")
        found[name] = value if equals else next(words, "")
    return found

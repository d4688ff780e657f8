"""``zlpr train``: fine-tune one model, print its numbers and how to use it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zlpr_hf.cli.parser import resume_command
from zlpr_hf.cli.terminal import print_log, print_report
from zlpr_hf.cli.train_options import check_early, short_parser
from zlpr_hf.distributed import announce_loading, is_main_process
from zlpr_hf.errors import InputError

if TYPE_CHECKING:
    from zlpr_hf.training.arguments import ZLPRTrainingArguments

SAVE_MORE_OFTEN = (
    "--eval_strategy steps --eval_steps N --save_strategy steps --save_steps N saves more often"
)


def run(argv: list[str], program: Sequence[str]) -> int:
    """Fine-tune and print the verdict; return 1 if the model could not be pushed."""
    if {"-h", "--help"} & set(argv):
        return _print_help(argv)
    from zlpr_hf.cli.own_file import complete_options  # loads pyarrow, for which help need not wait

    given = argv
    argv, reading = complete_options(given, program)
    check_early(argv)
    if reading and is_main_process():
        print_log(f"{reading}\n")
    announce_loading()
    from zlpr_hf.workflows.arguments import parse_arguments  # these load torch
    from zlpr_hf.workflows.finetune import finetune_config
    from zlpr_hf.workflows.output_dir import REPORT_FILE

    config = parse_arguments(argv)
    training_args = config.training
    try:
        report = finetune_config(config, log=print_log, columns_shown=bool(reading))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_continue(training_args, program, given)) from None
    except InputError as error:
        if isinstance(error.__cause__, FloatingPointError):
            raise InputError(f"{error}. {_how_to_resume(training_args)}") from error
        raise
    if is_main_process():
        page = Path(report.output_dir) / REPORT_FILE
        print_report(report, page if page.is_file() else None)
        if training_args.push_to_hub:
            return _push(report.output_dir, training_args)
    return 0


def _print_help(argv: Sequence[str]) -> int:
    """Print the options that matter most, or all of them for ``--help all``."""
    if "all" in argv:
        from zlpr_hf.workflows.arguments import render_all_options  # loads torch

        print(render_all_options())
    else:
        print(short_parser().format_help(), end="")
    return 0


def _last_checkpoint(arguments: ZLPRTrainingArguments) -> Path | None:
    from zlpr_hf.workflows.output_dir import find_resume_checkpoint

    return find_resume_checkpoint(
        Path(str(arguments.output_dir)),
        "true",
        overwrite=True,
        only_model=arguments.save_only_model,
    )


def _how_to_continue(
    arguments: ZLPRTrainingArguments, program: Sequence[str], argv: Sequence[str]
) -> str:
    """Return one line for an interrupted run: its checkpoint, or that there is none."""
    from zlpr_hf.workflows.output_dir import FOLDS_FOLDER

    last = _last_checkpoint(arguments)
    again = shlex.join([*program, *resume_command("train", argv)])
    if last is None:
        folds = len(list(Path(str(arguments.output_dir), FOLDS_FOLDER).glob("fold-*.npz")))
        if not folds:
            return f"interrupted before the first checkpoint: start again ({SAVE_MORE_OFTEN})"
        kept = "1 finished fold was kept" if folds == 1 else f"{folds} finished folds were kept"
        return f"interrupted; {kept}; resume with: {again}"
    return f"interrupted; {last} was kept; resume with: {again}"


def _how_to_resume(arguments: ZLPRTrainingArguments) -> str:
    """Name both ways to continue: a checkpoint keeps its learning rate."""
    last = _last_checkpoint(arguments)
    if last is None:
        return "There is no checkpoint yet: the next run starts from the beginning"
    return (
        f"{last} was kept: --resume_from_checkpoint true resumes with its learning rate, "
        "--overwrite_output_dir true starts again with another one"
    )


def _push(folder: str, arguments: ZLPRTrainingArguments) -> int:
    """Push a finished run; a failure leaves the run as it is."""
    from zlpr_hf.workflows.push import push_folder

    try:
        url = push_folder(
            folder,
            arguments.hub_model_id or Path(folder).resolve().name,
            private=bool(arguments.hub_private_repo),
            token=arguments.hub_token,
            revision=arguments.hub_revision,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"pushed to {url}")
    return 0

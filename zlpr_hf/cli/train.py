"""``zlpr train``: fine-tune one model, print its numbers and how to use it."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zlpr_hf.cli.own_file import complete_options
from zlpr_hf.cli.train_options import check_early, short_parser
from zlpr_hf.distributed import announce_loading, is_main_process
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.output_dir import (
    CARD_FILES,
    CONFIG_FILE,
    PROFILE_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    find_resume_checkpoint,
)

if TYPE_CHECKING:
    from zlpr_hf.training.arguments import ZLPRTrainingArguments

SAVE_MORE_OFTEN = "--save_strategy epoch, or --save_steps N, saves more often"
RUN_FILES = (REPORT_FILE, CARD_FILES[0], RESULTS_FILE, PROFILE_FILE, CONFIG_FILE)


def run(argv: list[str], program: Sequence[str]) -> int:
    """Fine-tune and print the numbers; return 1 if the model could not be pushed."""
    if {"-h", "--help"} & set(argv):
        return _print_help(argv)
    argv, reading = complete_options(argv, program)
    check_early(argv)
    if reading and is_main_process():
        print(f"{reading}\n", flush=True)
    announce_loading()
    from zlpr_hf.workflows.arguments import parse_arguments  # these load torch
    from zlpr_hf.workflows.finetune import finetune_config

    config = parse_arguments(argv)
    training_args = config.training
    try:
        report = finetune_config(config)
    except KeyboardInterrupt:
        if is_main_process() and _last_checkpoint(training_args) is None:
            print(
                f"\nno checkpoint yet: the next run starts from the beginning ({SAVE_MORE_OFTEN})",
                file=sys.stderr,
            )
        raise
    except InputError as error:
        if isinstance(error.__cause__, FloatingPointError):
            raise InputError(f"{error}. {_how_to_resume(training_args)}") from error
        raise
    if is_main_process():
        folder = report.output_dir
        print(f"\n{report.render()}\n")
        written = [name for name in RUN_FILES if (Path(folder) / name).is_file()]
        print(f"written to {folder}: the model, {', '.join(written)}")
        for title, line in _next_commands(folder):
            print(f"{title}:\n  {line}")
        print(f"from Python, also without zlpr_hf: see {Path(folder) / CARD_FILES[0]}")
        if training_args.push_to_hub:
            return _push(folder, training_args)
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
    return find_resume_checkpoint(
        Path(str(arguments.output_dir)),
        "true",
        overwrite=True,
        only_model=arguments.save_only_model,
    )


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


def _next_commands(folder: str) -> list[tuple[str, str]]:
    """Return titles and commands for the next steps, ready to copy."""
    zlpr = ["zlpr"] if shutil.which("zlpr") else [sys.executable, "-m", "zlpr_hf.cli"]
    predict, evaluate, export, demo, push = (
        shlex.join([*zlpr, command, folder, *more])
        for command, *more in (
            ("predict",),
            ("evaluate",),
            ("export", "--quantize", "int8"),
            ("demo",),
            ("push", "YOUR_NAME/YOUR_MODEL"),
        )
    )
    return [
        ("label texts (or use --input FILE --output FILE)", f"echo 'type a text here' | {predict}"),
        ("all metrics with intervals (or use --dataset FILE)", evaluate),
        ("export to ONNX Runtime, under a third of the size", export),
        ("try it on a web page", demo),
        ("push it to the Hub", push),
    ]

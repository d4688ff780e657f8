"""``zlpr``: run a command, and print errors that users can fix as one line."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Sequence

from zlpr_hf import __version__
from zlpr_hf.cli.log_lines import wrap_warnings
from zlpr_hf.cli.parser import resume_command
from zlpr_hf.distributed import (
    count_processes,
    is_main_process,
    limit_progress_bars,
    print_error,
    silence_other_processes,
)
from zlpr_hf.errors import InputError, find_full_disk, find_out_of_memory, suggest
from zlpr_hf.workflows.recipes import FOLDERS, find_recipe, render_recipes

COMMANDS = {
    "train": "fine-tune a model",
    "tune": "search hyperparameters",
    "reproduce": "train a run again and compare its numbers",
    "compare": "compare datasets x losses x seeds, with statistics",
    "predict": "label the texts of a file",
    "evaluate": "compute all metrics on labelled texts, with intervals",
    "start": "make a model from label names, without labelled texts",
    "suggest": "choose unlabelled texts to label next",
    "audit": "list the tags of the data that are likely wrong",
    "guarantee": "promise recall, precision or few false labels on new texts",
    "export": "write a model for ONNX Runtime",
    "certify": "check that every server decides as the model does",
    "push": "push a trained model to the Hugging Face Hub",
    "serve": "serve a model over HTTP",
    "demo": "try a model on a web page",
}
OUT_OF_MEMORY_REMEDY = (
    "use a smaller batch (train: --per_device_train_batch_size with "
    "--gradient_accumulation_steps; otherwise --batch_size), a smaller --max_length, or a smaller "
    "model"
)
DISTRIBUTED_COMMANDS = ("train", "compare", "predict", "reproduce")
"""Commands that several processes share; with others each would do the whole work."""
RESUMABLE = ("train", "tune", "compare", "predict", "reproduce", "audit")


def main(argv: Sequence[str] | None = None, *, program: Sequence[str] = ("zlpr",)) -> int:
    """Run a command.

    Args:
        argv: The command and its arguments (default: those of the process).
        program: The program as the user called it, for the commands that are printed.

    Returns:
        0 on success; 1 if a part failed, the disk is full or memory ran out; 2 for invalid input;
        130 if interrupted.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # this process only
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"zlpr_hf {__version__}")
        return 0
    command, *rest = arguments
    called = (*program, command) if program == ("zlpr",) else program
    again = shlex.join([*called, *resume_command(command, rest)])
    limit_progress_bars()
    silence_other_processes()
    try:
        if command not in COMMANDS:
            hint = suggest(command, COMMANDS, otherwise=" (see zlpr --help)")
            raise InputError(f"expected one of {', '.join(COMMANDS)}, got {command!r}{hint}")
        if count_processes() > 1 and command not in DISTRIBUTED_COMMANDS:
            raise InputError(
                f"zlpr {command}: expected one process, got {count_processes()} (WORLD_SIZE); run "
                "it without torchrun or accelerate launch"
            )
        if command in FOLDERS and "--recipes" in rest:
            print(render_recipes(command))
            return 0
        if command in FOLDERS and command != "train" and rest and not rest[0].startswith("-"):
            find_recipe(rest[0], command)  # a wrong name does not wait for torch
        # Imported here, since the libraries behind a command take seconds to load.
        module = importlib.import_module(f"zlpr_hf.cli.{command}")
        with wrap_warnings():
            status: int = module.run(rest, called)
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        if is_main_process():
            line = f"interrupted; resume with: {again}" if command in RESUMABLE else "interrupted"
            print_error(f"\n{str(stop) or line}")
        return 130
    except BrokenPipeError:  # the reader of the output, such as head, has stopped
        _drop_output()
        return 141
    except Exception as error:
        full = find_full_disk(error)
        if full is not None:
            print_error(
                f"error: no space left on the disk ({full}); completed files were kept; free some "
                f"space and resume with: {again}"
            )
            _drop_output()
            return 1
        short = find_out_of_memory(error)
        if short is not None:
            print_error(f"error: zlpr {command}: out of memory ({short}); {OUT_OF_MEMORY_REMEDY}")
            return 1
        if not isinstance(error, InputError):
            raise
        print_error(f"error: {error}")
        return 2
    return status


def _drop_output() -> None:
    """Discard output that cannot be written, so that the process ends without a trace."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name.ljust(width)}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: zlpr COMMAND ...    (zlpr COMMAND --help for its options and an example)",
            "",
            *lines,
            "",
            "example: zlpr train quickstart    (zlpr train --recipes lists more)",
        ]
    )

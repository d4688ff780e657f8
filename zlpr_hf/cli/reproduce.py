"""``zlpr reproduce``: train a finished run again and say whether its numbers come out again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from zlpr_hf.cli.parser import CommandParser
from zlpr_hf.distributed import announce_loading
from zlpr_hf.errors import InputError


def run(argv: list[str], program: Sequence[str]) -> int:  # noqa: ARG001
    """Reproduce a run.

    Args:
        argv: ``FOLDER [--output_dir DIR] [--tolerance X] [--any_data]``.
        program: How the user called the command; not needed here.

    Returns:
        0 if the numbers came out again, 1 if not.

    Raises:
        InputError: If something is wrong with the input.
    """
    parser = CommandParser(
        "zlpr reproduce",
        description="Train a finished run again, from the configuration in its folder, and compare "
        "metrics and weights.",
        example="zlpr reproduce out/quickstart",
    )
    parser.add_argument("folder", type=Path, help="output_dir of a run of zlpr train")
    parser.add_argument(
        "--output_dir", type=Path, help="new folder; default: FOLDER-reproduced, beside FOLDER"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        help="how far metrics may be apart; default: metrics and weights must be equal bit for bit",
    )
    parser.add_argument(
        "--any_data", action="store_true", help="go on even if the data has changed since"
    )
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="run code that comes with the model"
    )
    options = parser.parse_args(argv)
    if options.tolerance is not None and not 0 <= options.tolerance < math.inf:
        raise InputError(f"tolerance: expected 0 or more, got {options.tolerance:g}")
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder")
    announce_loading()
    from zlpr_hf.workflows.reproduce import reproduce  # loads torch

    place = options.folder.resolve()
    output_dir = options.output_dir or place.with_name(f"{place.name}-reproduced")
    found = reproduce(
        options.folder,
        output_dir=output_dir,
        tolerance=options.tolerance,
        any_data=options.any_data,
        trust_remote_code=options.trust_remote_code,
    )
    if found is None:  # not the main process
        return 0
    print(f"\n{found.render()}")
    return 0 if found.succeeded else 1

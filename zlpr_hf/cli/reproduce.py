"""``zlpr reproduce``: train a finished run again and compare its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from zlpr_hf.cli.parser import CommandParser, add_shared
from zlpr_hf.distributed import announce_loading
from zlpr_hf.errors import InputError


def run(argv: list[str], program: Sequence[str]) -> int:  # noqa: ARG001
    """Train a finished run again; return 1 if its numbers differ."""
    parser = CommandParser(
        "zlpr reproduce",
        description="Train a finished run again, from the configuration in its folder, and compare "
        "metrics and weights.",
        example="zlpr reproduce out/quickstart",
    )
    parser.add_argument("folder", type=Path, help="output folder of zlpr train")
    parser.add_argument("--output_dir", type=Path, help="new folder (default: FOLDER-reproduced)")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="maximum difference of a metric (default: metrics and weights must be identical)",
    )
    parser.add_argument(
        "--any_data", action="store_true", help="train even if the data has changed"
    )
    add_shared(parser, "trust_remote_code")
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

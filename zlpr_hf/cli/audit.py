"""``zlpr audit``: training cells that are likely wrong, and training without them."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from zlpr_hf.choices import DOUBTFUL_PROBABILITY
from zlpr_hf.cli.own_file import complete_options
from zlpr_hf.cli.parser import CommandParser, share_type
from zlpr_hf.cli.terminal import print_log
from zlpr_hf.distributed import announce_loading
from zlpr_hf.errors import InputError

FOLDS = "5"


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr audit",
        description="List the training tags that are likely wrong: missing and superfluous ones, "
        "near-\nduplicates with different labels, raters who differ. Models that did not see a "
        "text\njudge it (cross-fitting). Data that has no run yet is trained first, with all "
        "options\nof zlpr train.",
        example="zlpr audit reviews.csv --retrain",
    )
    parser.usage = "zlpr audit RUN or DATA [options of zlpr train] [--mask] [--retrain]"
    parser.add_argument("source", help="folder of a run with --folds, or data as for zlpr train")
    add = parser.add_argument
    add("--mask", action="store_true", help="write a copy of the data without doubtful cells")
    add("--retrain", action="store_true", help="also train on that copy and compare on test rows")
    add(
        "--mask_above",
        type=share_type,
        default=DOUBTFUL_PROBABILITY,
        help="probability of an error above which a cell is doubtful: listed, and masked",
    )
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:
    """Audit the training rows of a run, after training it if the data is named."""
    parser = _parser()
    if {"-h", "--help"} & set(argv):
        print(parser.format_help(), end="")
        return 0
    options, rest = parser.parse_known_args(argv)
    if not Path(options.source).exists() and options.source.startswith("-"):
        parser.error(f"name a run or data first, got {options.source!r}")
    folder = Path(options.source).expanduser()
    if not _is_run(folder) and (folder / "config.json").is_file():
        raise InputError(
            f"{folder}: a model without the record of its training (train_config.yaml); audit a "
            "folder of zlpr train, or name the data: zlpr audit DATA"
        )
    if not _is_run(folder):
        folder = _train([options.source, *rest], program)
    elif rest:
        parser.error(f"a finished run takes no options of training, got {rest[0]!r}")
    announce_loading()
    from zlpr_hf.workflows.audit import audit_run  # loads torch

    mask = options.mask or options.retrain
    found, place = audit_run(
        folder, mask=mask, retrain=options.retrain, mask_above=options.mask_above, log=print_log
    )
    print(f"\n{found.render(place)}")
    print(f"next: {_next_command(folder, program, options, found.has_test_rows)}")
    return 0


def _is_run(folder: Path) -> bool:
    return (folder / "train_config.yaml").is_file()


def _train(argv: list[str], program: Sequence[str]) -> Path:
    """Train with cross-fitting unless the run is finished; return its folder."""
    from zlpr_hf.cli.train import run as train
    from zlpr_hf.workflows.output_dir import OUT_OF_FOLD_FILE, RESULTS_FILE  # loads torch

    words, _ = complete_options(argv, program)
    given = [word.partition("=")[0] for word in words]
    folder, folds = _find_folder_and_folds(words)
    if "--folds" in given and not folds:
        raise InputError(
            "--folds 0: an audit needs models that did not see a text; leave it out (default: "
            f"{FOLDS}), or set 2 or more"
        )
    is_finished = (folder / RESULTS_FILE).is_file()
    if is_finished and "--overwrite_output_dir" not in given:
        if not (folder / OUT_OF_FOLD_FILE).is_file():
            raise InputError(
                f"{folder} is a finished run without folds, and an audit needs them: train beside "
                f"it with --output_dir {folder}-audit, or anew with --overwrite_output_dir true"
            )
        print(f"{folder} is finished and not trained again (--overwrite_output_dir true does so)")
        return folder
    if "--folds" not in given:
        argv = [*argv, "--folds", FOLDS]
    if _is_run(folder) and not is_finished and "--resume_from_checkpoint" not in given:
        argv = [*argv, "--resume_from_checkpoint", "true"]
    train(argv, program)
    return folder


def _find_folder_and_folds(words: list[str]) -> tuple[Path, int | None]:
    """Return the output folder and the folds of a complete command line of ``zlpr train``."""
    from zlpr_hf.workflows.arguments import parse_arguments  # loads torch

    config = parse_arguments(words)
    return Path(str(config.training.output_dir)), config.data.folds


def _next_command(
    folder: Path, program: Sequence[str], options: Namespace, has_test_rows: bool
) -> str:
    """Return the next command."""
    if options.retrain:
        masked = f"{folder}-masked"
        words = ["evaluate", masked] if has_test_rows else ["predict", masked, "type a text here"]
        return shlex.join([*program[:-1], *words])
    words = [*program, str(folder), "--retrain"]
    if options.mask_above != DOUBTFUL_PROBABILITY:
        words += ["--mask_above", f"{options.mask_above:g}"]
    return shlex.join(words)

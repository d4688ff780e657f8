"""``zlpr push``: send a trained model to the Hugging Face Hub."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from zlpr_hf.cli.parser import CommandParser
from zlpr_hf.workflows.push import MESSAGE, push_folder


def run(argv: list[str], program: Sequence[str]) -> int:
    """Push a folder and print how to use what is there.

    Args:
        argv: ``FOLDER REPO [--private] [--revision BRANCH] [--message TEXT]``.
        program: How the user called the command, for the commands that are printed.

    Returns:
        0.

    Raises:
        InputError: If the folder holds no model, or the Hub did not take it.
    """
    parser = CommandParser(
        "zlpr push",
        description="Send a trained model to the Hugging Face Hub: weights, tokenizer, card and\n"
        "numbers, in one commit; no checkpoints, no pickles. The token is that of HF_TOKEN or of\n"
        "hf auth login.",
        example="zlpr push out/quickstart weaknesses --private",
    )
    parser.add_argument("folder", type=Path, help="folder of the model")
    parser.add_argument("repo", help="NAME, or OWNER/NAME; made if it is not there")
    parser.add_argument("--private", action="store_true", help="nobody else may see it")
    parser.add_argument("--revision", metavar="BRANCH", help="made if it is not there (main)")
    parser.add_argument("--message", metavar="TEXT", default=MESSAGE, help="of the commit")
    options = parser.parse_args(argv)
    url = push_folder(
        options.folder,
        options.repo,
        private=options.private,
        revision=options.revision,
        commit_message=options.message,
        command=program,
    )
    chosen = "" if options.revision is None else f", revision={options.revision!r}"
    use = (
        f"from zlpr_hf import load_pipeline; p = load_pipeline({url.repo_id!r}{chosen}); "
        "print(p('type a text here'))"
    )
    print(f"pushed to {url}")
    print("use it:")
    print(f"  {shlex.join([sys.executable, '-c', use])}")
    return 0

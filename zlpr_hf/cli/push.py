"""``zlpr push``: push a trained model to the Hugging Face Hub."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from zlpr_hf.cli.parser import CommandParser
from zlpr_hf.workflows.push import MESSAGE, push_folder


def run(argv: list[str], program: Sequence[str]) -> int:
    """Push a folder and print how to use the model from the Hub."""
    parser = CommandParser(
        "zlpr push",
        description="Push a trained model to the Hugging Face Hub: weights, tokenizer, card and\n"
        "numbers in one commit, without checkpoints and pickles. Reads the token from HF_TOKEN or\n"
        "from the login of: hf auth login",
        example="zlpr push out/quickstart tactics --private",
    )
    parser.add_argument("folder", type=Path, help="folder of the model")
    parser.add_argument("repo", help="NAME or OWNER/NAME; created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create the repository as private")
    parser.add_argument(
        "--revision", metavar="BRANCH", help="created if it does not exist (default: main)"
    )
    parser.add_argument("--message", metavar="TEXT", default=MESSAGE, help="commit message")
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

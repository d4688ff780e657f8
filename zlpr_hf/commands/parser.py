"""How the commands read their options: errors in one line, no abbreviations, an example."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from zlpr_hf.errors import InputError


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are an :class:`InputError` of one line.

    Args:
        prog: The command, such as ``zlpr predict``.
        description: What it does.
        example: One line to copy.
    """

    def __init__(self, prog: str, *, description: str, example: str) -> None:
        super().__init__(
            prog,
            description=description,
            epilog=f"example: {example}",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        plain = re.sub(r"^argument (-\S+?)(/-\S+)*:", r"\1:", message)
        raise InputError(f"{plain} (see {self.prog} --help)")

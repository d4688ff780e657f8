"""What commands print at their end: reports in colour, links, and commands to copy."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from zlpr_hf.distributed import open_console

if TYPE_CHECKING:
    from zlpr_hf.reports.report import Report

EXAMPLE_TEXT = "type a text here"


def print_log(text: str) -> None:
    """Print lines of a run; those that begin with ``warning:`` in colour."""
    console = open_console()
    for line in text.split("\n"):
        console.print(_coloured(line), soft_wrap=not console.is_terminal)


def print_report(report: Report, page: Path | None) -> None:
    """Print the numbers of a run, its folder with the page, and three commands to go on."""
    from zlpr_hf.reports.terminal import report_parts

    console = open_console()
    ascii_only = not console.encoding.startswith("utf")
    console.print()
    for part in report_parts(report, ascii_only=ascii_only):
        console.print(part)
    console.print()
    _print_place(console, report.output_dir, page)
    for title, command in next_commands(report.output_dir, has_test=not report.is_cross_validated):
        console.print(Text(f"  {title:<13}").append(command, style="bold"), soft_wrap=True)


def _print_place(console: Console, folder: str, page: Path | None) -> None:
    line = Text.assemble(("saved to ", "green"), (folder, "bold"))
    if page is not None:
        line.append("   report: ").append(str(page), style=f"link {page.resolve().as_uri()}")
    console.print(line, soft_wrap=True)


def next_commands(folder: str, *, has_test: bool = True) -> list[tuple[str, str]]:
    """Return titles and commands for the next steps, ready to copy."""
    program = ["zlpr"] if shutil.which("zlpr") else [sys.executable, "-m", "zlpr_hf.cli"]

    def line(*words: str) -> str:
        return shlex.join([*program, *words])

    found = [
        ("label texts", line("predict", folder, EXAMPLE_TEXT)),
        ("web page", line("demo", folder)),
    ]
    if has_test:
        found.append(("all metrics", line("evaluate", folder, "--all")))
    return found


def _coloured(line: str) -> Text:
    found = Text(line)
    if line.startswith("warning: "):
        found.stylize("yellow", 0, len("warning:"))
    return found

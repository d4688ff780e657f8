"""The pictures of a finished run: the end of its training, its report and its demo page.

Run: python -m benchmarks.screenshots out/reviews
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI

from tests.browser import open_browser

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT = 1280, 800
TEXT = "Cheap, but the handle broke after a week."


def draw_terminal(folder: Path) -> str:
    """Return the end of a run as it looks on a terminal of 80 columns, as SVG."""
    from zlpr_hf import Report
    from zlpr_hf.reports.terminal import report_parts

    console = Console(
        file=StringIO(), width=80, record=True, force_terminal=True, color_system="truecolor"
    )
    for part in report_parts(Report.load(folder / "results.json")):
        console.print(part)
    return console.export_svg(title=f"zlpr train {folder.name}.csv", theme=MONOKAI)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve the demo page of a model; yield its address."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from zlpr_hf import Classifier
    from zlpr_hf.inference.demo_page import LAUNCH, build_demo

    page: Any = build_demo(Classifier.load(str(folder)), title=folder.name, examples=[TEXT])
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **LAUNCH)
    try:
        yield url
    finally:
        page.close()


def main(folder: Path) -> None:
    """Write docs/terminal.png, docs/report.png and docs/demo.png."""
    with serve(folder) as address, open_browser() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_content(draw_terminal(folder))
        page.locator("svg").screenshot(path=DOCS / "terminal.png", omit_background=True)
        page.goto((folder / "report.html").resolve().as_uri())
        page.screenshot(path=DOCS / "report.png")
        page.goto(address)
        page.locator(".zlpr table").first.wait_for()
        page.locator("button.zlpr-why").click()
        page.locator(".word").first.wait_for()
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=DOCS / "demo.png", full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

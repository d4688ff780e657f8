"""The picture of results in the README, drawn from the files in results.

Run: python -m benchmarks.picture
"""

import json
import statistics
from pathlib import Path
from typing import Any

from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.reports.svg import DARK, DARK_LINES, FONT, LIGHT, LIGHT_LINES

RESULTS = Path(__file__).parents[1] / "results"
PICTURE = Path(__file__).parents[1] / "docs" / "results.svg"
RUNS = {
    "CWE": "quickstart-seed*.json",
    "Reuters-90": "reuters.json",
    "GoEmotions": "go_emotions.json",
}
METRICS = {
    "f1_micro": "micro-F1", "f1_macro": "macro-F1", "subset_accuracy": "subset accuracy",
}  # fmt: skip
SVM_ROW = "TF-IDF + linear SVM"
PREDICTORS = {SVM_ROW: "linear SVM on word counts (TF-IDF)", MODEL_ROW: "MiniLM with ZLPR, at 0"}
PANEL, TOP, GROUP, FULL = 240, 104, 62, 158


def read_runs(name: str) -> list[dict[str, Any]]:
    """The committed runs on a data set, one a seed.

    Args:
        name: A key of :data:`RUNS`.
    """
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(RUNS[name]))]


def render() -> str:
    """All data sets beside each other: for each metric a bar a predictor, from 0 to 1."""
    width, height = PANEL * len(RUNS), TOP + GROUP * len(METRICS) + 6
    title = "Micro-F1, macro-F1 and subset accuracy of a linear SVM and of ZLPR on three data sets"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{title}"><style>',
        f"text{{font:14px {FONT}}}text.head{{font-weight:600}}text.value{{font-size:13px}}",
        _colours(LIGHT, LIGHT_LINES),
        f"@media(prefers-color-scheme:dark){{{_colours(DARK, DARK_LINES)}}}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>',
    ]
    for index, name in enumerate(PREDICTORS.values()):
        x = 16 + index * 300
        parts.append(f'<rect class="bar{index}" x="{x}" y="17" width="14" height="14" rx="3"/>')
        parts.append(f'<text class="ink" x="{x + 22}" y="29">{name}</text>')
    for index, name in enumerate(RUNS):
        parts.append(f'<g transform="translate({PANEL * index} 0)">{_panel(name)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(name: str) -> str:
    runs = read_runs(name)
    splits = runs[0]["profile"]["splits"].values()
    rows, labels = sum(split["rows"] for split in splits), len(runs[0]["label_scores"])
    parts = [
        f'<text class="ink head" x="16" y="66">{name}</text>',
        f'<text class="soft" x="16" y="86">{rows:,} texts, {labels} labels</text>',
    ]
    for row, (metric, said) in enumerate(METRICS.items()):
        y = TOP + GROUP * row
        parts.append(f'<text class="soft" x="16" y="{y + 12}">{said}</text>')
        for bar, predictor in enumerate(PREDICTORS):
            value = statistics.mean(run["test"][predictor][metric] for run in runs)
            down = y + 18 + 18 * bar
            parts.append(
                f'<rect class="bar{bar}" x="16" y="{down}" width="{FULL * value:.1f}" '
                f'height="14" rx="3"/><text class="ink value" x="{22 + FULL * value:.1f}" '
                f'y="{down + 12}">{value:.3f}</text>'
            )
    return "\n".join(parts)


def _colours(colours: dict[str, str], lines: tuple[str, ...]) -> str:
    names = {"paper": "paper", "ink": "ink", "soft": "soft", "bar0": "soft"}
    rules = [f".{name}{{fill:{colours[key]}}}" for name, key in names.items()]
    return "".join(rules) + f".bar1{{fill:{lines[0]}}}"


if __name__ == "__main__":
    PICTURE.write_text(render(), encoding="utf-8")

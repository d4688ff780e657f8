"""How often scores are right before and after the temperature, on the test split of finished runs.

The temperature is the one in the head of a run. Where there is none, it is fitted on the validation
split, as at the end of a run. The expected calibration error of few texts is above zero
even if the scores are true probabilities; the mean error in that case is measured beside it.

Run: python -m benchmarks.calibration CWE=out/cwe Reuters=out/reuters   # --save_logits true
     python -m benchmarks.calibration out/quickstart logits.npz                # named as the files
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import RESULTS, markdown_table, save
from zlpr_hf import fit_temperature
from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.calibration import Calibration, expected_calibration_error
from zlpr_hf.thresholds import compute_scores
from zlpr_hf.workflows.output_dir import LOGITS_FILE, RESULTS_FILE

MAX_ERROR = 0.05
"""Expected calibration error that the scores of a run should not exceed."""
DRAWS = 100
"""Random targets for which the error of perfect scores is measured."""


def measure(path: Path) -> dict[str, Any]:
    """Return the temperature of a run, and the calibration of its test split before and after.

    Args:
        path: A run's folder, or a file with ``validation_logits``, ``test_logits`` and targets.
    """
    logits_file = path / LOGITS_FILE if path.is_dir() else path
    with np.load(logits_file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    validation, saved = (arrays[f"{name}_logits"] for name in ("validation", "test"))
    temperature = _read_temperature(path) if path.is_dir() else None
    if temperature is None:
        temperature = fit_temperature(validation, arrays["validation_targets"])
        raw, shown = saved, saved / temperature
    else:  # the logits of a run are those of its saved head
        raw, shown = temperature * saved, saved
    before, after = (Calibration.measure(logits, arrays["test_targets"]) for logits in (raw, shown))
    if before is None or after is None:
        raise SystemExit(f"{logits_file}: no target of the test split is known")
    return {
        "validation_rows": len(validation),
        "test_rows": len(shown),
        "labels": shown.shape[1],
        "temperature": temperature,
        "before": asdict(before),
        "after": asdict(after),
        "perfect": measure_perfect_scores(shown, arrays["test_targets"]),
    }


def measure_perfect_scores(logits: Any, targets: Any) -> float:
    """Return the mean expected calibration error of scores whose targets are drawn with them.

    The cells of a text are drawn independently.
    """
    scores = compute_scores(np.asarray(logits, np.float64)[known_mask(targets)])
    rng = np.random.default_rng(0)
    draws = ((rng.random(len(scores)) < scores).astype(np.float64) for _ in range(DRAWS))
    return float(np.mean([expected_calibration_error(scores, each) for each in draws]))


def _read_temperature(folder: Path) -> float | None:
    """Return the temperature in the head of a finished run, None if it holds none."""
    results = json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
    found: float | None = results.get("temperature")
    return found


def render_table() -> str:
    """Return the stored numbers as a table."""
    stored = json.loads((RESULTS / "calibration.json").read_text(encoding="utf-8"))
    return _table(stored["runs"])


def _table(runs: dict[str, Any]) -> str:
    rows = []
    for name, run in runs.items():
        title = f"{name}, {run['test_rows']:,} texts, {run['labels']} labels"
        for when in ("before", "after"):
            found = Calibration(**run[when])
            sure = f"{100 * found.sure_true:.0f} % of {found.sure_cells:,}"
            rows.append(
                [
                    title if when == "before" else "",
                    "1" if when == "before" else f"{run['temperature']:.2f}",
                    f"{found.ece:.3f}",
                    "" if when == "before" else f"{run['perfect']:.3f}",
                    f"{found.shown_ece:.3f}",
                    f"{found.brier:.4f}",
                    sure if found.sure_cells else "none",
                ]
            )
    columns = [
        "test split", "temperature", "ECE, all cells", "if perfect", "ECE, scores from 0.05 on",
        "Brier", "right above 0.95",
    ]  # fmt: skip
    return markdown_table(columns, rows)


def main(argv: list[str]) -> None:
    if not argv:
        raise SystemExit(__doc__)
    runs = {}
    for given in argv:
        name, _, path = given.rpartition("=")
        runs[name or Path(path).stem] = measure(Path(path))
    print(_table(runs))
    missed = [name for name, run in runs.items() if run["after"]["ece"] > MAX_ERROR]
    print(f"ECE above {MAX_ERROR} after the temperature: {', '.join(missed) or 'none'}")
    save("calibration", {"runs": runs}, folder=RESULTS)


BLOCKS = {"calibration": render_table}

if __name__ == "__main__":
    main(sys.argv[1:])

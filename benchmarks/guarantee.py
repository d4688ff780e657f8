"""Guarantees over 1,000 random divisions of saved logits: do they hold, and at which price.

Validation and test rows of a finished run are pooled. Each division calibrates on one half. Risks
are measured on the other half; precision, whose guarantee is about all future texts at once, on all
rows after calibration rows were drawn with replacement, since the second half of a small pool is no
better known than the first. The oracle is the best offset for the rows that are measured. The
ideal rule sees the calibration rows only, as ours does, but knows how far to stay from the level.

Run: python -m benchmarks.guarantee cwe=out/cwe Reuters=out/reuters    # --save_logits true
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import RESULTS, markdown_table, save
from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.risk_control import MAX_FALSE_LABELS, fit_guarantee, measure_risks
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.workflows.output_dir import LOGITS_FILE

DIVISIONS = 1000
LEVELS: dict[str, tuple[float, ...]] = {
    "recall": (0.8, 0.9, 0.95),
    "false_labels": (0.1, 0.2, 0.5),
    "precision": (0.7, 0.8, 0.9),
}
CONFIDENCE = 0.95
ORACLE_STEP = 1.02
"""Offsets of the oracle predict two percent more labels each; between them it interpolates."""
BISECTIONS = 20
REFUSED_LIMIT = 0.05
"""Share of refused draws up to which the others are compared with the ideal rule."""
REUSE_LEVEL, REUSE_DIVISIONS = 0.9, 200
MODELS, NOISE = 8, 0.25
"""Models to choose from, and their noise as a part of the spread of the logits."""
TITLES = {"recall": "recall", "false_labels": "false labels", "precision": "precision"}


class Oracle:
    """The labels per text at the best offsets, by one matrix product for all divisions."""

    def __init__(self, logits: Any, targets: Any) -> None:
        known = known_mask(targets)
        present = known & (targets >= 0.5)
        values = -np.sort(-logits[known])
        steps = np.log(len(values)) / np.log(ORACLE_STEP)
        ranks = np.unique(np.ceil(ORACLE_STEP ** np.arange(steps)).astype(int))
        offsets = np.append(values[ranks[ranks < len(values)]], values[-1] - 1)
        curves = []
        for offset in offsets:
            predicted = known & (logits > offset)
            right, size = (predicted & present).sum(1), predicted.sum(1)
            found = right / np.maximum(present.sum(1), 1)
            false = np.minimum(size - right, MAX_FALSE_LABELS)
            curves.append((found, false, right / np.maximum(size, 1), size))
        recall, false, precision, self.size = np.array(curves, np.float32).swapaxes(0, 1)
        everywhere = np.ones((1, len(logits)), np.float32)
        self.risks = {
            "recall": (recall, present.any(1)[None].astype(np.float32)),
            "false_labels": (false, everywhere),
            "precision": (precision, (self.size > 0).astype(np.float32)),
        }

    def find_sizes(self, kind: str, level: float, rows: Any) -> Any:
        """Return one number per column of ``rows``, masks ``(N, D)``.

        The fewest labels that reach a recall, or the most that keep the other two.
        """
        values, counted = self.risks[kind]
        risk = (values @ rows) / np.maximum(counted @ rows, 1)
        size = (self.size @ rows) / rows.sum(0)
        if kind == "precision":
            return np.array([s[r >= level].max() for s, r in zip(size.T, risk.T, strict=True)])
        return np.array([np.interp(level, r, s) for s, r in zip(size.T, risk.T, strict=True)])

    def find_ideal_size(self, kind: str, level: float, calibration: Any, measured: Any) -> float:
        """Return the mean number of labels of the rule that stays as near to a level as it may.

        It takes the last offset at which the mean of the calibration rows reaches a target. The
        target is the best one that keeps the promise over all divisions: on average, or for
        precision except in a share of ``1 - CONFIDENCE``.

        Args:
            kind: The promise.
            level: Its value.
            calibration: How often each row calibrates, ``(N, D)``.
            measured: Which rows are measured, ``(N, D)``, or ``(N, 1)`` for all divisions.
        """
        values, counted = self.risks[kind]
        own, new = (
            (values @ rows) / np.maximum(counted @ rows, 1) for rows in (calibration, measured)
        )
        size = (self.size @ measured) / measured.sum(0)
        new, size = (np.broadcast_to(each, own.shape).T for each in (new, size))

        def measure(target: float) -> tuple[Any, float]:
            places = [_last_crossing(column, target, kind) for column in own.T]
            steps = np.arange(len(own))
            risks, sizes = (
                np.array([np.interp(p, steps, c) for p, c in zip(places, each, strict=True)])
                for each in (new, size)
            )
            return risks, float(sizes.mean())

        low, high = (0.0, 1.0) if kind != "false_labels" else (0.0, 2 * level)
        for _ in range(BISECTIONS):
            target = (low + high) / 2
            risks, _ = measure(target)
            if kind == "precision":
                safe = (risks < level).mean() <= 1 - CONFIDENCE
            else:
                safe = risks.mean() >= level if kind == "recall" else risks.mean() <= level
            low, high = (low, target) if safe == (kind != "false_labels") else (target, high)
        return measure(high if kind != "false_labels" else low)[1]


def _last_crossing(risks: Any, target: float, kind: str) -> float:
    """Return the step, between two of them, at which a rising risk reaches a target.

    For precision, it is the last step at which precision is not below it; the first, if none is.
    """
    steps = np.arange(len(risks))
    if kind != "precision":
        return float(np.interp(target, risks, steps))
    reached = np.flatnonzero(risks >= target)
    if not reached.size or reached[-1] == steps[-1]:
        return float(reached[-1]) if reached.size else 0.0
    last = reached[-1]
    return float(last + (risks[last] - target) / (risks[last] - risks[last + 1]))


def measure(path: Path, divisions: int = DIVISIONS) -> dict[str, Any]:
    """Return the results of all levels for the logits of a run."""
    logits, targets = read_pool(path)
    oracle = Oracle(logits, targets)
    cases = []
    for kind, levels in LEVELS.items():
        for level in levels:
            case = _measure_level(kind, level, (logits, targets), oracle, divisions)
            cases.append(case)
            print(path, case, flush=True)
    reuse = measure_reuse(logits, targets)
    print(path, reuse, flush=True)
    return {"rows": len(logits), "labels": logits.shape[1], "cases": cases, "reuse": reuse}


def _measure_level(
    kind: str, level: float, pool: tuple[Any, Any], oracle: Oracle, divisions: int
) -> dict[str, Any]:
    rows, rng = len(pool[0]), np.random.default_rng(0)
    found, sizes, refused = [], [], 0
    measured = np.zeros((rows, divisions), np.float32)
    calibrations = np.zeros((rows, divisions), np.float32)
    for division in range(divisions):
        order = rng.permutation(rows)
        calibration, rest = order[: rows // 2], order[rows // 2 :]
        if kind == "precision":
            calibration, rest = rng.integers(0, rows, rows // 2), order
        calibrations[:, division] = np.bincount(calibration, minlength=rows)
        arguments: dict[str, Any] = {kind: level}
        try:
            guarantee = fit_guarantee(
                *(each[calibration] for each in pool),
                confidence=CONFIDENCE,
                seed=division,
                **arguments,
            )
        except ValueError:
            refused += 1
            continue
        logits, targets = (each[rest] for each in pool)
        risks = measure_risks(logits > guarantee.offsets, targets)
        measured[rest, len(found)] = 1
        found.append(risks[kind])
        sizes.append(risks["labels_per_text"])
    columns = measured[:, : 1 if kind == "precision" else len(found)]
    best = oracle.find_sizes(kind, level, columns).tolist() if found else []
    everywhere = np.ones((rows, 1), np.float32)
    others = everywhere if kind == "precision" else 1 - calibrations
    ideal = oracle.find_ideal_size(kind, level, calibrations, others)
    return summarise(kind, level, found, sizes, best, refused) | {"ideal_labels_per_text": ideal}


def measure_reuse(logits: Any, targets: Any) -> dict[str, dict[str, float]]:
    """Return the mean recall of new rows if the calibration rows had chosen other things before.

    ``tuned``: one offset per label for the largest macro-F1. ``chosen``: the model with the lowest
    cross-entropy of several, which differ by noise as epochs do.
    """
    rng = np.random.default_rng(0)
    noise = NOISE * logits.std()
    models = [logits + rng.normal(0, noise, logits.shape) for _ in range(MODELS)]
    known = known_mask(targets)
    losses = [
        np.where(known, np.logaddexp(0, np.where(targets >= 0.5, -each, each)), 0).sum(1)
        for each in models
    ]
    found: dict[str, list[float]] = {"fresh": [], "tuned": [], "chosen": []}
    for _ in range(REUSE_DIVISIONS):
        order = rng.permutation(len(logits))
        own, new = order[: len(logits) // 2], order[len(logits) // 2 :]
        tuned = fit_thresholds(logits[own], targets[own], scope="per_label", min_positives=1)
        chosen = models[int(np.argmin([loss[own].mean() for loss in losses]))]
        cases = {"fresh": logits, "tuned": logits - np.array(tuned.offsets), "chosen": chosen}
        for name, each in cases.items():
            guarantee = fit_guarantee(each[own], targets[own], recall=REUSE_LEVEL)
            risks = measure_risks(each[new] > guarantee.offsets, targets[new])
            found[name].append(risks["recall"])
    return {
        name: {
            "mean": float(np.mean(values)),
            "standard_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
        }
        for name, values in found.items()
    }


def summarise(
    kind: str, level: float, found: list[float], sizes: list[float], best: list[float], refused: int
) -> dict[str, Any]:
    """Return the figures of one guarantee over all divisions."""
    case: dict[str, Any] = {"kind": kind, "level": level, "refused": refused}
    if not found:
        return case
    values = np.array(found)
    case |= {
        "mean": float(values.mean()),
        "standard_error": float(values.std(ddof=1) / np.sqrt(len(values))),
        "labels_per_text": float(np.mean(sizes)),
        "oracle_labels_per_text": float(np.mean(best)),
    }
    if kind == "precision":
        case["violated"] = float((values < level).sum() / (len(values) + refused))
    return case


def holds(case: dict[str, Any]) -> bool:
    """Return whether a guarantee held, within two standard errors."""
    if "mean" not in case:
        return True
    error = 2 * case["standard_error"]
    if case["kind"] == "recall":
        return bool(case["mean"] >= case["level"] - error)
    if case["kind"] == "false_labels":
        return bool(case["mean"] <= case["level"] + error)
    most = 1 - CONFIDENCE
    return bool(case["violated"] <= most + 2 * np.sqrt(most * (1 - most) / DIVISIONS))


def read_pool(path: Path) -> tuple[Any, Any]:
    """Return logits and targets of validation and test rows together."""
    with np.load(path / LOGITS_FILE if path.is_dir() else path) as stored:
        logits, targets = (
            np.concatenate([stored[f"{split}_{name}"] for split in ("validation", "test")])
            for name in ("logits", "targets")
        )
    return logits, targets


def render_table() -> str:
    """Return the stored numbers as a table."""
    stored = json.loads((RESULTS / "guarantee.json").read_text(encoding="utf-8"))
    rows = []
    for name, run in stored["runs"].items():
        title = f"{name}, {run['rows'] // 2:,} rows, {run['labels']} labels"
        for case in run["cases"]:
            promise = f"{TITLES[case['kind']]} {case['level']:g}"
            cells = [title, promise, *_cells(case)]
            rows.append(cells)
            title = ""
    columns = [
        "calibration rows", "promise", "refused", "mean on the others", "violated",
        "labels per text", "oracle", "ideal rule",
    ]  # fmt: skip
    return markdown_table(columns, rows, texts=2)


def render_reuse_table() -> str:
    """Return the cost of calibrating on rows that have chosen something before."""
    stored = json.loads((RESULTS / "guarantee.json").read_text(encoding="utf-8"))
    rows = [
        [name, *(f"{run['reuse'][case]['mean']:.4f}" for case in ("fresh", "chosen", "tuned"))]
        for name, run in stored["runs"].items()
    ]
    columns = [
        "recall 0.9",
        "fresh rows",
        "rows that chose one of 8 models",
        "rows that chose an offset per label",
    ]
    return markdown_table(columns, rows)


def _cells(case: dict[str, Any]) -> list[str]:
    if "mean" not in case:
        return ["all", "", "", "", "", ""]
    size = case["labels_per_text"]

    def compare(best: float) -> str:
        return f"{best:.3f} ({100 * (size / best - 1):+.1f} %)"

    comparable = case["refused"] <= REFUSED_LIMIT * DIVISIONS
    return [
        f"{100 * case['refused'] / DIVISIONS:.0f} %" if case["refused"] else "",
        f"{case['mean']:.4f} ± {case['standard_error']:.4f}",
        f"{100 * case['violated']:.1f} %" if "violated" in case else "",
        f"{size:.3f}",
        compare(case["oracle_labels_per_text"]),
        compare(case["ideal_labels_per_text"]) if comparable else "",
    ]


def main(argv: list[str]) -> None:
    if not argv:
        raise SystemExit(__doc__)
    runs = {}
    for given in argv:
        name, _, path = given.rpartition("=")
        runs[name or Path(path).stem] = measure(Path(path))
    missed = [
        f"{name}: {case['kind']} {case['level']:g}"
        for name, run in runs.items()
        for case in run["cases"]
        if not holds(case)
    ]
    print(f"does not hold: {', '.join(missed) or 'none'}")
    save("guarantee", {"divisions": DIVISIONS, "confidence": CONFIDENCE, "runs": runs})


BLOCKS = {"guarantees": render_table, "guarantees_reuse": render_reuse_table}

if __name__ == "__main__":
    main(sys.argv[1:])

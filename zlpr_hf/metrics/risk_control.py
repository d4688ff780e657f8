"""Guarantees: offsets whose risk on new texts stays below a level, fitted on calibration rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import Scope
from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.guarantee import Guarantee, count_needed_rows, refuse_few_rows
from zlpr_hf.metrics.learn_then_test import certify_precision
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD, refuse_nan

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

MAX_FALSE_LABELS = 10
"""False labels that count per text. The bound of a risk costs ``bound / (rows + 1)`` of its level,
and the number of labels, the only other bound, would cost everything where there are many."""
MARGIN = 1e-3
"""Distance of an offset from the logit that decides it, so that rounding does not matter."""


def fit_guarantee(
    logits: Any,
    targets: Any,
    *,
    recall: float | None = None,
    false_labels: float | None = None,
    precision: float | None = None,
    confidence: float = 0.95,
    scope: Scope = "global",
    keep_zero: bool = False,
    seed: int = 0,
) -> Guarantee:
    """Fit offsets with a guarantee for new texts that are exchangeable with these rows.

    Give one of ``recall``, ``false_labels`` and ``precision``. The first two are monotone in the
    offset: conformal risk control takes the last offset whose mean risk over the ``n`` rows,
    corrected to ``(n * risk + bound) / (n + 1)``, is below the level, and the *expected* risk of a
    new text is below it too. Precision is not monotone: Learn then Test goes down a sequence of
    offsets, fixed by a part of the rows, as long as an exact binomial test on the other rows
    rejects that precision is below the level. One predicted label per text, drawn at random, makes
    the test exact. It needs independent rows.

    Args:
        logits: Raw scores of calibration rows, which the model was not trained on.
        targets: Values in [0, 1]; from 0.5 on a label applies. ``-100`` or NaN marks an unknown
            target: it is neither a label nor a false label.
        recall: Expected share of a text's labels that are predicted, over texts with a label;
            between 0 and 1.
        false_labels: Expected number of predicted labels per text that do not apply, of which at
            most 10 count per text; above 0.
        precision: Expected share of a text's predicted labels that apply, over texts with a
            predicted label; between 0 and 1.
        confidence: For ``precision``: probability over calibration rows that the guarantee holds
            (default: 0.95).
        scope: ``global`` (default), or ``per_label`` with ``recall``: one offset per label, so that
            each label is found in this share of the texts that have it.
        keep_zero: Offsets are 0 where that keeps the promise too (default: False, the offsets that
            are nearest to its level). The promise then never costs what it is about: with
            ``recall`` no label that is predicted at zero is lost, and with the others none is
            added.
        seed: Random seed of ``precision`` (default: 0).

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        The guarantee with its offsets.

    Raises:
        ValueError: If a value is out of range, a logit is NaN, or there are too few rows; the
            message names the number that is needed.

    References:
        Angelopoulos et al.: Conformal Risk Control, 2022.
        Angelopoulos et al.: Learn then Test, 2021.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> logits = rng.normal(size=(1000, 5))
        >>> targets = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
        >>> found = fit_guarantee(logits, targets, recall=0.9)
        >>> print(found.describe())
        At least 90 % of a text's labels are found, on average over texts.
        >>> round(found.offsets[0], 1)
        -0.7
    """
    given = {"recall": recall, "false_labels": false_labels, "precision": precision}
    chosen = [(kind, level) for kind, level in given.items() if level is not None]
    if len(chosen) != 1:
        raise ValueError("expected one of recall, false_labels and precision")
    scores, truth = np.asarray(logits, np.float64), np.asarray(targets, np.float32)
    if scores.ndim != 2 or scores.shape != truth.shape:
        raise ValueError(
            f"logits and targets must have the same shape (N, L), got {scores.shape} and "
            f"{truth.shape}"
        )
    refuse_nan(scores)
    kind, level = chosen[0]
    check_level(kind, level, confidence, scope, scores.shape[1])
    known = known_mask(truth)
    present = known & (truth >= 0.5)
    if kind == "false_labels":
        found = _limit_false_labels(scores, known & ~present, known, level)
        return found.limit_offsets(low=0.0) if keep_zero else found
    if kind == "precision":
        lowest = 0.0 if keep_zero else None
        return certify_precision(scores, present, known, level, confidence, seed, lowest=lowest)
    found = _reach_recall(scores, present, level)
    if scope == "per_label":
        found = _reach_recall_per_label(scores, present, level, found)
    return found.limit_offsets(high=0.0) if keep_zero else found


def check_level(
    kind: str, level: float, confidence: float = 0.95, scope: str = "global", labels: int = 2
) -> None:
    """Refuse levels that are out of range or promise nothing.

    Raises:
        ValueError: If so.
    """
    below = 1 if kind != "false_labels" else min(labels, MAX_FALSE_LABELS)
    if not 0 < level < below:
        raise ValueError(f"{kind}: expected a number above 0 and below {below}, got {level:g}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number above 0 and below 1, got {confidence:g}")
    if scope not in get_args(Scope):
        raise ValueError(f"scope: expected {' or '.join(get_args(Scope))}, got {scope!r}")
    if scope == "per_label" and kind != "recall":
        raise ValueError(f"per_label: goes with recall, got {kind}")


def _reach_recall(scores: Floats, present: Bools, level: float) -> Guarantee:
    """Conformal risk control of the share of a text's labels that are missed."""
    counts = present.sum(1)
    rows = int((counts > 0).sum())
    refuse_few_rows(rows, 1 / (1 - level) - 1, "texts with a label", f"recall {level:g}")
    row, label = np.nonzero(present)
    offset = _largest_offset(scores[row, label], 1 / counts[row], rows, 1 - level, scores)
    return Guarantee("recall", level, (offset,) * scores.shape[1], rows)


def _reach_recall_per_label(
    scores: Floats, present: Bools, level: float, whole: Guarantee
) -> Guarantee:
    counts = present.sum(0)
    least = count_needed_rows(1 / (1 - level) - 1)
    covered = counts >= least
    if not covered.any():
        raise ValueError(
            f"recall {level:g} per label needs at least {least} texts with a label, and the most "
            f"frequent label has {counts.max()}; leave per_label out, or give more texts"
        )
    offsets = list(whole.offsets)
    for label in np.flatnonzero(covered):
        own = scores[present[:, label], label]
        offsets[label] = _largest_offset(
            own, np.ones(len(own)), len(own), 1 - level, scores[:, label]
        )
    return replace(
        whole,
        offsets=tuple(offsets),
        scope="per_label",
        uncovered=tuple(np.flatnonzero(~covered).tolist()),
    )


def _largest_offset(
    positives: Floats, shares: Floats, rows: int, level: float, scores: Floats
) -> float:
    """Return the largest offset at which the corrected share of missed labels is below a level.

    Args:
        positives: Logits of the labels that apply.
        shares: What a missed one adds to the risk of its row.
        rows: Number of rows.
        level: Of the risk.
        scores: All logits, of which the next lower one limits the margin.
    """
    order = np.argsort(positives, kind="stable")
    missed = np.cumsum(shares[order])
    # Rounding of the shares, such as three thirds, must not decide.
    first = int(np.searchsorted(missed, (rows + 1) * level - 1 + 1e-9, side="right"))
    critical = float(positives[order][min(first, len(missed) - 1)])
    if critical <= -MAX_LOGIT_THRESHOLD / 2:
        raise ValueError(
            f"no offset reaches recall {1 - level:g}: too many labels are of texts without content"
        )
    lower = scores[scores < critical]
    gap = critical - float(lower.max()) if lower.size else 1.0
    return critical - min(gap / 2, MARGIN)


def _limit_false_labels(scores: Floats, absent: Bools, known: Bools, level: float) -> Guarantee:
    """Conformal risk control of the number of false labels per text."""
    labels = scores.shape[1]
    bound = min(labels, MAX_FALSE_LABELS)
    rows = int(known.any(1).sum())
    refuse_few_rows(rows, bound / level - 1, "texts", f"false_labels {level:g}")
    highest = -np.sort(-np.where(absent, scores, -np.inf), axis=1)[:, :bound]
    ordered = -np.sort(-highest[highest > -np.inf])
    allowed = math.floor((rows + 1) * level - bound + 1e-9)
    if allowed >= len(ordered):
        with_content = scores[scores > -MAX_LOGIT_THRESHOLD / 2]
        offset = float(with_content.min()) - 1 if with_content.size else 0.0
    else:
        critical = float(ordered[allowed])
        higher = scores[scores > critical]
        gap = float(higher.min()) - critical if higher.size else 1.0
        offset = critical + min(gap / 2, MARGIN)
    counted = bound if bound < labels else None
    return Guarantee("false_labels", level, (offset,) * labels, rows, bound=counted)


def measure_risks(predictions: Any, targets: Any) -> dict[str, float]:
    """Return the values that guarantees are about.

    ``recall`` and ``precision`` are means over texts with a label or a predicted one, the others
    over texts with a known target; NaN if there is none.

    Args:
        predictions: Predicted labels.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown target.

    Shape:
        predictions, targets: ``(N, L)``.
    """
    truth = np.asarray(targets, np.float32)
    known = known_mask(truth)
    present = known & (truth >= 0.5)
    counted = known & np.asarray(predictions, bool)
    right, support, predicted = (each.sum(1) for each in (present & counted, present, counted))
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = right / support, right / predicted
    is_known = known.any(1)
    return {
        "recall": _mean(recall[support > 0]),
        "false_labels": _mean(np.minimum(predicted - right, MAX_FALSE_LABELS)[is_known]),
        "precision": _mean(precision[predicted > 0]),
        "labels_per_text": _mean(predicted[is_known]),
    }


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan

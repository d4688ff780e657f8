"""Guarantee: a promise about new texts, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from zlpr_hf.choices import GuaranteeKind, Scope
from zlpr_hf.thresholds import Thresholds


@dataclass(frozen=True)
class Guarantee:
    """A promise about new texts, and the offsets that keep it.

    Args:
        kind: ``recall``, ``false_labels`` or ``precision``.
        level: The promised value.
        offsets: One number per label; a label is predicted if its logit is above it.
        rows: Number of calibration rows that count.
        scope: ``global``: one offset for all labels; ``per_label``: a promise per label.
        confidence: For ``precision``: probability that the calibration rows keep the promise.
        bound: For ``false_labels``: at most this many count per text.
        uncovered: For ``per_label``: ids of labels with too few rows, which have the global offset.
        source: Name of the calibration rows.
    """

    kind: GuaranteeKind
    level: float
    offsets: tuple[float, ...]
    rows: int
    scope: Scope = "global"
    confidence: float | None = None
    bound: int | None = None
    uncovered: tuple[int, ...] = ()
    source: str = ""

    @property
    def thresholds(self) -> Thresholds:
        """The offsets as a decision rule, for :meth:`zlpr_hf.Classifier.save`."""
        return Thresholds(self.offsets)

    def limit_offsets(self, *, low: float = -math.inf, high: float = math.inf) -> Guarantee:
        """Return the promise with offsets in a range."""
        return replace(self, offsets=tuple(min(max(each, low), high) for each in self.offsets))

    def keep_limits(self, thresholds: Thresholds) -> Thresholds:
        """Return limits on the number of labels without those that could break the promise."""
        least = thresholds.min_labels if self.kind == "recall" else 0
        most = thresholds.max_labels if self.kind == "false_labels" else None
        return replace(thresholds, min_labels=least, max_labels=most)

    def describe(self) -> str:
        """Return the promise as one sentence."""
        share = f"{100 * self.level:g} %"
        if self.scope == "per_label":
            return f"Each label is found in at least {share} of the texts that have it."
        if self.kind == "recall":
            return f"At least {share} of a text's labels are found, on average over texts."
        if self.kind == "false_labels":
            counted = "" if self.bound is None else f" (at most {self.bound} count per text)"
            return f"A text has at most {self.level:g} false labels on average{counted}."
        return (
            f"With {100 * (self.confidence or 0):g} % confidence, at least {share} of a text's "
            "predicted labels are right, on average over texts with a prediction."
        )

    def describe_offsets(self) -> str:
        """Return the sentence on scores, which the offsets move; empty if all of them are 0."""
        if not any(self.offsets):
            return ""
        low, high = min(self.offsets), max(self.offsets)
        shown = f"{low:+.3g}" if low == high else f"between {low:+.3g} and {high:+.3g}"
        return (
            f"The guarantee subtracts an offset of {shown} from the bias, so the score 0.5 marks "
            "the decision and is no probability: the score before it is sigmoid(logit + offset)."
        )

    def describe_assumption(self) -> str:
        """Return one sentence on exchangeability."""
        source = f" ({self.source})" if self.source else ""
        return (
            "This holds if new texts and the "
            f"{self.rows:,} calibration texts{source} are exchangeable: drawn from the same source "
            "in the same way, so that shuffling them together would change nothing."
        )

    def to_config(self) -> dict[str, Any]:
        """Return a plain mapping for the ``zlpr`` entry of ``config.json``."""
        stored = asdict(self) | {"offsets": list(self.offsets), "uncovered": list(self.uncovered)}
        return {name: value for name, value in stored.items() if value not in (None, [], "")}

    @classmethod
    def from_config(cls, stored: Mapping[str, Any]) -> Guarantee | None:
        """Read a guarantee from a model's configuration; None if there is none."""
        if not stored:
            return None
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        known |= {name: tuple(known.get(name, ())) for name in ("offsets", "uncovered")}
        return cls(**known)


def count_needed_rows(least: float) -> int:
    """Return the least number of rows that a promise needs; rounding must not add one."""
    return math.ceil(least - 1e-9)


def refuse_few_rows(rows: int, least: float, what: str, promise: str) -> None:
    """Refuse fewer rows than a promise needs.

    Raises:
        ValueError: With the number that is needed.
    """
    needed = count_needed_rows(least)
    if rows < needed:
        raise ValueError(
            f"{promise} needs at least {needed:,} {what}, got {rows:,}; give more texts, or "
            "promise less"
        )

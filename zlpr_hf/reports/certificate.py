"""Certificate: which backends answer with the label sets of the model, and why others differ."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.files.atomic import write_json, write_whole
from zlpr_hf.reports.model_card import CARD_FILE, USE_MARKS, escape_markdown
from zlpr_hf.reports.report import align_columns

CERTIFICATE_FILE = "certificate.json"
CARD_MARKS = ("[//]: # (certificate: start, written by zlpr certify)", "[//]: # (certificate: end)")
MAX_DIFFERENCES = 200
"""Differences that are stored per backend; all are counted."""
MAX_TEXT = 60
SURE_LOGIT = 8.0
"""Beyond it, a score in float32 does not give the logit back."""

Cause = Literal[
    "rounding",
    "blank text",
    "long text",
    "special token",
    "label limits",
    "head bias",
    "refused",
    "other",
]
CAUSES: tuple[str, ...] = get_args(Cause)
EXPECTED_CAUSES = frozenset({"rounding", "blank text"})
"""Causes that are no fault of a backend: every caller answers blank texts itself."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CheckedTexts:
    """Facts of the texts on which backends are compared.

    Args:
        texts: Texts to show, one per row; hard cases come last.
        hard_cases: Number of hard cases.
        blank: Which texts hold only white space, ``(N,)``.
        long: Which have more tokens than the model reads at once, ``(N,)``.
        special: Which hold a special token of the tokenizer as text, ``(N,)``.
    """

    texts: Sequence[str]
    hard_cases: int
    blank: Bools
    long: Bools
    special: Bools


@dataclass(frozen=True)
class Answers:
    """The answers of one backend.

    Args:
        predicted: Which labels it predicts, ``(N, L)``.
        logits: Its logits, ``(N, L)``; NaN where it does not tell them.
        refused: Which texts it refused, ``(N,)``; empty for none.
    """

    predicted: Bools
    logits: Floats
    refused: Bools = field(default_factory=lambda: np.zeros(0, dtype=bool))


@dataclass(frozen=True)
class Difference:
    """One label of one text on which a backend and the model disagree."""

    text: str
    label: str
    model_logit: float
    backend_logit: float | None
    predicted_by: Literal["model", "backend"]
    cause: Cause


@dataclass(frozen=True)
class Comparison:
    """One row of a certificate: a backend beside the model, or the reason why it did not run.

    ``causes`` counts texts, each by the first of its causes in the order of :data:`CAUSES` from
    the last, so that ``other`` is never hidden behind rounding.
    """

    backend: str
    cut: str
    required: bool
    not_run: str = ""
    texts: int = 0
    equal_texts: int = 0
    hard_cases: int = 0
    equal_hard_cases: int = 0
    largest_difference: float | None = None
    tolerance: float | None = None
    causes: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a required backend differs for another reason than rounding."""
        return self.required and bool(set(self.causes) - EXPECTED_CAUSES)

    def render_causes(self) -> str:
        """Return the causes with their numbers of texts, or why the backend did not run."""
        if self.not_run:
            return f"not run: {self.not_run}"
        return ", ".join(f"{count} {cause}" for cause, count in self.causes.items()) or "none"

    def cells(self) -> list[str]:
        """Return the row of the table."""
        if self.not_run:
            return [self.backend, self.cut, "-", "-", "-", self.render_causes()]
        largest = self.largest_difference
        return [
            self.backend,
            self.cut,
            f"{self.equal_texts:,} of {self.texts:,}",
            f"{self.equal_hard_cases} of {self.hard_cases}",
            "-" if largest is None else f"{largest:.1g}",
            self.render_causes(),
        ]


HEADER = ["backend", "cut", "equal label sets", "hard cases", "logits differ by", "differences"]
SHORT_HEADER = ["backend", "cut", "equal", "hard cases", "logits", "differences"]


@dataclass(frozen=True)
class Certificate:
    """What was compared, and the result for each backend."""

    model: str
    fingerprint: str
    texts: str
    labels: int
    created: str
    notes: list[str]
    backends: list[Comparison]
    versions: dict[str, str]

    @property
    def failed(self) -> list[str]:
        """Names of required backends that differ for another reason than rounding."""
        return [each.backend for each in self.backends if each.failed]

    def render(self) -> str:
        """Return the table for a terminal, with the first differences of each backend."""
        rows = [SHORT_HEADER, *(each.cells() for each in self.backends)]
        lines = align_columns([[row[0], *row[2:5]] for row in rows]).splitlines()
        table = [f"{line}  {row[5]}" for line, row in zip(lines, rows, strict=True)]
        told = []
        for each in self.backends:
            told += [f"{each.backend}: {line}" for line in _describe_first(each.differences)]
        return "\n".join([*table, "", *map(_wrap, [*told, *self.notes])]).rstrip()

    def render_markdown(self) -> str:
        """Return the section of a model card. It quotes no text."""
        lines = [f"| {' | '.join(HEADER)} |", "| --- | --- | ---: | ---: | ---: | --- |"]
        for each in self.backends:
            lines.append(f"| {' | '.join(escape_markdown(cell) for cell in each.cells())} |")
        notes = [f"* {escape_markdown(note)}" for note in self.notes]
        source = escape_markdown(self.texts)
        return "\n".join(
            [
                "## Certificate",
                "",
                f"`zlpr certify` ran the same texts ({source}) through each backend on "
                f"{self.created[:10]} and compared label sets with those of `zlpr_hf`.",
                "",
                *lines,
                *([""] if notes else []),
                *notes,
            ]
        )

    def save(self, folder: Path) -> bool:
        """Write ``certificate.json`` and the section of the model card, if there is a card."""
        write_json(folder / CERTIFICATE_FILE, asdict(self))
        path = folder / CARD_FILE
        if not path.is_file():
            return False
        card = path.read_text(encoding="utf-8")
        write_whole(path, insert_section(card, self.render_markdown()))
        return True


def insert_section(card: str, section: str) -> str:
    """Return a card with a certificate: in place of the earlier one, after "Use", or at the end."""
    start, end = CARD_MARKS
    block = f"{start}\n\n{section}\n\n{end}\n"
    earlier = re.compile(f"{re.escape(start)}.*?{re.escape(end)}\n?", re.DOTALL)
    if earlier.search(card):
        return earlier.sub(lambda _: block, card, count=1)
    before, mark, after = card.partition(f"{USE_MARKS[1]}\n")
    if mark:
        return f"{before}{mark}\n{block}{after}"
    return f"{card.rstrip()}\n\n{block}"


def compare(
    name: str,
    cut: str,
    answers: Answers,
    *,
    model: Answers,
    checked: CheckedTexts,
    labels: Sequence[str],
    tolerance: float | None,
    required: bool,
    otherwise: Cause = "other",
) -> Comparison:
    """Compare the label sets of a backend with those of the model.

    Args:
        name: Name of the backend.
        cut: How its outputs become labels, for the table.
        answers: Its answers.
        model: The answers of the model, with all logits.
        checked: The texts.
        labels: Names of the labels.
        tolerance: Numerical error of its logits; None: ten times the median difference.
        required: Whether a difference other than by rounding is a failure.
        otherwise: The cause of differences that the texts do not explain.
    """
    with np.errstate(invalid="ignore"):
        moved = np.abs(answers.logits - model.logits)
    comparable = np.isfinite(moved) & (np.abs(model.logits) < SURE_LOGIT)
    comparable[checked.blank | checked.long | checked.special] = False
    known = moved[comparable]
    if tolerance is None:
        tolerance = 10 * float(np.median(known)) if known.size else 0.0
    refused = answers.refused if answers.refused.size else np.zeros(len(checked.texts), dtype=bool)
    wrong = answers.predicted != model.predicted
    wrong[refused] = model.predicted[refused]
    unequal = wrong.any(1) | refused
    differences: list[Difference] = []
    causes: Counter[str] = Counter()
    for row in np.flatnonzero(unequal).tolist():
        found: set[Cause] = set()
        if refused[row]:
            found.add("blank text" if checked.blank[row] else "refused")
        for label in np.flatnonzero(wrong[row] & ~refused[row]).tolist():
            cause = _find_cause(answers, model, checked, row, label, tolerance)
            cause = otherwise if cause == "other" else cause
            found.add(cause)
            logit = float(answers.logits[row, label])
            differences.append(
                Difference(
                    text=shorten(checked.texts[row]),
                    label=labels[label],
                    model_logit=round(float(model.logits[row, label]), 6),
                    backend_logit=round(logit, 6) if np.isfinite(logit) else None,
                    predicted_by="model" if model.predicted[row, label] else "backend",
                    cause=cause,
                )
            )
        causes[max(found, key=CAUSES.index)] += 1
    own = len(checked.texts) - checked.hard_cases
    return Comparison(
        backend=name,
        cut=cut,
        required=required,
        texts=own,
        equal_texts=int((~unequal[:own]).sum()),
        hard_cases=checked.hard_cases,
        equal_hard_cases=int((~unequal[own:]).sum()),
        largest_difference=float(known.max()) if known.size else None,
        tolerance=tolerance,
        causes={cause: causes[cause] for cause in CAUSES if causes[cause]},
        differences=differences[:MAX_DIFFERENCES],
    )


def _find_cause(
    answers: Answers, model: Answers, checked: CheckedTexts, row: Any, label: Any, tolerance: float
) -> Cause:
    ours, theirs = model.logits[row, label], answers.logits[row, label]
    if checked.blank[row]:
        return "blank text"
    if (model.predicted[row, label] != (ours > 0)) and not np.abs(theirs - ours) > tolerance:
        return "label limits"
    if abs(ours) <= tolerance and not np.abs(theirs - ours) > tolerance:
        return "rounding"
    if checked.special[row]:
        return "special token"
    return "long text" if checked.long[row] else "other"


def shorten(text: str) -> str:
    """Return the beginning of a text on one line, with control characters escaped.

    Example:
        >>> shorten("a text" + chr(10) + "of two lines")
        'a text of two lines'
    """
    line = " ".join(text.split()) or text
    line = line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 3]}..."
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in line)


def _wrap(line: str) -> str:
    return textwrap.fill(line, 80, subsequent_indent="  ", break_long_words=False)


def _describe_first(differences: Sequence[Difference]) -> list[str]:
    """Describe up to five differences, unexplained ones first, without those of blank texts."""
    told = [each for each in differences if each.cause != "blank text"]
    return [
        _describe(each) for each in sorted(told, key=lambda each: -CAUSES.index(each.cause))[:5]
    ]


def _describe(each: Difference) -> str:
    logit = "unknown" if each.backend_logit is None else f"{each.backend_logit:+.4f}"
    return (
        f'"{each.text}": {each.label!r} by the {each.predicted_by} only; logit of the model '
        f"{each.model_logit:+.4f}, of the backend {logit} ({each.cause})"
    )

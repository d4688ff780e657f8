"""report.html: strengths and mistakes of a model, on one page that loads no other file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from zlpr_hf.files.paths import shorten_path
from zlpr_hf.labels import known_mask
from zlpr_hf.losses.zlpr import zlpr_loss
from zlpr_hf.metrics.bootstrap import explain_missing
from zlpr_hf.metrics.multi_label import LIMITS
from zlpr_hf.reports.disagreements import EvaluatedSplit, Kind
from zlpr_hf.reports.figures import ThresholdCurves, find_pairs, plot_history, plot_reliability
from zlpr_hf.reports.label_details import Example, find_label_details, shorten_text
from zlpr_hf.reports.report import COLUMNS, METRIC_TITLES, MODEL_ROW, Report
from zlpr_hf.reports.summary import summarise
from zlpr_hf.reports.svg import html_environment
from zlpr_hf.reports.verdict import FEW_TEST_TEXTS
from zlpr_hf.thresholds import compute_scores

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

MAX_BARS = 30
MAX_LABELS = 100
MAX_MISTAKES = 10
MAX_TEASER_LENGTH, MAX_TEXT_LENGTH = 400, 4000
"""Characters of a text that are shown at once, and that are in the page at all."""
MAX_WORD_LENGTH = 40


class Text(NamedTuple):
    """A text of the page: its visible beginning, the rest, and its whole length."""

    head: str
    rest: str
    length: int


class Mark(NamedTuple):
    """A label of a mistake: ``agreed``, ``untagged`` or ``doubted``."""

    kind: str
    label: str
    score: float


class Mistake(NamedTuple):
    """A test row with a wrong decision."""

    place: str
    loss: float
    texts: list[Text]
    marks: list[Mark]

    @property
    def wrong_labels(self) -> set[str]:
        """Labels on which model and tags disagree."""
        return {mark.label for mark in self.marks if mark.kind != "agreed"}


def render_html_report(
    report: Report, splits: Mapping[str, EvaluatedSplit], *, names: Sequence[str]
) -> str:
    """Return a page about a run: advice, metrics, curves, labels, and mistakes with their texts.

    ``splits`` holds the test split; validation rows add texts to the list of disagreements.
    """
    test = splits["test"]
    scores = np.clip(np.asarray(test.logits, dtype=np.float32), *LIMITS)
    truth = np.asarray(test.targets, dtype=np.float32)
    known: Bools = known_mask(truth)
    present = known & (truth >= 0.5)
    predicted: Bools = known & np.asarray(test.decided)
    mistakes = _find_mistakes(scores, truth, present, predicted, test, names)
    labels = sorted(
        report.most_frequent(MAX_LABELS),
        key=lambda each: (not each.support, each.f1, -each.support),
    )
    details = find_label_details(
        report.label_scores, labels, test, present & ~predicted, predicted & ~present
    )
    page: str = (
        html_environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            name=Path(report.output_dir).name or "model",
            folder=shlex.quote(shorten_path(report.output_dir)),
            model_row=MODEL_ROW,
            columns=COLUMNS,
            titles=METRIC_TITLES,
            summary=summarise(report, [each.wrong_labels for each in mistakes]),
            intervals=report.intervals,
            missing_intervals=explain_missing(predicted, truth),
            labels=labels,
            few_test_texts=FEW_TEST_TEXTS,
            details=[each for each in details if each.has_mistakes],
            rows=[(each.label, each.f1) for each in labels[:MAX_BARS]],
            history=plot_history(report.history),
            reliability=plot_reliability(scores, truth, known),
            thresholds=ThresholdCurves.compute(scores, present, known),
            pairs=find_pairs(names, present, predicted),
            suspects=_list_suspects(report, splits),
            mistakes=mistakes,
            max_text_length=MAX_TEXT_LENGTH,
            any_known=bool(known.any()),
            empty_truth=_share_of_empty_rows(known, present),
            true_cardinality=_mean_labels(known, present),
        )
    )
    return page


def _list_suspects(
    report: Report, splits: Mapping[str, EvaluatedSplit]
) -> list[tuple[str, dict[Kind, list[Example]]]]:
    """Return the texts of each label whose tag the model firmly contradicts."""
    found: dict[str, dict[Kind, list[Example]]] = {}
    for each in report.disagreements:
        text = shorten_text(" / ".join(splits[each.split].texts[each.row]))
        lists = found.setdefault(each.label, {"untagged": [], "doubted": []})
        lists[each.kind].append(Example(each.place, text, each.score))
    return list(found.items())


def _mean_labels(known: Bools, present: Bools) -> float:
    """Return the mean number of labels of the rows with a known label."""
    judged = int(known.any(1).sum())
    return int(present.sum()) / judged if judged else 0.0


def _share_of_empty_rows(known: Bools, present: Bools) -> float:
    """Return the share of rows without a label, among the rows with a known label."""
    judged = int(known.any(1).sum())
    return int((known & ~present).all(1).sum()) / judged if judged else 0.0


def _find_mistakes(
    scores: Floats,
    truth: Floats,
    present: Bools,
    predicted: Bools,
    split: EvaluatedSplit,
    names: Sequence[str],
) -> list[Mistake]:
    """Return the rows with a wrong decision, those with the largest ZLPR loss first."""
    losses = zlpr_loss(torch.tensor(scores), torch.tensor(truth), reduction="none").numpy()
    wrong = np.flatnonzero((present != predicted).any(1))
    worst = wrong[np.argsort(-losses[wrong], kind="stable")][:MAX_MISTAKES]
    return [
        Mistake(
            split.places[row],
            float(losses[row]),
            [_shorten(text) for text in split.texts[row]],
            _mark_labels(scores[row], present[row], predicted[row], names),
        )
        for row in worst.tolist()
    ]


def _mark_labels(
    scores: Floats, present: Bools, predicted: Bools, names: Sequence[str]
) -> list[Mark]:
    kinds = {
        "agreed": present & predicted,
        "untagged": ~present & predicted,
        "doubted": present & ~predicted,
    }
    order = np.argsort(-scores, kind="stable").tolist()
    shown = compute_scores(scores).tolist()
    return [
        Mark(kind, names[label], shown[label])
        for kind, cells in kinds.items()
        for label in order
        if cells[label]
    ]


def _shorten(text: str) -> Text:
    """Cut a text, between words if it has any."""
    cut = len(text)
    if cut > MAX_TEASER_LENGTH:
        space = text.rfind(" ", MAX_TEASER_LENGTH - MAX_WORD_LENGTH, MAX_TEASER_LENGTH)
        cut = space + 1 or MAX_TEASER_LENGTH
    return Text(text[:cut], text[cut:MAX_TEXT_LENGTH], len(text))

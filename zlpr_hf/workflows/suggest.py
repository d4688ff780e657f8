"""Suggest the unlabelled texts whose labels would teach a model most."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from zlpr_hf.choices import QueryStrategy
from zlpr_hf.data.formats import FORMULA
from zlpr_hf.data.near_duplicates import find_near_duplicates
from zlpr_hf.data.row_reader import BadRow, RowReader
from zlpr_hf.data.seen_texts import SeenTexts, text_key
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.query_strategies import Pool, choose_texts
from zlpr_hf.models.features import compute_features
from zlpr_hf.models.head import classification_head
from zlpr_hf.thresholds import compute_scores
from zlpr_hf.workflows.output_dir import PROFILE_FILE

PLACE_COLUMNS = ("file", "line", "score")


@dataclass(frozen=True)
class Suggestion:
    """A text to label: its place in the pool, the labels to correct, and a score.

    ``line`` is None in formats without lines; ``score`` is that of the least certain label.
    """

    line: int | None
    texts: tuple[str, ...]
    labels: list[str]
    score: float


@dataclass(frozen=True)
class Suggestions:
    """Chosen texts in rank order, and the numbers of rows that were left out."""

    chosen: list[Suggestion]
    rows: int
    seen: int
    repeated: int
    bad: int
    near: int

    def render_counts(self) -> str:
        """Return one line on the pool."""
        left_out = {
            "seen in training": self.seen,
            "repeated": self.repeated,
            "without a text": self.bad,
            "almost equal to a chosen one": self.near,
        }
        parts = [f"{count:,} {reason}" for reason, count in left_out.items() if count]
        return f"{self.rows:,} rows" + (f", left out: {', '.join(parts)}" if parts else "")

    def count_formulas(self) -> int:
        """Return the number of chosen rows that a spreadsheet would take for a formula."""
        return sum(any(text.startswith(FORMULA) for text in each.texts) for each in self.chosen)


def suggest_texts(
    classifier: Classifier,
    reader: RowReader,
    model: str,
    *,
    strategy: QueryStrategy,
    count: int,
    seed: int = 0,
    batch_size: int = 32,
) -> Suggestions:
    """Choose texts of a pool to label next.

    Rows that the model has seen, repeated texts (case and white space do not count), rows without
    a text and near-duplicates of chosen texts are left out.

    Raises:
        InputError: If the model has no head of torch, or no row is left.
    """
    if not isinstance(classifier.model, PreTrainedModel) or not _has_linear_head(classifier.model):
        raise InputError(f"{model}: expected a model of torch that ends with a linear layer")
    lines, texts, rows, bad = [], [], 0, 0
    for row in reader:
        rows += 1
        if isinstance(row, BadRow) or not any(map(str.strip, row.texts)):
            bad += 1
            continue
        lines.append(reader.line)
        texts.append(row.texts)
    fresh, seen, repeated = _find_fresh(texts, SeenTexts.find(model))
    if not fresh:
        raise InputError(
            f"{reader.origin}: no text to suggest; of {rows:,} rows the model has seen {seen:,}, "
            f"{repeated:,} are repeated and {bad:,} have no text"
        )
    texts, lines = [texts[row] for row in fresh], [lines[row] for row in fresh]
    logits = classifier.compute_logits(texts, batch_size=batch_size, progress=True)
    features = compute_features(
        classifier.model, classifier.tokenizer, texts, batch_size=batch_size, progress=True
    )
    pool = Pool(logits.astype(float), features.astype(float), _read_cardinality(model))
    pairs = [(first, second) for first, second, _ in find_near_duplicates(texts)]
    chosen = choose_texts(pool, strategy, count, seed=seed, near_duplicates=pairs)
    taken = set(chosen.tolist())
    near = {row for pair in pairs if taken & set(pair) for row in pair} - taken
    decided = classifier.label_space.decode(classifier.decide(logits[chosen]))
    nearest = np.abs(logits[chosen]).argmin(1)
    scores = compute_scores(logits[chosen, nearest])
    found = [
        Suggestion(lines[row], texts[row], names, float(score))
        for row, names, score in zip(chosen, decided, scores, strict=True)
    ]
    return Suggestions(found, rows, seen, repeated, bad, len(near))


def _has_linear_head(model: PreTrainedModel) -> bool:
    """Whether a model ends with a linear layer, whose inputs are the features of a text."""
    try:
        classification_head(model)
    except ValueError:
        return False
    return True


def _find_fresh(
    texts: list[tuple[str, ...]], record: SeenTexts | None
) -> tuple[list[int], int, int]:
    """Return the rows of new texts, each once, and how many were seen and repeated."""
    places = record.places(texts) if record is not None else [None] * len(texts)
    fresh: dict[tuple[str, ...], int] = {}
    unseen = [row for row, place in enumerate(places) if place is None]
    for row in unseen:
        fresh.setdefault(tuple(text.casefold() for text in text_key(texts[row])), row)
    return list(fresh.values()), len(texts) - len(unseen), len(unseen) - len(fresh)


def _read_cardinality(model: str) -> float | None:
    """Return the mean number of labels of the training rows, if the folder has their profile."""
    path = Path(model).expanduser() / PROFILE_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["splits"]["train"]["cardinality"]
        return float(found)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_suggestions(
    path: Path,
    suggestions: Iterable[Suggestion],
    origin: str,
    *,
    text_columns: list[str],
    label_column: str,
    delimiter: str,
) -> None:
    """Write a CSV file, best first, whose label column is to be corrected."""
    content = io.StringIO(newline="")
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow([*text_columns, label_column, *PLACE_COLUMNS])
    for each in suggestions:
        line = "" if each.line is None else each.line
        labels = delimiter.join(each.labels)
        writer.writerow([*each.texts, labels, origin, line, f"{each.score:.4f}"])
    write_whole(path, content.getvalue())

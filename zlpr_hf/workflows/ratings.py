"""Raters in the training file of a run, and the cells on which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.label_cells import RowLabels, is_missing
from zlpr_hf.data.labelled_rows import read_judged_rows
from zlpr_hf.data.raters import Ratings, count_ratings, find_rater_column
from zlpr_hf.data.responses import split_responses
from zlpr_hf.data.seen_texts import text_key
from zlpr_hf.data.sources import read_file
from zlpr_hf.data.split_rows import join_labels
from zlpr_hf.reports.audit import Audit, RaterCell
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import file_options, find_label_columns


def add_ratings(audit: Audit, arguments: DataArguments, data: LabelledData) -> Audit:
    """Add the cells on which raters differ, if a column of the training file names the raters.

    The labels of a rater's rows for one text are merged.
    """
    if arguments.train_file is None or arguments.labels_file is not None:
        return audit
    labels = find_label_columns(arguments, None)
    rows = read_file(Path(arguments.train_file), file_options(arguments, labels))
    texts = [name for name in (arguments.text_column, arguments.text_pair_column) if name]
    column = find_rater_column(rows.column_names, [*texts, *labels.used])
    if column is None or split_responses(rows, labels.used) is not rows:
        return audit  # responses in one cell do not say who gave them
    columns = labels.with_keys([rows])
    judged = read_judged_rows(rows, arguments.train_file, columns, texts).rows
    row_of_text = {text_key(text): row for row, text in enumerate(data.texts("train"))}
    raters = rows[column][:]
    judgements: dict[tuple[int, str], list[RowLabels]] = {}
    for key, number, given in zip(judged.text_keys(), judged.numbers, judged.labels, strict=True):
        rater = raters[number - 1]
        if key in row_of_text and not is_missing(rater):
            judgements.setdefault((row_of_text[key], str(rater)), []).append(given)
    rows_of_text: dict[int, list[int]] = {}
    for index, (row, _) in enumerate(judgements):
        rows_of_text.setdefault(row, []).append(index)
    ids = data.label_space.label2id
    targets = np.zeros((len(judgements), len(ids)), np.float32)
    for index, rows_of_rater in enumerate(judgements.values()):
        for name, value in join_labels(rows_of_rater).items():
            if name in ids:
                targets[index, ids[name]] = value
    ratings = count_ratings(
        targets, list(rows_of_text.values()), [rater for _, rater in judgements]
    )
    return replace(
        audit,
        rater_cells=_list_rater_cells(data, ratings, list(rows_of_text)),
        raters=ratings.disagreement,
    )


def _list_rater_cells(data: LabelledData, ratings: Ratings, rows: Sequence[int]) -> list[RaterCell]:
    """Return the cells on which raters differ, the most divided ones first.

    ``rows`` are the training rows of the rated texts.
    """
    texts, names = data.texts("train"), data.label_space.names
    differ = np.argwhere((ratings.yes > 0) & (ratings.yes < ratings.total)).tolist()
    cells = [
        RaterCell(
            data.place("train", rows[text]),
            " / ".join(texts[rows[text]]),
            names[label],
            int(ratings.yes[text, label]),
            int(ratings.total[text, label]),
        )
        for text, label in differ
    ]
    return sorted(cells, key=lambda cell: abs(cell.yes / cell.total - 0.5))

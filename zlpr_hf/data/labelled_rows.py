"""Rows with labels: texts, labels and verdicts of each split, read from its columns."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from datasets import Dataset

from zlpr_hf.data.columns import check_column, read_column, read_texts, warn_of_empty_texts
from zlpr_hf.data.label_cells import RowLabels, is_missing
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.label_reader import LabelReader
from zlpr_hf.data.split_rows import SplitRows
from zlpr_hf.data.verdicts import Verdict, find_verdicts, verdict_columns
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)


def read_splits(
    splits: Mapping[str, Dataset],
    origins: Mapping[str, str],
    labels: LabelColumns,
    text_columns: Sequence[str],
    group_column: str | None = None,
) -> tuple[dict[str, SplitRows], LabelReader]:
    """Read texts (one column, or two for pairs) and labels of each split.

    Rows that were not judged are left out; see :class:`LabelColumns` for rows of the same text.

    Returns:
        The rows of each split, and the reader of the labels of the first one.

    Raises:
        InputError: If a column is missing, a row is wrong, two splits declare other labels or share
            a group, or a text has different labels.
    """
    rows: dict[str, SplitRows] = {}
    readers: dict[str, LabelReader] = {}
    labels = labels.with_keys(splits.values())
    for split, dataset in splits.items():
        if dataset.num_rows == 0:
            raise InputError(f"{origins[split]}: the split holds no rows")
        # The first split shows whether labels are ever judged absent; a small one may not.
        readers[split], rows[split] = read_rows(
            dataset, origins[split], labels, text_columns, group_column, ask_unknown=not readers
        )
    first, *others = readers
    for split in others:
        _check_same_labels(readers[split], readers[first], origins[split], origins[first])
    _check_groups(rows, origins)
    if "train" in rows:
        _warn_of_tied_groups(rows["train"], origins["train"])
    return rows, readers[first]


def _check_same_labels(reader: LabelReader, first: LabelReader, origin: str, other: str) -> None:
    names, expected = reader.names or (), first.names or ()
    if names == expected:
        return
    added, missing = set(names) - set(expected), set(expected) - set(names)
    how = "they are in another order"
    if added or missing:
        how = f"only it has {min(added)!r}" if added else f"it lacks {min(missing)!r}"
    raise InputError(
        f"{origin}: its labels differ from those of {other}: {how}; declare the same labels in "
        "both, or store names instead of ids"
    )


def read_rows(
    dataset: Dataset,
    origin: str,
    labels: LabelColumns,
    text_columns: Sequence[str],
    group_column: str | None = None,
    *,
    ask_unknown: bool = True,
) -> tuple[LabelReader, SplitRows]:
    """Read the judged rows of one split; also return the reader of their labels.

    Raises:
        InputError: If a column is missing, a row is wrong, or a text has different labels.
    """
    judged = read_judged_rows(dataset, origin, labels, text_columns, ask_unknown=ask_unknown)
    if group_column is not None:
        groups = _read_groups(dataset, group_column, origin)
        judged.rows.groups = [groups[number - 1] for number in judged.rows.numbers]
    join = True if judged.has_rejected else labels.join_rows
    return judged.reader, join_rows(judged.rows, origin, join)


@dataclass(frozen=True)
class JudgedRows:
    """The judged rows of one split before rows of one text are joined.

    ``has_rejected`` tells that a verdict rejects the labels of a row.
    """

    reader: LabelReader
    rows: SplitRows
    has_rejected: bool


def read_judged_rows(
    dataset: Dataset,
    origin: str,
    labels: LabelColumns,
    text_columns: Sequence[str],
    *,
    ask_unknown: bool = True,
) -> JudgedRows:
    """Read the judged rows of one split.

    Raises:
        InputError: If a column is missing or a row is wrong.
    """
    texts = [read_texts(dataset, column, origin) for column in text_columns]
    reader, found = labels.read(dataset, origin, ask_unknown=ask_unknown)
    verdicts = _read_verdicts(dataset, origin, labels, text_columns)
    if reader.in_columns or reader.in_lists or any(len(row or ()) > 1 for row in found):
        # A rejected choice of several labels says nothing about any one of them.
        verdicts = ["drop" if verdict == "reject" else verdict for verdict in verdicts]
    rejected = [i for i, verdict in enumerate(verdicts) if verdict == "reject" and found[i]]
    if rejected:
        if labels.join_rows is False:
            raise InputError(
                f"{origin}, row {rejected[0] + 1}: a rejected label needs the other rows of its "
                "text: leave join_rows false out, or set use_verdicts false"
            )
        found = _with_rejected(found, rejected)
    kept = [i for i, row in enumerate(found) if row is not None and verdicts[i] != "drop"]
    judged = [i for i in kept if not reader.is_blank((each[i] for each in texts), found[i])]
    _log_left_out(origin, found, verdicts, blank=len(kept) - len(judged))
    if not judged:
        raise InputError(f"{origin}: no row has labels that were judged; see missing_labels")
    for column, values in zip(text_columns, texts, strict=True):
        warn_of_empty_texts({i + 1: values[i] for i in judged}, column, origin)
    everything = SplitRows(
        dict(zip(("text", "text_pair"), texts, strict=False)),
        [row or {} for row in found],
        list(range(1, dataset.num_rows + 1)),
    )
    return JudgedRows(reader, everything.take(judged), bool(rejected))


def join_rows(rows: SplitRows, origin: str, join: bool | None) -> SplitRows:
    """Join rows of one text if asked; without a decision refuse texts with different labels."""
    contradictions = list(rows.contradictions())
    if join:
        joined = rows.join()
        if len(joined.labels) < len(rows.labels):
            logger.warning(
                "%s: %d rows joined to %d texts", origin, len(rows.labels), len(joined.labels)
            )
        return joined
    if contradictions and join is None:
        first = contradictions[0]
        numbers = ", ".join(str(rows.numbers[i]) for i in first[:3])
        raise InputError(
            f"{origin}: {len(contradictions)} texts are in {sum(map(len, contradictions))} rows "
            f"with different labels, such as rows {numbers}: is this one label per row? Join the "
            "rows of a text with --join_rows true, or keep them apart with --join_rows false"
        )
    return rows


def _read_groups(dataset: Dataset, column: str, origin: str) -> list[tuple[Hashable, ...]]:
    names = dataset.column_names
    check_column(column, names, origin=origin, of="the groups", option="group_column")
    groups = read_column(dataset, column, origin)
    if any(isinstance(group, (list, dict)) for group in groups):
        raise InputError(f"{origin}: group_column {column!r} must hold single values")
    missing = sum(map(is_missing, groups))
    if missing:
        logger.warning(
            "%s, column %r: %d of %d rows have no group; each is a group of its own",
            origin, column, missing, len(groups),
        )  # fmt: skip
    return [() if is_missing(group) else (group,) for group in groups]


def _check_groups(rows: Mapping[str, SplitRows], origins: Mapping[str, str]) -> None:
    seen: dict[object, str] = {}
    for split, each in rows.items():
        for group in dict.fromkeys(chain.from_iterable(each.groups or ())):
            if group in seen:
                raise InputError(
                    f"group {group!r} is in {origins[seen[group]]} and in {origins[split]}; "
                    "a group must not cross splits"
                )
            seen[group] = split


def _warn_of_tied_groups(rows: SplitRows, origin: str) -> None:
    """Tell how many groups are left where rows of one text are in several."""
    units = None if rows.groups is None else rows.units()
    if rows.groups is None or units is None:
        return
    groups = set(chain.from_iterable(rows.groups))
    left = {unit for unit, own in zip(units, rows.groups, strict=True) if own}
    if len(left) < len(groups):
        logger.warning(
            "%s: rows with one text are in several groups, which stay together: %d groups are %d "
            "units of the splits and folds", origin, len(groups), len(left),
        )  # fmt: skip


def _read_verdicts(
    dataset: Dataset, origin: str, labels: LabelColumns, text_columns: Sequence[str]
) -> list[Verdict]:
    verdicts = None
    used = {*labels.used, *text_columns}
    if labels.use_verdicts:
        names = verdict_columns(dataset.column_names, used)
        columns = {name: read_column(dataset, name, origin) for name in names}
        verdicts = find_verdicts(columns, used, origin)
    return ["keep"] * dataset.num_rows if verdicts is None else verdicts


def _with_rejected(
    found: Sequence[RowLabels | None], rejected: Sequence[int]
) -> list[RowLabels | None]:
    """Return rows that each judge their own labels only; the rejected ones are absent."""
    names = dict.fromkeys(name for row in found for name in row or ())
    unknown = dict.fromkeys(names, math.nan)
    rows: list[RowLabels | None] = [None if row is None else unknown | row for row in found]
    for index in rejected:
        row = unknown.copy()
        for name in found[index] or ():
            del row[name]
        rows[index] = row
    return rows


def _log_left_out(
    origin: str, found: Sequence[RowLabels | None], verdicts: Sequence[Verdict], *, blank: int
) -> None:
    missing = sum(
        row is None and verdict != "drop" for row, verdict in zip(found, verdicts, strict=True)
    )
    if missing:
        logger.warning(
            "%s: %d of %d rows are left out: their label cell is empty, so that they were not "
            "judged (missing_labels no_label: no label applies)", origin, missing, len(found),
        )  # fmt: skip
    if blank:
        logger.warning("%s: %d rows without text and label are left out", origin, blank)
    dropped = verdicts.count("drop")
    if dropped or "reject" in verdicts:
        logger.warning(
            "%s: by their verdict, %d rows are left out and %d labels are rejected "
            "(use_verdicts false: take all rows as they are)",
            origin, dropped, verdicts.count("reject"),
        )  # fmt: skip

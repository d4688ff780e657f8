"""The choice of the label columns, and of the way to read them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zlpr_hf.data.columns import check_column, separator_hint
from zlpr_hf.data.label_candidates import (
    Candidate,
    ask_about_ids,
    delimited,
    find_candidates,
    flag_columns,
    read_candidate,
    single_names,
    split_cell,
)
from zlpr_hf.data.label_cells import YES_WORDS, is_missing
from zlpr_hf.data.label_counts import LabelCounts
from zlpr_hf.data.label_survey import LABEL_SEPARATORS, LabelSurvey, ask_about_words
from zlpr_hf.data.sample_rows import SampleRows
from zlpr_hf.data.text_candidates import list_columns
from zlpr_hf.errors import InputError

LABELS = "labels"
"""The column that is read by default."""
LABEL_NAMES = frozenset(
    "class classes category categories genre genres label labels tag tags topic topics".split()
)
"""Names that decide between columns that look alike, in lower case."""
YES = YES_WORDS | {"1", "1.0"}
COLUMNS_SHOWN = 4


def choose_labels(
    sample: SampleRows, given: Mapping[str, Any], texts: Collection[str], command: str
) -> Candidate:
    """Return the columns of the labels, with the options that read them.

    Args:
        sample: The rows.
        given: Options that are given.
        texts: Columns that hold no labels.
        command: The command so far, for messages.

    Raises:
        InputError: If a given column does not exist, none or several look like labels, or their
            cells have two readings; with a command.
    """
    several, name = given.get("label_columns"), given.get("label_column")
    for each in several or ([] if name is None else [name]):
        option = "--label_columns" if several else "--label_column"
        of = "the labels"
        check_column(each, sample.columns, origin=sample.origin, of=of, option=option)
    if several and given.get("label_form") == "names":
        return Candidate(tuple(several), "names in several columns", (), in_columns=True)
    if several:
        return flag_columns(tuple(several))
    if name is None and LABELS in sample.columns:
        name = LABELS
    if name is None:
        every = find_candidates(sample, texts)
        found = _choose_candidate(every, sample, given, command)
        others = tuple(name for each in every if each is not found for name in each.columns)
        if found.in_columns:
            _check_flags(found, sample, given, command)
        else:
            found = _read_column(sample, found.columns[0], given, command)
        return replace(found, others=others)
    return _read_column(sample, name, given, command)


def column_options(candidate: Candidate) -> dict[str, Any]:
    """Return the options that name the columns."""
    if candidate.in_columns:
        return {"label_columns": list(candidate.columns)}
    return {"label_column": candidate.columns[0]}


def shorten_columns(names: Sequence[str]) -> str:
    """Return some names of columns for messages."""
    if len(names) <= COLUMNS_SHOWN:
        return ", ".join(names)
    return ", ".join([*names[: COLUMNS_SHOWN - 1], "...", names[-1]])


def _choose_candidate(
    found: Sequence[Candidate], sample: SampleRows, given: Mapping[str, Any], command: str
) -> Candidate:
    delimiter = given.get("label_delimiter")
    if delimiter:
        fitting = [each for each in found if each.options.get("label_delimiter") == delimiter]
        found = fitting or found
    pool = [each for each in found if each.has_several] or list(found)
    named = [each for each in found if each.columns[0].strip().lower() in LABEL_NAMES]
    if len(named) == 1 or (len(pool) > 1 and named):
        pool = named
    if len(pool) == 1:
        return pool[0]
    if not pool:
        only = "" if len(sample.columns) > 1 else "; training needs a column of labels beside it"
        ids = {name: ask_about_ids(sample.cells(name)) for name in sample.columns}
        for name, question in ids.items():
            if question and sample.kinds[name] in ("text", "lists"):
                if "--label_delimiter" in question:
                    question += (
                        "; for numbers as names, without --label_form and --label_names_file"
                    )
                raise InputError(
                    f"{sample.origin}: no column looks like labels, but {name} may hold their ids: "
                    f"{command} --label_column {shlex.quote(name)} {question}"
                )
        hint = separator_hint(sample.columns) if sample.has_header else ""
        raise InputError(
            f"{sample.origin}: no column looks like labels; {list_columns(sample)}{only}{hint}. "
            f"Name it: {command} --label_column NAME, or --label_columns NAME NAME for one column "
            "per label"
        )
    shown = "; ".join(f"{shorten_columns(each.columns)} ({each.words})" for each in pool)
    ((option, value),) = column_options(pool[0]).items()
    words = shlex.join([f"--{option}", *([value] if isinstance(value, str) else value)])
    if _share_names(pool):
        columns = shlex.join([each.columns[0] for each in pool])
        words += f", or for one name per column: {command} --label_columns {columns} "
        words += "--label_form names"
    raise InputError(
        f"{sample.origin}: several columns look like labels: {shown}. Name them: {command} {words}"
    )


def _share_names(pool: Sequence[Candidate]) -> bool:
    """Whether all columns have one name per row, and each of the others shares one with the first.

    That is how a form writes several choices: in columns such as ``label1`` and ``label2``.
    """
    first, *others = pool
    return not any(each.has_several or each.in_columns for each in pool) and all(
        set(first.names) & set(each.names) for each in others
    )


def _check_flags(
    candidate: Candidate, sample: SampleRows, given: Mapping[str, Any], command: str
) -> None:
    """Ask for the meaning of empty cells if no cell says no."""
    cells = [cell for name in candidate.columns for cell in sample.cells(name)]
    words = {str(cell).strip().lower() for cell in cells if not is_missing(cell)}
    if words <= YES and given.get("missing_labels", "auto") == "auto":
        raise InputError(
            f"{sample.origin}: the columns {shorten_columns(candidate.columns)} look like labels, "
            "and no cell says no (0). If a label does not apply where its cell is empty: "
            f"{command} --missing_labels no_label"
        )


def _read_column(
    sample: SampleRows, name: str, given: Mapping[str, Any], command: str
) -> Candidate:
    """Return how a column of labels is read, by the options that are given or by its cells."""
    where = f"{sample.origin}, column {name!r}"
    kind = sample.kinds[name]
    if name in sample.declared or "label_form" in given:
        words = "names that the data declares" if name in sample.declared else given["label_form"]
        return Candidate((name,), words, ())
    if kind in ("flags", "yes/no") and not given.get("label_delimiter"):
        return flag_columns((name,))
    if kind == "numbers" and not given.get("join_rows"):
        raise InputError(
            f"{where}: expected names of labels, got numbers. For ids: {command} --label_form ids "
            f"--label_names_file FILE, with one name per line. If the numbers are names: {command} "
            "--label_form names"
        )
    candidate = read_candidate(sample, name)
    if kind == "text" and (candidate is None or not candidate.in_lists):
        candidate = _read_texts(sample, candidate, name, given, command)
    elif candidate is None:
        # Raises the error of the full reading if there is one.
        LabelSurvey.from_cells(sample.cells(name), None, where).form(where, None)
        return Candidate((name,), "lists", ())
    if kind == "text":
        _ask_about_words(sample, candidate, given, where)
    return candidate


def _read_texts(
    sample: SampleRows,
    candidate: Candidate | None,
    name: str,
    given: Mapping[str, Any],
    command: str,
) -> Candidate:
    """Return how a column of text cells is read that holds labels."""
    where = f"{sample.origin}, column {name!r}"
    texts = [str(cell).strip() for cell in sample.cells(name) if not is_missing(cell)]
    unlabelled = len(sample.rows) - len(texts)
    sign = given.get("label_delimiter")
    if sign:
        rows = [split_cell(text, sign) for text in texts]
        counts = LabelCounts.from_rows(dict.fromkeys(row, 1.0) for row in rows)
        counts.check_separators(where, sign)
        return replace(delimited(name, sign, rows, unlabelled), options={})
    single = single_names(name, [[text] for text in texts], unlabelled)
    clear = None if candidate is None or candidate.question else candidate
    join = given.get("join_rows")
    if join and (clear is None or not clear.has_several):
        return replace(single, options={})
    if clear is not None:
        return clear
    if join is False:
        return single
    if ids := ask_about_ids(texts):
        raise InputError(f"{where}: expected names of labels, got ids. Name them: {command} {ids}")
    choices = [] if candidate is None else [candidate.question]
    if candidate is None:
        found = [sign for sign in LABEL_SEPARATORS if any(sign in text for text in texts)]
        choices = [f"--label_delimiter {sign!r}" for sign in found]
        if not choices:
            return single
        choices.append("--label_form names (one name per row)")
    raise InputError(
        f"{where}: the labels can be read in several ways, such as {texts[0]!r:.60}. Choose one: "
        f"{command} {' or '.join(choices)}"
    )


def _ask_about_words(
    sample: SampleRows, candidate: Candidate, given: Mapping[str, Any], where: str
) -> None:
    """Ask whether words such as ``none`` are labels, as the full reading does."""
    if given.get("missing_words", "ask") == "ask" and "label_names_file" not in given:
        sign = given.get("label_delimiter") or candidate.options.get("label_delimiter")
        survey = LabelSurvey.from_cells(sample.cells(candidate.columns[0]), sign, where)
        ask_about_words(survey.missing_words(()), where)

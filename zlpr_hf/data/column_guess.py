"""Guess how a file is read: its text column, its label columns and their form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zlpr_hf.data.columns import check_column
from zlpr_hf.data.header_line import check_header
from zlpr_hf.data.label_candidates import Candidate
from zlpr_hf.data.label_choice import LABELS, choose_labels, column_options, shorten_columns
from zlpr_hf.data.sample_rows import SampleRows
from zlpr_hf.data.text_candidates import TEXT, choose_text

COLUMN_OPTIONS = ("text_column", "text_pair_column", "label_column", "label_columns", "id_column")


@dataclass(frozen=True)
class Guess:
    """Options that read a file, and the reading in words.

    Args:
        options: Options to set, by name; those that are given are left out.
        words: The reading in words.
        changed_by: Options that change it.
        notes: Facts that may be a surprise.
    """

    options: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    changed_by: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def render(self) -> str:
        """Return the reading, the options that change it, and the notes."""
        lines = [" · ".join(self.words)]
        if self.changed_by:
            lines.append("change with " + ", ".join(f"--{name}" for name in self.changed_by))
        return "\n".join([*lines, *self.notes])


def guess_columns(
    sample: SampleRows,
    given: Mapping[str, Any],
    *,
    command: str,
    labels_sample: SampleRows | None = None,
) -> Guess:
    """Guess the options that are not given.

    Args:
        sample: The first rows of the texts, and of their labels.
        given: Options that are given.
        command: The command so far, for messages.
        labels_sample: The first rows of the labels if they are in another file.

    Raises:
        InputError: If a given column does not exist, or nothing or too much fits; with a command.
    """
    check_header(sample, _known_columns(given), command)
    text, texts = choose_text(sample, given, command)
    others = [name for name in texts if name != text]
    join: dict[str, Any] = {}
    if labels_sample is None:
        labels_sample, key = sample, text
        used = {*texts, text, str(given.get("text_pair_column"))}
    else:
        key = _shared_id(sample, labels_sample, given)
        join, used = {"id_column": key}, {key}
    candidate = choose_labels(labels_sample, given, used, command)
    candidate = _with_joined_rows(candidate, labels_sample, key, given)
    found = {"text_column": text, **column_options(candidate), **candidate.options, **join}
    new = {name: value for name, value in found.items() if name not in given}
    can_split = "label_form" in new or "join_rows" in new
    return Guess(
        new,
        (f"text: {text}", *_label_words(candidate, labels_sample)),
        tuple(dict.fromkeys([*new, *(["label_delimiter"] if can_split else [])])),
        tuple(_notes(sample, candidate, given, others)),
    )


def _known_columns(given: Mapping[str, Any]) -> set[str]:
    """Return names of columns that show that the first line of a file is a header."""
    known = {TEXT, LABELS}
    for option in COLUMN_OPTIONS:
        value = given.get(option) or ()
        known.update([value] if isinstance(value, str) else value)
    return known


def _shared_id(sample: SampleRows, labels_sample: SampleRows, given: Mapping[str, Any]) -> str:
    """Return the column that joins a file of labels to the texts."""
    name = str(given.get("id_column", "id"))
    shared = [each for each in sample.columns if each in labels_sample.columns]
    if "id_column" not in given and name not in shared and len(shared) == 1:
        return shared[0]
    for each in (sample, labels_sample):
        check_column(name, each.columns, origin=each.origin, of="the ids", option="--id_column")
    return name


def _with_joined_rows(
    candidate: Candidate, sample: SampleRows, key: str, given: Mapping[str, Any]
) -> Candidate:
    """Return the candidate with the rows of a text joined if each row has one of its labels."""
    if "label_form" not in candidate.options or candidate.has_several or "join_rows" in given:
        return candidate
    seen: dict[Any, Any] = {}
    for row in sample.rows:
        label = row.get(candidate.columns[0])
        if seen.setdefault(row.get(key), label) != label:
            words = "one name per row, rows of a text joined"
            return replace(candidate, words=words, options={"join_rows": True})
    return candidate


def _label_words(candidate: Candidate, sample: SampleRows) -> list[str]:
    found = [f"labels: {shorten_columns(candidate.columns)}, {candidate.words}"]
    if candidate.names:
        where = "in" if sample.is_whole else "in the first"
        noun = "label" if len(candidate.names) == 1 else "labels"
        found.append(f"{len(candidate.names)} {noun} {where} {len(sample.rows):,} rows")
    return found


def _notes(
    sample: SampleRows, candidate: Candidate, given: Mapping[str, Any], others: list[str]
) -> list[str]:
    notes = []
    if others:
        notes.append(f"also texts: {', '.join(others)} (a second text: --text_pair_column)")
    if candidate.others:
        notes.append(f"also labels: {shorten_columns(candidate.others)} (--label_column)")
    splits = [name for name in sample.columns if sample.kinds[name] == "splits"]
    if splits:
        notes.append(f"the column {splits[0]} names splits; it is not used")
    if candidate.unlabelled and given.get("missing_labels", "auto") == "auto":
        rows = f"{candidate.unlabelled} row{'s' * (candidate.unlabelled > 1)}"
        notes.append(
            f"{rows} with an empty label cell: not judged, left out (--missing_labels no_label: no "
            "label applies)"
        )
    return notes

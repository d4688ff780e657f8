"""GivenLabels: labels in memory, in any of the forms in which people hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.data.in_memory import CLASS_IDS, plain_value
from zlpr_hf.data.label_cells import CellError, clean_name, is_missing, open_cell
from zlpr_hf.data.label_survey import LABEL_SEPARATORS
from zlpr_hf.errors import InputError, suggest
from zlpr_hf.labels import IGNORE_INDEX, LabelSpace

GivenForm = Literal["names", "multi_hot", "ids"]
EXPECTED = "expected lists of label names, or a multi-hot array (N, L)"


@dataclass(frozen=True)
class GivenLabels:
    """Labels of some rows.

    Args:
        form: The form in which they were given.
        space: All labels.
        targets: ``(N, L)`` in float32; NaN where a label is unknown.
    """

    form: GivenForm
    space: LabelSpace
    targets: NDArray[np.float32]

    @classmethod
    def read(
        cls, labels: Any, names: Sequence[str] | None = None, *, origin: str = "labels"
    ) -> GivenLabels:
        """Read lists of names, one name per row, multi-hot rows, or lists of ids.

        Args:
            labels: A list, an array, a sparse matrix, a column, or a data frame with one column per
                label. Lists of whole numbers are multi-hot if all have one number per label, 0 or
                1, and ids otherwise. None and NaN mark what is not known.
            names: All labels in their order (default: the columns of a data frame, the names that
                occur, or ``LABEL_0`` and so on).
            origin: Name of the labels, for messages.

        Raises:
            InputError: If the labels have another form, or a name is unknown; with the row.
        """
        if hasattr(labels, "columns") and hasattr(labels, "iterrows"):
            names = tuple(map(str, labels.columns)) if names is None else names
            labels = labels.to_numpy()
        if hasattr(labels, "toarray"):
            labels = labels.toarray()
        if isinstance(labels, str) or not hasattr(labels, "__iter__"):
            raise InputError(f"{origin}: {EXPECTED}, got {labels!r:.60}")
        rows = [_open(each, f"{origin}, row {i}") for i, each in enumerate(labels, start=1)]
        width = None if names is None else len(names)
        form = _find_form(rows, width, origin)
        if form == "names" and names is None:
            _check_separators([row for row in rows if isinstance(row, str)], origin)
        lists = [[row] if isinstance(row, str) else row for row in rows]
        space = _label_space(form, lists, names)
        encode = _encode_numbers if form == "multi_hot" else _encode_sets
        return cls(form, space, encode(lists, space, origin))

    def check_count(self, texts: Sequence[Any]) -> None:
        """Refuse more or fewer rows than texts."""
        if len(texts) != len(self.targets):
            raise InputError(
                f"labels: expected one row per text, got {len(self.targets)} for {len(texts)} texts"
            )

    def decode(self, predictions: NDArray[np.bool_]) -> Any:
        """Return predictions ``(N, L)`` in the form of these labels: names, ids, or an array."""
        if self.form == "multi_hot":
            return predictions.astype(np.int64)
        if self.form == "ids":
            return [np.flatnonzero(row).tolist() for row in predictions]
        return self.space.decode(predictions)


def _open(value: Any, where: str) -> Any:
    """Return a list, a text or a number; None for a row without known labels."""
    value = plain_value(value)
    if is_missing(value):
        return None
    try:
        value = open_cell(value)  # lists that pandas wrote as text
    except CellError as error:
        raise InputError(f"{where}: {error}") from error
    if not isinstance(value, (str, bool, int, float, list)):
        raise InputError(f"{where}: {EXPECTED}, got {value!r:.60}")
    return value


def _find_form(rows: Sequence[Any], width: int | None, origin: str) -> GivenForm:
    """Return the form of opened rows; ``width`` is the number of labels if it is known."""
    known = [row for row in rows if row is not None]
    if any(isinstance(row, (bool, int, float)) for row in known):
        raise InputError(f"{origin}: {EXPECTED}, got one number per row; {CLASS_IDS}")
    lists = [row for row in known if isinstance(row, list)]
    items = [item for row in lists for item in row]
    if all(isinstance(item, str) for item in items):
        return "names"
    if len(lists) < len(known) or not all(_is_number(item) for item in items):
        raise InputError(f"{origin}: {EXPECTED}, got several kinds of values")
    lengths = {len(row) for row in lists}
    whole = all(isinstance(item, int) and not isinstance(item, bool) for item in items)
    flags = {0, 1, IGNORE_INDEX}.issuperset(items)
    if whole and not (flags and lengths == {width or max(lengths)} and max(lengths) > 1):
        return "ids"
    return "multi_hot"


def _is_number(item: Any) -> bool:
    return item is None or isinstance(item, (bool, int, float))


def _check_separators(texts: Sequence[str], origin: str) -> None:
    """Refuse one text for several names, which would become a label of its own."""
    names = {*texts}
    for separator in LABEL_SEPARATORS:
        joined = sorted(name for name in names if separator in name)
        parts = {part.strip() for name in names for part in name.split(separator)}
        if len(joined) > 1 and len(parts) <= len(names):
            raise InputError(
                f"{origin}: texts such as {joined[0]!r:.40} seem to hold several names: pass lists "
                f"of names, such as labels.str.split({separator!r})"
            )


def _label_space(form: GivenForm, rows: Sequence[Any], names: Sequence[str] | None) -> LabelSpace:
    if names is not None:
        return LabelSpace.from_names(names)
    known = [row for row in rows if row is not None]
    if form == "names":
        return LabelSpace.fit([clean_name(name) for name in row] for row in known)
    if form == "multi_hot":
        return LabelSpace.numbered(max(map(len, known)))
    return LabelSpace.numbered(1 + max(item for row in known for item in row))


def _encode_numbers(rows: Sequence[Any], space: LabelSpace, origin: str) -> NDArray[np.float32]:
    targets = np.full((len(rows), space.num_labels), np.nan, dtype=np.float32)
    for number, (target, row) in enumerate(zip(targets, rows, strict=True), start=1):
        if row is None:
            continue
        if len(row) != space.num_labels:
            raise InputError(
                f"{origin}, row {number}: expected {space.num_labels} numbers, one per label, got "
                f"{len(row)}"
            )
        target[:] = [np.nan if value in (None, IGNORE_INDEX) else value for value in row]
        if ((target < 0) | (target > 1)).any():
            raise InputError(
                f"{origin}, row {number}: expected 0, 1 or a probability per label, got {row!r:.60}"
            )
    return targets


def _encode_sets(rows: Sequence[Any], space: LabelSpace, origin: str) -> NDArray[np.float32]:
    targets = np.zeros((len(rows), space.num_labels), dtype=np.float32)
    for number, (target, row) in enumerate(zip(targets, rows, strict=True), start=1):
        if row is None:
            target[:] = np.nan
        for label in row or ():
            index = _index_of(label, space, f"{origin}, row {number}")
            if target[index] and isinstance(label, int):
                raise InputError(
                    f"{origin}, row {number}: the label id {label} twice; are these 0/1 flags? "
                    f"Expected {space.num_labels} of them, one per label"
                )
            target[index] = 1.0
    return targets


def _index_of(label: Any, space: LabelSpace, where: str) -> int:
    index = space.label2id.get(clean_name(label)) if isinstance(label, str) else label
    if index is not None and 0 <= index < space.num_labels:
        return int(index)
    unnamed = isinstance(label, str) and space == LabelSpace.numbered(space.num_labels)
    hint = " (load_model(NAME, LABELS) sets their names)" * unnamed
    near = suggest(label, space.names) if isinstance(label, str) else ""
    raise InputError(
        f"{where}: unknown label {label!r:.60}; the labels are {space.summary()}{hint}{near}"
    )

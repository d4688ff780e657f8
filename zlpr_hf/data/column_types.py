"""Types of label columns: the form and the names that a type declares."""

from __future__ import annotations

from typing import Any

from datasets import ClassLabel, LargeList, List, Value

from zlpr_hf.choices import LabelForm
from zlpr_hf.data.label_survey import ids_or_flags_error, string_labels_error
from zlpr_hf.errors import InputError


def needs_survey(feature: Any) -> bool:
    """Whether the type of a column leaves open how its cells are read."""
    if isinstance(feature, Value):
        return feature.dtype in ("string", "large_string", "string_view", "null")
    inner = feature.feature if isinstance(feature, (List, LargeList)) else feature
    plain = isinstance(inner, ClassLabel) or (
        isinstance(inner, Value) and not inner.dtype.endswith(("string", "string_view"))
    )
    return not plain


def form_of_type(
    feature: Any, where: str, delimiter: str | None, *, one_per_row: bool
) -> LabelForm:
    """Return the form of a column type; a type that fits two forms is an error."""
    if isinstance(feature, ClassLabel):
        return "ids"
    if isinstance(feature, Value) and feature.dtype in ("string", "large_string", "string_view"):
        if delimiter is None and one_per_row:
            return "names"
        if delimiter is None:
            raise string_labels_error(where)
        return "delimited"
    if isinstance(feature, Value) and "int" in feature.dtype:
        raise InputError(
            f"{where}: whole numbers may be ids; set label_form ids and label_names_file, or write "
            "the names of the labels"
        )
    inner = feature.feature if isinstance(feature, (List, LargeList)) else None
    if isinstance(inner, ClassLabel):
        return "ids"
    if isinstance(inner, Value):
        if inner.dtype in ("string", "large_string", "string_view", "null"):
            return "names"
        if inner.dtype.startswith(("float", "bool")):
            return "multi_hot"
        raise ids_or_flags_error(where)
    raise InputError(
        f"{where}: expected a list of names or ids, a multi-hot list or a delimited string, "
        f"got {feature}"
    )


def declared_names(feature: Any) -> tuple[str, ...] | None:
    """Return the names of a column type that declares them."""
    inner = feature.feature if isinstance(feature, (List, LargeList)) else feature
    return tuple(inner.names) if isinstance(inner, ClassLabel) else None

"""Options that a model remembers from its training, as defaults for other data."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Collection, Mapping, Set
from types import SimpleNamespace
from typing import Any

from zlpr_hf.models.paths import read_config_file
from zlpr_hf.zlpr_config import ZLPRConfig

logger = logging.getLogger(__name__)

COLUMN_OPTIONS = ("text_column", "text_pair_column", "label_column", "label_columns")
REPLACED_BY = {
    "label_column": ("label_columns",),
    "label_columns": ("label_column",),
    "label_form": ("label_columns", "label_delimiter"),
    "label_delimiter": ("label_columns", "label_form"),
}
"""Options that are not remembered if one of these is given."""


def read_remembered(model: str, revision: str | None) -> Mapping[str, Any]:
    """Return the options by which a model's training data was read; empty if unknown."""
    return ZLPRConfig.read(SimpleNamespace(**read_config_file(model, revision))).data


def use_remembered(
    options: argparse.Namespace,
    remembered: Mapping[str, Any],
    *,
    given: Set[str],
    columns: Collection[str] | None,
    origin: str,
) -> None:
    """Set options that are not given to those of the training, and warn of contradictions.

    Args:
        options: The options of the command; changed.
        remembered: From :func:`read_remembered`; options that the command lacks are ignored.
        given: The options that the command line sets.
        columns: Columns of the data; None if they are not known yet.
        origin: Name of the data, for messages.
    """
    used = []
    for name, value in remembered.items():
        if not hasattr(options, name):
            continue
        if name in given:
            if getattr(options, name) != value and _is_there(name, value, columns):
                logger.warning(
                    "--%s %s contradicts the training of the model, which used %s",
                    name, _word(getattr(options, name)), _word(value),
                )  # fmt: skip
        elif given.isdisjoint(REPLACED_BY.get(name, ())) and getattr(options, name) != value:
            value = _existing(name, value, getattr(options, name), columns, origin)
            if value != getattr(options, name):
                setattr(options, name, value)
                used.append(f"--{name} {_word(value)}")
    if used:
        logger.warning("%s: read as the training data of the model: %s", origin, " ".join(used))


def columns_of(options: argparse.Namespace, remembered: Mapping[str, Any]) -> frozenset[str]:
    """Return the columns that the options of a command or of the training name."""
    found: set[str] = set()
    for values in (vars(options), remembered):
        for name in COLUMN_OPTIONS:
            value = values.get(name) or ()
            found.update([value] if isinstance(value, str) else value)
    # Responses of annotators have their status in a column beside the labels.
    return frozenset(found | {f"{name}.status" for name in found})


def _is_there(name: str, value: Any, columns: Collection[str] | None) -> bool:
    """Whether data has the columns that an option names; True for other options."""
    names = [value] if isinstance(value, str) else value
    return name not in COLUMN_OPTIONS or columns is None or set(names) <= set(columns)


def _existing(
    name: str, value: Any, default: Any, columns: Collection[str] | None, origin: str
) -> Any:
    """Return a remembered value, or the default if the data has only the columns of that."""
    if _is_there(name, value, columns):
        return value
    assert columns is not None
    if name == "label_columns":
        found = [each for each in value if each in columns]
        if found:
            logger.warning(
                "%s: no columns %s; these labels of the model are not known here",
                origin, ", ".join(each for each in value if each not in columns),
            )  # fmt: skip
        return found or default
    if name == "text_pair_column":
        logger.warning(
            "%s: no column %r; the model was trained on pairs of texts (--text_pair_column)",
            origin, value,
        )  # fmt: skip
        return default
    return default if default in columns else value


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else repr(value)

"""The weights of a classifier that its checkpoint lacks: they were drawn at random."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel

from zlpr_hf.models.head import classification_head, reset_head

ATTRIBUTE, MISSING = "_zlpr_new_weights", "_zlpr_missing_weights"


@contextmanager
def without_load_report() -> Iterator[None]:
    """Drop the table of missing weights that transformers logs for models loaded in this thread."""
    logger = logging.getLogger("transformers.modeling_utils")
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        return record.thread != thread or "LOAD REPORT" not in record.getMessage()

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def remember_new_weights(model: PreTrainedModel, loading: Mapping[str, Any]) -> None:
    """Keep the names of new weights, from the loading information of ``from_pretrained``."""
    mismatched = (name for name, *_ in loading["mismatched_keys"])
    setattr(model, MISSING, frozenset(loading["missing_keys"]))
    setattr(model, ATTRIBUTE, frozenset((*loading["missing_keys"], *mismatched)))


def new_weights(model: PreTrainedModel) -> set[str]:
    """Return the names of the parameters that are new, and of those of the head, new or not."""
    names = {name for name, _ in model.named_parameters()}
    return (names & _remembered(model)) | _head_weights(model)


def has_new_head(model: PreTrainedModel) -> bool:
    """Whether the head is new; otherwise its weights are those of the checkpoint."""
    return not _head_weights(model).isdisjoint(_remembered(model))


def checkpoint_has_head(model: PreTrainedModel) -> bool:
    """Whether the checkpoint has a head, if not one for as many labels; ask before changing it."""
    missing: frozenset[str] = getattr(model, MISSING, frozenset())
    return _head_weights(model).isdisjoint(missing)


def renew_head(model: PreTrainedModel, *, keep: bool) -> None:
    """Draw the head anew, unless it is to be kept and the checkpoint has all or none of it."""
    head = _head_weights(model)
    if keep and len(head & _remembered(model)) in (0, len(head)):
        return
    reset_head(model)
    setattr(model, ATTRIBUTE, _remembered(model) | head)


def _remembered(model: PreTrainedModel) -> frozenset[str]:
    return getattr(model, ATTRIBUTE, frozenset())


def _head_weights(model: PreTrainedModel) -> set[str]:
    head = {id(parameter) for parameter in classification_head(model).parameters()}
    return {name for name, value in model.named_parameters() if id(value) in head}

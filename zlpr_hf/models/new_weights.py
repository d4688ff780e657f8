"""The weights of a classifier that its checkpoint lacks: they were drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from zlpr_hf.models.head import classification_head

ATTRIBUTE = "_zlpr_new_weights"


def remember_new_weights(model: PreTrainedModel, loading: Mapping[str, Any]) -> None:
    """Keep the names of new weights, from the loading information of ``from_pretrained``."""
    mismatched = (name for name, *_ in loading["mismatched_keys"])
    setattr(model, ATTRIBUTE, frozenset((*loading["missing_keys"], *mismatched)))


def new_weights(model: PreTrainedModel) -> set[str]:
    """Return the names of the parameters that are new, and of those of the head, new or not."""
    new: frozenset[str] = getattr(model, ATTRIBUTE, frozenset())
    head = {id(parameter) for parameter in classification_head(model).parameters()}
    return {name for name, value in model.named_parameters() if name in new or id(value) in head}

"""LabelChanges: the rows of a trained head that a model for other labels keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from zlpr_hf.errors import InputError, suggest
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.models.head import classification_head, draw_rows
from zlpr_hf.models.new_weights import has_new_head

ATTRIBUTE = "_zlpr_label_changes"
PLACEHOLDER = re.compile(r"LABEL_\d+")
"""Names that transformers gives to labels without names; they identify no label."""
AS_MEAN, AT_RANDOM, FROM_NAMES = "as the mean of the kept", "at random", "from their names"
"""How new rows start."""
MAX_NAMES = 5
"""Names of a kind that the summary lists."""


@dataclass(frozen=True)
class LabelChanges:
    """Where the rows of a head come from.

    Args:
        old: Labels of the checkpoint.
        new: Labels of the model, in the order of its outputs.
        sources: For each new label the row of the old head that it keeps; None for a new row.
        renamed: Old name to new name, of rows that are kept.
        reason: Why nothing is kept although names agree.
        start: How new rows start, for the summary.
    """

    old: tuple[str, ...]
    new: tuple[str, ...]
    sources: tuple[int | None, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    start: str = AS_MEAN

    @classmethod
    def find(
        cls,
        config: PretrainedConfig,
        outputs: LabelSpace,
        *,
        label_sets: LabelSets | None = None,
        renamed: Mapping[str, str] | Sequence[str] | None = None,
    ) -> LabelChanges:
        """Compare the labels in the configuration of a checkpoint with those of a model.

        The outputs of a powerset model are label sets: they are kept if all of them stay.

        Raises:
            InputError: If ``renamed`` does not fit both.
        """
        names = {int(key): name for key, name in (config.id2label or {}).items()}
        old = tuple(names[key] for key in sorted(names))
        old_sets = LabelSets.from_config(config)
        renamed = _read_renames(renamed or {}, old)
        fresh = cls(old, outputs.names, (None,) * outputs.num_labels)
        if old_sets is not None or label_sets is not None:
            if renamed:
                raise InputError(
                    "rename_labels: not supported where an output is a label set (loss powerset)"
                )
            if old_sets == label_sets and old == outputs.names:
                return replace(fresh, sources=tuple(range(len(old))))
            return replace(fresh, reason="the outputs of a powerset model are label sets")
        _check_renamed(renamed, old, outputs)
        if old == outputs.names and not renamed:  # placeholders too
            return replace(fresh, sources=tuple(range(len(old))))
        rows = {
            renamed.get(name, name): row
            for row, name in enumerate(old)
            if not PLACEHOLDER.fullmatch(renamed.get(name, name))
        }
        return replace(fresh, sources=tuple(map(rows.get, outputs.names)), renamed=renamed)

    @property
    def kept(self) -> list[int]:
        """Positions of the new labels whose rows are kept."""
        return [row for row, source in enumerate(self.sources) if source is not None]

    @property
    def started(self) -> list[int]:
        """Positions of the new labels whose rows are new."""
        return [row for row, source in enumerate(self.sources) if source is None]

    @property
    def dropped(self) -> list[str]:
        """The old labels whose rows are gone."""
        return [name for row, name in enumerate(self.old) if row not in self.sources]

    def render(self) -> str:
        """Return one line, such as ``labels: 26 kept, 2 new (a, b), 1 dropped (c)``."""
        renames = [f"{old} to {new}" for old, new in self.renamed.items()]
        started, dropped = [self.new[row] for row in self.started], self.dropped
        kept = len(self.kept) - len(renames)
        parts = [f"{kept} kept"] * bool(kept)
        for word, names in (("renamed", renames), ("new", started), ("dropped", dropped)):
            parts += [f"{len(names)} {word} ({_shorten(names)})"] * bool(names)
        start = self.start if self.kept or self.start != AS_MEAN else AT_RANDOM
        notes = [self.reason] * bool(self.reason)
        notes += [f"new ones start {start}"] * bool(started)
        return "; ".join(["labels: " + ", ".join(parts), *notes]) + self._suggest_rename()

    def _suggest_rename(self) -> str:
        """Name the option that keeps the row of a label that is now spelled differently."""
        plain = {_plain(name): name for name in self.dropped}
        for row in self.started if not self.reason else ():
            if old := plain.get(_plain(self.new[row])):
                return (
                    f'. Is "{old}" now "{self.new[row]}"? --rename_labels "{old}={self.new[row]}"'
                )
        return ""

    @torch.no_grad()
    def apply(self, model: PreTrainedModel) -> None:
        """Give a model with the old head the new one; kept rows stay bit for bit.

        New rows start as the mean of the kept ones with small noise, as new tokens do when
        transformers resizes embeddings: on their scale, and absent where an average label is.
        Layers before the head stay.

        References:
            Hewitt: Initializing New Word Embeddings for Pretrained Language Models, 2021.
        """
        config: Any = model.config
        old_count, head = config.num_labels, classification_head(model)
        config.id2label = dict(enumerate(self.new))
        config.label2id = {name: row for row, name in enumerate(self.new)}
        if self.sources == tuple(range(old_count)):
            return
        for module in model.modules():  # the losses of stock classes read it
            if getattr(module, "num_labels", None) == old_count:
                setattr(module, "num_labels", len(self.new))  # noqa: B010
        weight, bias = draw_rows(head, len(self.new), config)
        kept = self.kept
        sources = [source for source in self.sources if source is not None]
        if kept:
            weight += head.weight[sources].mean(0)
            weight[kept] = head.weight[sources]
        head.weight = nn.Parameter(weight)
        if bias is not None:
            if kept:
                bias += head.bias[sources].mean()
                bias[kept] = head.bias[sources]
            head.bias = nn.Parameter(bias)
        head.out_features = len(self.new)


def label_changes(model: Any) -> LabelChanges | None:
    """Return how a loaded model differs from its checkpoint; None if that had no trained head."""
    found: LabelChanges | None = getattr(model, ATTRIBUTE, None)
    return found


def new_rows(model: Any) -> list[int]:
    """Return the rows of the head that no checkpoint trained."""
    changes = label_changes(model)
    if changes is None or has_new_head(model):
        return list(range(model.config.num_labels))
    return changes.started


def start_from_names(model: Any) -> None:
    """Record that new rows start from the names of their labels."""
    if changes := label_changes(model):
        set_label_changes(model, replace(changes, start=FROM_NAMES))


def set_label_changes(model: Any, changes: LabelChanges) -> None:
    """Record how a model differs from its checkpoint."""
    setattr(model, ATTRIBUTE, changes)


def _read_renames(given: Mapping[str, str] | Sequence[str], old: Sequence[str]) -> dict[str, str]:
    """Return old to new names, also from words: ``old=new`` or a JSON mapping.

    A name may hold the sign: the first cut that leaves a label of the model counts.
    """
    if isinstance(given, Mapping):
        return dict(given)
    renamed: dict[str, str] = {}
    for word in given:
        if word.startswith("{"):
            renamed |= _read_mapping(word)
            continue
        cuts = [place for place, sign in enumerate(word) if sign == "="]
        cut = next((each for each in cuts if word[:each] in old), *cuts[:1]) if cuts else 0
        if not word[:cut] or not word[cut + 1 :]:
            raise InputError(f"rename_labels: expected OLD=NEW, got {word!r:.80}")
        renamed[word[:cut]] = word[cut + 1 :]
    return renamed


def _read_mapping(word: str) -> dict[str, str]:
    try:
        found = json.loads(word)
    except ValueError as error:
        raise InputError(f"rename_labels: {word!r:.80} is no JSON mapping: {error}") from error
    if wrong := [name for name in found.values() if not isinstance(name, str)]:
        raise InputError(f"rename_labels: expected a label name, got {wrong[0]!r:.80}")
    return dict(found)


def _check_renamed(renamed: Mapping[str, str], old: Sequence[str], outputs: LabelSpace) -> None:
    after = [renamed.get(name, name) for name in old]
    for name, other in renamed.items():
        if name not in old:
            raise InputError(
                f"rename_labels: the model has no label {name!r:.80}{suggest(name, old)}"
            )
        if other not in outputs.label2id:
            raise InputError(
                f"rename_labels: {other!r:.80}, the new name of {name!r:.80}, is not a label of "
                f"the data{suggest(other, outputs.names)}"
            )
        if after.count(other) > 1:
            raise InputError(
                f"rename_labels: more than one label of the model would be called {other!r:.80}; "
                "a row of the head has one label"
            )


def _plain(name: str) -> str:
    """Return letters and digits of a name in one case."""
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")

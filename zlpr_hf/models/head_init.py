"""Initialise the classification head from the names of the labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.errors import InputError, suggest
from zlpr_hf.files.yaml_mapping import read_yaml_mapping
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.models.features import compute_features
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.head_bias import add_head_bias

INITIAL_SPREAD = 1.0
"""Standard deviation of the logits of each label over the training texts."""

MIN_SPREAD = 1e-6
"""Texts that differ less, such as a single one, say nothing about the scale of a label."""

INITIAL_MEAN = -1.0
"""Mean of the logits of each label: most labels are absent from most texts."""

PHRASE_ENDS = re.compile(r"[,;:]\s+")
"""Between the phrases of a description, such as ``gratitude: thank you, thanks so much``."""


@torch.no_grad()
def init_head_from_label_names(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    label_space: LabelSpace,
    texts: Sequence[str],
    *,
    descriptions: Mapping[str, str] | None = None,
    label_sets: LabelSets | None = None,
    rows: Sequence[int] | None = None,
    phrases: bool = False,
    max_length: int = 64,
    batch_size: int = 32,
) -> None:
    r"""Set the head so that a text scores high for labels whose names it resembles.

    With ``u`` the centred and normalised feature of a label's name and ``mu`` the mean feature of
    the texts:

    .. math::
        W = u / \operatorname{std}((x - \mu) u^T), \qquad b = -W \mu - 1

    Where only some ``rows`` are set, their logits get the mean and the spread that those of the
    other labels have on the texts, in place of -1 and 1.

    It helps if the encoder's features are comparable across texts, as those of sentence-embedding
    checkpoints with mean pooling are.

    Args:
        model: Its head is changed in place.
        tokenizer: The model's tokenizer.
        label_space: The labels; underscores in names are read as spaces.
        texts: A few hundred training texts.
        descriptions: Label name to a description that replaces a name which says little.
        label_sets: For a powerset model: each set starts as the sum of its labels.
        rows: Positions of the labels whose rows are set (default: all).
        phrases: Whether a description is a list of phrases between commas, semicolons or colons.
            Half of its feature is then the mean of theirs.
        max_length: Longest sequence in tokens.
        batch_size: Texts per batch.
    """
    add_head_bias(model, "head_init label_names")
    head = classification_head(model)
    described = descriptions or {}
    names = [described.get(name, name).replace("_", " ") for name in label_space.names]

    def features(texts: Sequence[str]) -> Tensor:
        found = compute_features(
            model,
            tokenizer,
            [(text,) for text in texts],
            max_length=max_length,
            batch_size=batch_size,
        )
        return torch.from_numpy(found).to(head.weight.device)

    directions = features(names)
    if phrases:
        directions = _add_phrases(directions, features, names)
    directions = torch.nn.functional.normalize(directions - directions.mean(0), dim=1)
    samples = features(texts)
    centre = samples.mean(0)
    spread = ((samples - centre) @ directions.T).std(0, correction=min(1, len(samples) - 1))
    spread = torch.where(spread > MIN_SPREAD, spread, 1.0)
    chosen = list(range(label_space.num_labels) if rows is None else rows)
    mean, size = _measure_others(head, samples, chosen)
    weight = size * directions / spread[:, None]
    bias = mean - weight @ centre
    if label_sets is not None:
        members = torch.from_numpy(label_sets.members()).to(weight)
        weight, bias = members @ weight, members @ bias
        chosen = list(range(len(members)))
    head.weight[chosen] = weight[chosen]
    head.bias[chosen] = bias[chosen]


def _add_phrases(
    whole: Tensor, features: Callable[[Sequence[str]], Tensor], descriptions: Sequence[str]
) -> Tensor:
    """Return features of descriptions, half of each the mean of its phrases, of the same size."""
    phrases = [list(filter(str.strip, PHRASE_ENDS.split(each))) or [each] for each in descriptions]
    every = nn.functional.normalize(features([part for each in phrases for part in each]), dim=1)
    groups = every.tensor_split([*accumulate(map(len, phrases[:-1]))])
    means = nn.functional.normalize(torch.stack([group.mean(0) for group in groups]), dim=1)
    size = whole.norm(dim=1, keepdim=True)
    found: Tensor = (whole + size * means) / 2
    return found


def _measure_others(head: nn.Linear, samples: Tensor, chosen: Sequence[int]) -> tuple[float, float]:
    """Return the median over the other labels of mean and spread of their logits."""
    others = sorted({*range(head.out_features)} - {*chosen})
    if not others or len(samples) < 2:
        return INITIAL_MEAN, INITIAL_SPREAD
    logits = samples @ head.weight[others].T + head.bias[others]
    mean, size = (float(each.median()) for each in (logits.mean(0), logits.std(0)))
    return (mean, size) if size > MIN_SPREAD else (INITIAL_MEAN, INITIAL_SPREAD)


def read_label_descriptions(path: str | None, label_space: LabelSpace) -> dict[str, str]:
    """Read a YAML or JSON mapping of label to description; without a path there are none.

    Raises:
        InputError: If the file is not such a mapping or names an unknown label.
    """
    if path is None:
        return {}
    content = read_yaml_mapping(Path(path), "expected 'label: description' lines")
    for name, words in content.items():
        if name not in label_space.label2id:
            known = suggest(name, label_space.names)
            raise InputError(f"{path}: unknown label {name!r:.80}{known}")
        if not isinstance(words, str):
            raise InputError(f"{path}: {name!r:.80}: expected a description, got {words!r:.80}")
    return content

"""Starting the classification head from the names of the labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.errors import InputError
from zlpr_hf.files.yaml_mapping import YamlFile
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.models.loading import classification_head

SPREAD = 1.0
"""Standard deviation of each label's logit over the training texts at the start."""

START = -1.0
"""Mean logit of each label at the start: most labels are absent from most texts."""


@torch.no_grad()
def init_head_from_label_names(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    label_space: LabelSpace,
    texts: Sequence[str],
    *,
    descriptions: Mapping[str, str] | None = None,
    label_sets: LabelSets | None = None,
    max_length: int = 64,
    batch_size: int = 32,
) -> None:
    r"""Set the head so that a text scores high for the labels whose names it resembles.

    With ``u`` the centred, normalised feature of a label's name and ``mu`` the mean feature of some
    training texts:

    .. math::
        W = u / \operatorname{std}((x - \mu) u^T), \qquad b = -W \mu - 1

    Useful where the encoder's features are comparable across texts, which is what mean pooling of
    a sentence-embedding checkpoint gives.

    Args:
        model: Its head is changed in place.
        tokenizer: The model's tokenizer.
        label_space: The labels; underscores in a name are read as spaces.
        texts: A few hundred training texts.
        descriptions: A few words in place of a name that says little.
        label_sets: Where the outputs are label sets: each starts as the sum of its labels.
        max_length: Longest sequence in tokens.
        batch_size: Texts at a time.
    """
    head = classification_head(model)
    described = descriptions or {}
    names = [described.get(name, name).replace("_", " ") for name in label_space.names]

    def features(batch: Sequence[str]) -> Tensor:
        parts = _features(model, tokenizer, batch, max_length=max_length, batch_size=batch_size)
        return torch.cat(list(parts))

    directions = features(names)
    directions = torch.nn.functional.normalize(directions - directions.mean(0), dim=1)
    samples = features(texts)
    centre = samples.mean(0)
    spread = ((samples - centre) @ directions.T).std(0).clamp(min=1e-6)
    weight = SPREAD * directions / spread[:, None]
    bias = START - weight @ centre
    if label_sets is not None:
        members = torch.from_numpy(label_sets.members()).to(weight)
        weight, bias = members @ weight, members @ bias
    head.weight.copy_(weight)
    head.bias.copy_(bias)


def read_label_descriptions(path: str | None, label_space: LabelSpace) -> dict[str, str]:
    """Read a few words on labels whose names say little.

    Args:
        path: YAML or JSON mapping of label to words; None for none.
        label_space: The labels there are.

    Returns:
        Label to words.

    Raises:
        InputError: If the file is no such mapping or names a label that does not exist.
    """
    if path is None:
        return {}
    # As they were written: a label may be called 1 or no.
    content = YamlFile.read(Path(path), "expected 'label: description' lines").written
    for name, words in content.items():
        if name not in label_space.label2id:
            raise InputError(f"{path}: {name!r:.80} is not a label")
        if not isinstance(words, str):
            raise InputError(f"{path}: {name!r:.80}: expected a few words, got {words!r:.80}")
    return content


def _features(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    max_length: int,
    batch_size: int,
) -> Iterator[Tensor]:
    """What goes into the head, for each text, with dropout off."""
    seen: list[Tensor] = []
    head = classification_head(model)
    hook = head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].float()))
    was_training = model.training
    model.train(False)
    try:
        for start in range(0, len(texts), batch_size):
            batch = tokenizer(
                list(texts[start : start + batch_size]),
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            )
            model(**batch.to(model.device))
            yield seen.pop()
    finally:
        hook.remove()
        model.train(was_training)

"""A model from label names and descriptions, without labelled texts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import is_free
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.labels import LabelSpace
from zlpr_hf.models.head_init import init_head_from_label_names
from zlpr_hf.models.loading import load_model
from zlpr_hf.models.tokenizer import load_tokenizer
from zlpr_hf.thresholds import Thresholds
from zlpr_hf.zlpr_config import ZLPRConfig

MAX_TEXTS = 5_000
"""Texts that scale the head and place the threshold; of more, a random sample is read."""
MIN_TEXTS = 20


@dataclass(frozen=True)
class Start:
    """A model without training: its threshold before it was folded, and counts of its decisions.

    ``labels_per_text`` is the mean number of predicted labels of ``texts`` unlabelled texts, and
    ``predicted`` the number of these texts per label.
    """

    folder: Path
    texts: int
    offset: float
    labels_per_text: float
    predicted: dict[str, int]


def start_model(
    descriptions: Mapping[str, str],
    texts: Sequence[tuple[str, ...]],
    folder: Path,
    *,
    model_name_or_path: str,
    labels_per_text: float = 1.0,
    max_length: int = 128,
    seed: int = 0,
    revision: str | None = None,
    trust_remote_code: bool = False,
    reading: Mapping[str, str] | None = None,
) -> Start:
    """Save a classifier whose head comes from label names and descriptions.

    The head scores how much a text resembles the description of each label, in standard deviations
    over the texts. One offset for all labels makes the mean number of predicted labels as given;
    it is folded into the bias. The scores are no probabilities: no label was ever seen.

    Args:
        descriptions: Label to a description, or to its name. The name and the phrases between the
            commas of a description count one by one, and together as the whole.
        texts: Unlabelled texts like those that the model will label.
        folder: A new or empty folder.
        model_name_or_path: A sentence-embedding encoder.
        labels_per_text: Mean number of labels that a text is expected to have.
        max_length: Longest sequence in tokens.
        seed: Random seed of the sample of texts.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code that comes with the model.
        reading: Options that read the texts, such as ``text_column``; later commands use them.

    Raises:
        InputError: If there are too few texts, or the folder is taken.
    """
    num_labels = len(descriptions)
    if not 0 < labels_per_text < num_labels:
        raise InputError(
            f"labels_per_text: expected more than 0 and less than {num_labels}, the number of "
            f"labels, got {labels_per_text:g}"
        )
    if not is_free(folder):
        raise InputError(f"{folder} exists and is not an empty folder (--output_dir)")
    known = [row for row in dict.fromkeys(texts) if any(text.strip() for text in row)]
    if len(known) < MIN_TEXTS:
        raise InputError(f"expected at least {MIN_TEXTS} different texts, got {len(known)}")
    if len(known) > MAX_TEXTS:
        known = random.Random(seed).sample(known, MAX_TEXTS)
    space = LabelSpace(tuple(descriptions))
    tokenizer = load_tokenizer(
        model_name_or_path, revision=revision, trust_remote_code=trust_remote_code
    )
    tokenizer.model_max_length = min(max_length, tokenizer.model_max_length)
    model = load_model(
        model_name_or_path, space, revision=revision, trust_remote_code=trust_remote_code
    )
    init_head_from_label_names(
        model,
        tokenizer,
        space,
        [" ".join(row) for row in known],
        descriptions={
            name: words if words == name else f"{name}: {words}"
            for name, words in descriptions.items()
        },
        phrases=True,
        max_length=tokenizer.model_max_length,
    )
    ZLPRConfig.update(model.config, long_texts="cut", data=dict(reading or {}))
    classifier = Classifier.from_model(model, tokenizer)
    logits = classifier.compute_logits(known, progress=True)
    offset = float(np.quantile(logits, 1 - labels_per_text / num_labels))
    decided = logits > offset
    classifier.save(folder, Thresholds((offset,) * num_labels))
    counts = dict(zip(space.names, decided.sum(0).tolist(), strict=True))
    return Start(folder, len(known), offset, float(decided.sum(1).mean()), counts)

"""A copy of the data of a run in which doubtful training cells are unknown."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.split_rows import ROW_WEIGHT
from zlpr_hf.files.atomic import new_folder, write_whole
from zlpr_hf.labels import known_mask
from zlpr_hf.workflows.arguments import RunConfig, render_config
from zlpr_hf.workflows.data_arguments import DataArguments

TEXT, TEXT_PAIR, LABELS = "text", "text_pair", "labels"
TEACHER_LOGITS = "teacher_logits"
OTHER_COLUMNS = (TEACHER_LOGITS, ROW_WEIGHT)
MASKED_CONFIG_FILE = "train.yaml"
OTHER_SOURCE = (
    "dataset_name", "dataset_config_name", "data_dir", "labels_file", "column_names", "quoting",
    "label_columns", "label_form", "label_delimiter", "label_names_file", "group_column",
    "max_train_samples",
)  # fmt: skip
"""Options of the original data, which the copy does not need."""


def write_masked_copy(
    data: LabelledData, masked: NDArray[np.bool_], config: RunConfig, folder: Path, output_dir: str
) -> Path:
    """Write all splits as JSON Lines, one number per label, and a configuration to train on them.

    An unknown cell is null. Only training rows are masked; every other value stays as it is.

    Args:
        data: The data of the run, in its splits.
        masked: Training cells ``(N, L)`` that become unknown.
        config: The configuration of the run; its other options stay.
        folder: New folder, which replaces an earlier copy.
        output_dir: Output folder of the configuration.

    Returns:
        The path of the configuration.
    """
    with new_folder(folder) as part:
        for split in data.splits:
            hidden = masked if split == "train" else np.zeros_like(data.targets(split), dtype=bool)
            lines = "".join(f"{line}\n" for line in _lines(data, split, hidden))
            write_whole(part / f"{split}.jsonl", lines)
        write_whole(
            part / MASKED_CONFIG_FILE,
            render_config(_masked_config(data, config, folder, output_dir)),
        )
    return folder / MASKED_CONFIG_FILE


def _lines(data: LabelledData, split: str, masked: NDArray[np.bool_]) -> Iterator[str]:
    names, rows = data.label_space.names, data.splits[split]
    others = [name for name in OTHER_COLUMNS if name in rows.column_names]
    columns = {name: rows[name] for name in others}
    targets = data.targets(split)
    known = known_mask(targets) & ~masked
    for index, texts in enumerate(data.texts(split)):
        content: dict[str, Any] = dict(zip((TEXT, TEXT_PAIR), texts, strict=False))
        content[LABELS] = {
            name: _number(value) if is_known else None
            for name, value, is_known in zip(names, targets[index], known[index], strict=True)
        }
        content |= {name: values[index] for name, values in columns.items()}
        yield json.dumps(content)


def _number(value: np.float32) -> int | float:
    """Return the shortest number that is read as the same value."""
    return int(value) if value in (0, 1) else float(str(value))


def _masked_config(
    data: LabelledData, config: RunConfig, folder: Path, output_dir: str
) -> RunConfig:
    files: dict[str, Any] = {
        f"{split}_file": str(folder.resolve() / f"{split}.jsonl") for split in data.splits
    }
    files = {"validation_file": None, "test_file": None} | files
    is_pair = TEXT_PAIR in data.splits["train"].column_names
    has_logits = TEACHER_LOGITS in data.splits["train"].column_names
    has_weights = ROW_WEIGHT in data.splits["train"].column_names
    arguments = replace(
        config.data,
        **files,
        **{name: getattr(DataArguments(), name) for name in OTHER_SOURCE},
        text_column=TEXT,
        text_pair_column=TEXT_PAIR if is_pair else None,
        label_column=LABELS,
        missing_labels="unjudged",
        missing_words="label",
        join_rows=False,
        use_verdicts=False,
        teacher_logits_column=TEACHER_LOGITS if has_logits else None,
        weight_column=ROW_WEIGHT if has_weights else None,
    )
    training = copy.copy(config.training)  # a new one would check the machine again
    training.output_dir = output_dir
    return replace(config, data=arguments, training=training)

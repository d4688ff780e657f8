"""A classifier in ONNX Runtime that needs neither torch nor transformers, for small servers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import LongTexts
from zlpr_hf.errors import InputError
from zlpr_hf.inference.onnx_session import open_session
from zlpr_hf.inference.windows import (
    Texts,
    batches_by_length,
    find_blank,
    merge_windows,
    split_into_windows,
    stored_rule,
)
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD, Thresholds, refuse_nan
from zlpr_hf.zlpr_config import ZLPRConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class OnnxClassifier:
    """The logits of :class:`zlpr_hf.Classifier` for a folder of ``zlpr export``, without torch.

    Args:
        session: Of ONNX Runtime.
        tokenizer: Of the same folder.
        label_space: The labels.
        thresholds: Limits on the number of labels.
        label_sets: For a powerset model: the label set of each output.
        long_texts: How long texts are read by default.
    """

    session: Any
    tokenizer: FastTokenizer
    label_space: LabelSpace
    thresholds: Thresholds
    label_sets: LabelSets | None
    long_texts: LongTexts

    @classmethod
    def load(cls, name: str | Path, *, threads: int) -> OnnxClassifier:
        """Load an exported model.

        Raises:
            InputError: If the folder holds no exported model, or ONNX Runtime is not installed.
        """
        folder = Path(name).expanduser()
        session = open_session(folder, threads=threads)
        config = SimpleNamespace(**_read_json(folder / "config.json"))
        label_sets = LabelSets.from_config(config)
        if label_sets is None:
            label_space, thresholds = LabelSpace.from_config(config), Thresholds.from_config(config)
        else:
            label_space, thresholds = (
                LabelSpace(tuple(ZLPRConfig.read(config).labels)),
                Thresholds(),
            )
        if thresholds.offsets:
            raise InputError("an exported model has its offsets in the bias; export it again")
        return cls(
            session,
            FastTokenizer.load(folder, pad_id=getattr(config, "pad_token_id", None) or 0),
            label_space,
            thresholds,
            label_sets,
            stored_rule(config) or "cut",
        )

    def compute_logits(
        self, texts: Texts, *, batch_size: int = 32, long_texts: LongTexts | None = None
    ) -> NDArray[np.float32]:
        """Return the logits of texts, ``(N, L)``, as :meth:`zlpr_hf.Classifier.compute_logits`.

        Raises:
            InputError: If a logit is NaN.
        """
        rule = long_texts or self.long_texts
        windows, rows = split_into_windows(self.tokenizer, texts, cut=rule == "cut")
        labels = self.label_space.num_labels
        found = np.full((len(windows), labels), -MAX_LOGIT_THRESHOLD, np.float32)
        names = [each.name for each in self.session.get_inputs()]
        for chosen in batches_by_length(windows, batch_size):
            batch = self.tokenizer.pad([windows[index] for index in chosen])
            (logits,) = self.session.run(None, {name: batch[name] for name in names})
            sets = self.label_sets
            found[chosen] = logits if sets is None else sets.score_labels(logits)
        merged = merge_windows(found, rows, len(texts), rule)
        merged[find_blank(texts)] = -MAX_LOGIT_THRESHOLD
        refuse_nan(merged, texts=texts)
        return merged


@dataclass(frozen=True)
class FastTokenizer:
    """A ``tokenizer.json``, called as :func:`split_into_windows` calls one of transformers."""

    inner: Tokenizer
    model_max_length: int
    pad_id: int
    pads_left: bool
    truncates_left: bool

    is_fast = True
    model_input_names = ("input_ids", "token_type_ids", "attention_mask")

    @classmethod
    def load(cls, folder: Path, *, pad_id: int) -> FastTokenizer:
        """Load the tokenizer of an export, which has the limit on tokens that the model reads.

        Raises:
            InputError: If the folder has no ``tokenizer.json``.
        """
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise InputError(
                f"{folder}: no tokenizer.json, which ONNX Runtime without torch requires; use "
                "the model of torch"
            )
        settings = _read_json(folder / "tokenizer_config.json")
        inner = Tokenizer.from_file(str(path))
        inner.no_padding()
        inner.encode_special_tokens = True  # special tokens that are typed in a text are text
        return cls(
            inner,
            settings["model_max_length"],
            pad_id,
            settings.get("padding_side") == "left",
            settings.get("truncation_side") == "left",
        )

    def __call__(
        self,
        *columns: Any,
        truncation: str | bool = False,
        max_length: int | None = None,
        stride: int = 0,
        return_overflowing_tokens: bool = False,
        add_special_tokens: bool = True,
        verbose: bool = False,
    ) -> dict[str, Any]:
        """Return the encodings of a text, or of columns of texts, and the row of each."""
        if truncation:
            self.inner.enable_truncation(
                max_length or self.model_max_length,
                stride=stride,
                strategy="longest_first" if truncation is True else truncation,
                direction="left" if self.truncates_left else "right",
            )
        else:
            self.inner.no_truncation()
        if isinstance(columns[0], str):
            (text,) = columns
            one = self.inner.encode(text, add_special_tokens=add_special_tokens)
            return {"input_ids": one.ids}
        texts = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        encoded = self.inner.encode_batch(texts, add_special_tokens=add_special_tokens)
        parts = [
            (row, part)
            for row, whole in enumerate(encoded)
            for part in [whole, *(whole.overflowing if return_overflowing_tokens else ())]
        ]
        return {
            "input_ids": [part.ids for _, part in parts],
            "token_type_ids": [part.type_ids for _, part in parts],
            "attention_mask": [part.attention_mask for _, part in parts],
            "overflow_to_sample_mapping": [row for row, _ in parts],
        }

    def num_special_tokens_to_add(self, *, pair: bool) -> int:
        """Return the number of tokens around a text or a pair of texts."""
        found: int = self.inner.num_special_tokens_to_add(pair)
        return found

    def pad(self, windows: list[dict[str, list[int]]]) -> dict[str, NDArray[np.int64]]:
        """Return the windows of a batch as arrays of one length."""
        length = max(len(window["input_ids"]) for window in windows)
        batch = {}
        for name in self.model_input_names:
            fill = self.pad_id if name == "input_ids" else 0
            batch[name] = np.full((len(windows), length), fill, np.int64)
            for row, window in zip(batch[name], windows, strict=True):
                size = len(window[name])
                row[slice(length - size, None) if self.pads_left else slice(size)] = window[name]
        return batch


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: missing or not JSON; export the model again") from error
    return found

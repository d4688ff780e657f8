"""Classifier: a trained model with its tokenizer and its decision rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.choices import Backend, LongTexts, Precision
from zlpr_hf.data.given_texts import as_rows
from zlpr_hf.errors import InputError
from zlpr_hf.inference.decision import DECIDING, decision_rule, scored_labels
from zlpr_hf.inference.model_folder import (
    compute_fingerprint,
    load_parts,
    prepare_parts,
    write_folder,
)
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.inference.window_logits import check_reading, compute_text_logits
from zlpr_hf.inference.windows import (
    CutWarning,
    Texts,
    check_choice,
    count_long,
    find_blank,
    split_into_windows,
    stored_rule,
)
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.metrics.guarantee import Guarantee
from zlpr_hf.metrics.top_k import TopK
from zlpr_hf.models.probe import explain_failure, padding_matters
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD, Thresholds, logit_threshold, refuse_nan

MAX_BATCH_CELLS = 4_000_000
"""Logits held at a time when only the best labels are kept."""


@dataclass(frozen=True)
class Classifier:
    """A trained multi-label classifier; the same decisions in Python, a pipeline, a file or a page.

    ``Classifier("out/quickstart")`` is :meth:`load`, and ``Classifier(model, tokenizer)`` is
    :meth:`from_model`. To train one see :class:`zlpr_hf.ZLPRClassifier`.

    Args:
        model: A sequence classifier of torch or ONNX Runtime, in evaluation mode, or its folder or
            Hub id.
        tokenizer: Its tokenizer; ``model_max_length`` is the length of a window.
        label_space: The labels.
        thresholds: Limits on the number of labels; offsets are folded into the model's bias.
        label_sets: For a powerset model: the label set of each output.

    Example:
        >>> classifier = Classifier("out/quickstart")
        >>> classifier.predict(["It reads passwords from the memory of Windows."])
        [['Credential Access']]
        >>> classifier.compute_logits(["It reads passwords from the memory of Windows."])
        array([[ 2., -1., -3.]], dtype=float32)
    """

    model: PreTrainedModel | OnnxModel
    tokenizer: PreTrainedTokenizerBase = None  # type: ignore[assignment]
    label_space: LabelSpace = None  # type: ignore[assignment]
    thresholds: Thresholds = field(default_factory=Thresholds)
    label_sets: LabelSets | None = None

    def __post_init__(self) -> None:
        """Load the model by its name, or read the labels from the model, if only that is given."""
        if self.label_space is not None:
            return
        made: Classifier
        if isinstance(self.model, (str, Path)):
            made = self.load(self.model)
        elif self.tokenizer is not None:
            made = self.from_model(self.model, self.tokenizer)
        else:
            raise InputError(
                "Classifier: expected a folder or a Hub id, or a model and its tokenizer; got a "
                f"{type(self.model).__name__} alone"
            )
        vars(self).update(vars(made))

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        backend: Backend = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> Classifier:
        """Load a trained model, onto the accelerator if there is one.

        Args:
            name: Folder or Hub id of a classifier, or a folder of ``zlpr export``.
            backend: ``torch``, ``onnxruntime``, or ``auto``: ONNX Runtime for a folder that holds
                an exported model only.
            revision: Branch, tag or commit on the Hub.
            trust_remote_code: Whether to run code from the model's folder or repository.

        Raises:
            InputError: If there is no such model, or it is not a multi-label classifier.
        """
        check_choice("backend", backend, Backend)
        model, tokenizer = load_parts(
            str(name), backend=backend, revision=revision, trust_remote_code=trust_remote_code
        )
        return cls.from_model(model, tokenizer)

    from_pretrained = load

    @classmethod
    def from_model(
        cls, model: PreTrainedModel | OnnxModel, tokenizer: PreTrainedTokenizerBase
    ) -> Classifier:
        """Wrap a loaded model and its tokenizer.

        A model of torch is put into evaluation mode; offsets stored in its configuration are folded
        into its bias. The tokenizer takes the pad token of the model, or the model that of the
        tokenizer if it has none; the limit of the tokenizer is lowered to the number of positions
        of the model, and special tokens typed in a text become text.

        Raises:
            InputError: If the model is not a multi-label classifier, or not in float32.
        """
        return cls(model, tokenizer, *prepare_parts(model, tokenizer))

    @property
    def stored_long_texts(self) -> LongTexts | None:
        """How training chose to read long texts; None for a model that was trained elsewhere."""
        return stored_rule(self.model.config)

    @property
    def long_texts(self) -> LongTexts:
        """How long texts are read by default: as stored, or ``cut``, as a stock pipeline does."""
        return self.stored_long_texts or "cut"

    @torch.inference_mode()
    def compute_logits(
        self,
        texts: Texts | Sequence[str],
        *,
        batch_size: int = 32,
        long_texts: LongTexts | None = None,
        precision: Precision = "float32",
        boundary: float = 0.0,
        progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return the logits of texts; a label applies if its logit is above zero.

        A text that is empty or holds only white space has no label: all its logits are -10,000.

        Args:
            texts: One text per row, or tuples of two texts for pairs.
            batch_size: Windows per batch.
            long_texts: ``cut`` reads as many tokens as training did; the others read overlapping
                windows: ``max`` takes the largest logit of each label, so that it applies if it
                applies anywhere, ``mean`` their mean. None: as stored (:attr:`long_texts`).
            precision: ``bfloat16`` is two to three times as fast on hardware that supports it.
                Decisions stay those of ``float32``: texts with a logit within 0.25 of ``boundary``
                (divided by the temperature of the model), several times the error, are computed
                again. Other logits differ by some hundredths.
            boundary: The logit threshold that ``bfloat16`` keeps exact.
            progress: Whether to show a progress bar.

        Shape:
            Result: ``(N, L)``.

        Returns:
            Logits in float32, in the order of the texts. For a powerset model: differences of
            max-marginals, which have their threshold at zero too.

        Raises:
            InputError: If ``texts`` is a single text, an option is not supported, or a logit is
                NaN.
        """
        rule = self.long_texts if long_texts is None else long_texts
        check_reading(self.model, rule, precision=precision, batch_size=batch_size)
        texts = as_rows(texts)
        windows, rows = split_into_windows(self.tokenizer, texts, cut=rule == "cut")
        if long_texts is None and self.stored_long_texts is None:
            self._cut_warning.check(windows, texts)
        lengths = {len(window["input_ids"]) for window in windows}
        logits = compute_text_logits(
            self.model,
            self.tokenizer,
            windows,
            rows,
            len(texts),
            rule,
            precision=precision,
            boundary=boundary,
            mix_lengths=len(lengths) < 2 or self._may_pad,
            label_sets=self.label_sets,
            batch_size=batch_size,
            progress=progress,
        )
        logits[find_blank(texts)] = -MAX_LOGIT_THRESHOLD
        refuse_nan(logits, texts=texts)
        return logits

    def compute_top_k(
        self,
        texts: Texts | Sequence[str],
        k: int,
        *,
        batch_size: int = 32,
        long_texts: LongTexts | None = None,
        progress: bool = False,
    ) -> TopK:
        """Return logits and ids of the ``k`` best labels, holding few logits at a time.

        Args:
            texts: As for :meth:`compute_logits`.
            k: Number of labels per text, at most ``L``.
            batch_size: Windows per batch.
            long_texts: As for :meth:`compute_logits`.
            progress: Whether to show a progress bar.
        """
        labels = self.label_space.num_labels
        size = max(batch_size, MAX_BATCH_CELLS // labels)
        parts = []
        for start in tqdm(
            range(0, len(texts), size), desc="classify", disable=None if progress else True
        ):
            logits = self.compute_logits(
                texts[start : start + size], batch_size=batch_size, long_texts=long_texts
            )
            parts.append(torch.from_numpy(logits).topk(min(k, labels), dim=1))
        best = torch.cat([part.values for part in parts])
        return TopK(best.numpy(), torch.cat([part.indices for part in parts]).numpy(), labels)

    @cached_property
    def _cut_warning(self) -> CutWarning:
        return CutWarning(self.tokenizer)

    @cached_property
    def _may_pad(self) -> bool:
        """Whether texts of different lengths may share a batch; an export was checked for it."""
        if isinstance(self.model, OnnxModel):
            return True
        with explain_failure(self.model):
            return not padding_matters(self.model, self.tokenizer)

    def fingerprint(self) -> str:
        """Return a hexadecimal digest of the configuration and the weights."""
        return compute_fingerprint(self.model, self.tokenizer)

    def count_long(self, texts: Texts) -> int:
        """Return the number of texts with more tokens than the model reads at once."""
        return count_long(self.tokenizer, texts)

    def decide(
        self,
        logits: Any,
        *,
        threshold: float = 0.5,
        top_k: int | None = None,
        min_labels: int | None = None,
    ) -> NDArray[np.bool_]:
        """Return which labels are predicted.

        Args:
            logits: From :meth:`compute_logits`.
            threshold: Smallest score, ``sigmoid(logit)``, from 0 to 1. The default 0.5 is the
                rule ``logit > 0``; 0 predicts every label.
            top_k: At most this many labels per text; None for the model's own limit.
            min_labels: At least this many labels per text, the best ones; None for the model's own.
                A text without content has none even then.

        Shape:
            logits: ``(N, L)``. Result: ``(N, L)``.

        Raises:
            InputError: If a value is out of range or a logit is NaN.
        """
        rule = decision_rule(
            self.thresholds,
            self.label_space.num_labels,
            threshold=threshold,
            top_k=top_k,
            min_labels=min_labels,
        )
        return rule.apply(logits)

    def label_sets_of(
        self, logits: Any, predictions: NDArray[np.bool_]
    ) -> list[list[dict[str, Any]]]:
        """Return the predicted labels of each text with their scores, best first.

        Args:
            logits: From :meth:`compute_logits`.
            predictions: From :meth:`decide`.

        Returns:
            One list per text of ``{"label": name, "score": sigmoid(logit)}``. ``zlpr train``
            calibrates this score on validation, and stock pipelines show the same number.
        """
        return scored_labels(logits, predictions, self.label_space)

    def predict(self, texts: Texts | Sequence[str], **options: Any) -> list[list[str]]:
        """Return the names of the predicted labels of each text, in the order of the labels.

        Args:
            texts: As for :meth:`compute_logits`; a column of pandas or ``datasets`` too.
            **options: Those of :meth:`compute_logits`, and ``threshold``, ``top_k`` and
                ``min_labels`` of :meth:`decide`.
        """
        deciding = {name: options.pop(name) for name in DECIDING if name in options}
        if "threshold" in deciding:
            options.setdefault("boundary", logit_threshold(deciding["threshold"]))
        logits = self.compute_logits(texts, **options)
        return self.label_space.decode(self.decide(logits, **deciding))

    def save(
        self,
        folder: Path,
        thresholds: Thresholds,
        *,
        temperature: float | None = None,
        long_texts: LongTexts | None = None,
        guarantee: Guarantee | None = None,
    ) -> None:
        """Write the model with offsets and a temperature in its head, where every server has them.

        Args:
            folder: A new or empty folder; it appears complete or not at all.
            thresholds: The offsets; the model's own limits on the number of labels stay.
            temperature: Divides all logits after the offsets (default: None, not at all).
            long_texts: How long texts were read for these offsets (default: as stored).
            guarantee: Recorded in ``config.json``; give its thresholds. A limit on the number of
                labels that could break it is removed from the copy.
        """
        write_folder(
            folder,
            self.model,
            self.tokenizer,
            replace(
                self.thresholds if guarantee is None else guarantee.keep_limits(self.thresholds),
                offsets=thresholds.offsets,
            ),
            temperature=temperature,
            long_texts=long_texts or self.stored_long_texts,
            guarantee=guarantee,
        )

"""Classifier: a trained model with its tokenizer and its rule, ready to decide about texts."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.choices import Backend, LongTexts, Precision
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import new_folder
from zlpr_hf.inference.onnx_model import ONNX_FILE, OnnxModel
from zlpr_hf.inference.window_logits import compute_window_logits
from zlpr_hf.inference.windows import Texts, gather_windows, split_into_windows
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.metrics.top_k import TopK
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.loading import load_tokenizer
from zlpr_hf.models.paths import resolve_model_path
from zlpr_hf.models.trained import load_trained_model
from zlpr_hf.thresholds import Thresholds, compute_scores, logit_threshold
from zlpr_hf.zlpr_config import ZLPRConfig

RECOMPUTE_MARGIN = 0.25
"""Logits in bfloat16 this near to the boundary are computed again in float32."""
MAX_BATCH_CELLS = 4_000_000
"""Logits at a time where only the best labels are kept."""


@dataclass(frozen=True)
class Classifier:
    """What a checkpoint says about texts: the same from Python, a pipeline, a file or a page.

    Args:
        model: A sequence classifier, of torch or of ONNX Runtime; put into evaluation mode.
        tokenizer: Its tokenizer; ``model_max_length`` is the length of a window.
        label_space: The labels.
        thresholds: Limits on the number of labels; offsets are in the model's bias.
        label_sets: For a powerset model: what its outputs stand for.

    Example:
        >>> classifier = Classifier.load("out/quickstart")
        >>> logits = classifier.compute_logits(["The product does not check who is asking."])
        >>> [name for name, logit in zip(classifier.label_space.names, logits[0]) if logit > 0]
        ['Access Control']
    """

    model: PreTrainedModel | OnnxModel
    tokenizer: PreTrainedTokenizerBase
    label_space: LabelSpace
    thresholds: Thresholds
    label_sets: LabelSets | None

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        backend: Backend = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> Classifier:
        """Load a trained model.

        Args:
            name: Folder or Hub id of a classifier; an exported ONNX folder too.
            backend: ``torch``, ``onnxruntime``, or ``auto``: what the folder holds, torch first.
            revision: Branch, tag or commit on the Hub.
            trust_remote_code: As in :func:`zlpr_hf.load_model`.

        Returns:
            The classifier, on the accelerator if there is one.

        Raises:
            InputError: If there is no such model, or it is no multi-label classifier.
        """
        if backend not in get_args(Backend):
            raise InputError(f"backend: expected {' or '.join(get_args(Backend))}, got {backend!r}")
        name = str(name)
        path = resolve_model_path(name)
        if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
            raise InputError(f"{name}: this folder holds no model (config.json)")
        exported = (Path(path) / ONNX_FILE).is_file()
        whole = (Path(path) / "model.safetensors").is_file()
        tokenizer = load_tokenizer(name, revision=revision, trust_remote_code=trust_remote_code)
        if backend == "onnxruntime" or (backend == "auto" and exported and not whole):
            return cls.from_model(OnnxModel.load(path), tokenizer)
        model = load_trained_model(name, revision=revision, trust_remote_code=trust_remote_code)
        return cls.from_model(model, tokenizer)

    @classmethod
    def from_model(
        cls, model: PreTrainedModel | OnnxModel, tokenizer: PreTrainedTokenizerBase
    ) -> Classifier:
        """Wrap a model that is loaded already; offsets that its configuration stores are folded in.

        Args:
            model: As for the class.
            tokenizer: As for the class.

        Returns:
            The classifier.

        Raises:
            InputError: If the model is no multi-label classifier.
        """
        if isinstance(model, PreTrainedModel):
            nn.Module.eval(model)
        config: Any = model.config
        stored = ZLPRConfig.read(config)
        if stored.label_sets:
            label_sets = LabelSets.from_config(config)
            return cls(model, tokenizer, LabelSpace(tuple(stored.labels)), Thresholds(), label_sets)
        if config.problem_type != "multi_label_classification":
            raise InputError(
                f"{config.name_or_path or 'the model'}: expected a multi-label classifier, "
                f"got problem_type {config.problem_type}"
            )
        thresholds = Thresholds.from_config(config)
        if thresholds.offsets:
            if isinstance(model, OnnxModel):
                raise InputError("an exported model has its offsets in the bias; export it again")
            thresholds = thresholds.fold_into(classification_head(model), config)
        return cls(model, tokenizer, LabelSpace.from_config(config), thresholds, None)

    @torch.inference_mode()
    def compute_logits(
        self,
        texts: Texts | Sequence[str],
        *,
        batch_size: int = 32,
        long_texts: LongTexts = "max",
        precision: Precision = "float32",
        boundary: float = 0.0,
        progress: bool = False,
    ) -> NDArray[np.float32]:
        """Logits of texts: a label applies where its logit is above zero.

        Texts are read longest first, so that batches hold little padding.

        Args:
            texts: A text a row, or a tuple of one or, for pairs, two.
            batch_size: Windows at a time.
            long_texts: A text longer than the model was trained on is read in windows that overlap;
                a label's logit is the largest of them (``max``: it applies where it applies
                anywhere) or their ``mean``. ``cut`` reads the first window only.
            precision: ``bfloat16`` is two to three times as fast where the hardware has it. Since
                the rule is a fixed boundary, decisions stay those of ``float32``: texts with a
                logit within :data:`RECOMPUTE_MARGIN` of it, several times the error, are computed
                again. Other logits differ by a few hundredths.
            boundary: The logit that ``bfloat16`` takes care of.
            progress: Whether to show a bar.

        Shape:
            Result: ``(N, L)``.

        Returns:
            Logits in float32, in the order of the texts; of a powerset model differences of
            max-marginals, for which zero is the boundary too.

        Raises:
            InputError: If an option is none of those there are.
        """
        if long_texts not in get_args(LongTexts):
            raise InputError(
                f"long_texts: expected {', '.join(get_args(LongTexts))}, got {long_texts!r}"
            )
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size: expected 1 or more, got {batch_size!r}")
        if isinstance(texts, str):
            raise InputError(f"texts: expected a list of texts, got one: {texts!r:.60}")
        texts = [(text,) if isinstance(text, str) else text for text in texts]
        low = precision == "bfloat16"
        if precision not in get_args(Precision) or (low and isinstance(self.model, OnnxModel)):
            known = "float32 with ONNX Runtime" if low else " or ".join(get_args(Precision))
            raise InputError(f"precision: expected {known}, got {precision!r}")
        windows, rows = split_into_windows(self.tokenizer, texts, cut=long_texts == "cut")
        run = partial(
            compute_window_logits,
            self.model,
            self.tokenizer,
            label_sets=self.label_sets,
            batch_size=batch_size,
            progress=progress,
        )
        found = run(windows, bfloat16=low)
        logits = gather_windows(found, rows, len(texts), long_texts)
        if not low:
            return logits
        again = np.flatnonzero((np.abs(logits - boundary) < RECOMPUTE_MARGIN).any(1)[rows])
        found[again] = run([windows[index] for index in again])
        return gather_windows(found, rows, len(texts), long_texts)

    def compute_top_k(
        self,
        texts: Texts | Sequence[str],
        k: int,
        *,
        batch_size: int = 32,
        long_texts: LongTexts = "max",
        progress: bool = False,
    ) -> TopK:
        """The best labels of texts, without holding the logits of more than some of them.

        Args:
            texts: As for :meth:`compute_logits`, and so are the options.
            k: How many labels; at most ``L``.
            batch_size: Windows at a time.
            long_texts: What becomes of long texts.
            progress: Whether to show a bar.

        Returns:
            Logits and ids of the ``k`` best labels of each text.
        """
        labels = self.label_space.num_labels
        size = max(batch_size, MAX_BATCH_CELLS // labels)
        parts = []
        for start in tqdm(range(0, len(texts), size), desc="classify", disable=not progress):
            logits = self.compute_logits(
                texts[start : start + size], batch_size=batch_size, long_texts=long_texts
            )
            parts.append(torch.from_numpy(logits).topk(min(k, labels), dim=1))
        best = torch.cat([part.values for part in parts])
        return TopK(best.numpy(), torch.cat([part.indices for part in parts]).numpy(), labels)

    def fingerprint(self) -> str:
        """What tells this model's logits from those of another: its configuration and weights.

        Returns:
            A hexadecimal digest.
        """
        config: Any = self.model.config
        content = hashlib.sha256(config.to_json_string().encode())
        content.update(str(self.tokenizer.model_max_length).encode())
        if isinstance(self.model, OnnxModel):
            content.update(self.model.fingerprint().encode())
        else:
            for name, value in self.model.state_dict().items():
                content.update(name.encode())
                content.update(value.cpu().flatten().view(torch.uint8).numpy())
        return content.hexdigest()

    def count_long(self, texts: Texts) -> int:
        """Number of texts that are longer than a window.

        Args:
            texts: As for :meth:`compute_logits`.
        """
        _, rows = split_into_windows(self.tokenizer, texts, cut=False)
        return int((np.bincount(rows, minlength=len(texts)) > 1).sum())

    def decide(
        self,
        logits: Any,
        *,
        threshold: float = 0.5,
        top_k: int | None = None,
        min_labels: int | None = None,
    ) -> NDArray[np.bool_]:
        """Which labels are predicted.

        Args:
            logits: From :meth:`compute_logits`.
            threshold: Smallest score, ``sigmoid(2 logit)``; 0.5 is the rule ``logit > 0``, 0 takes
                every label.
            top_k: At most so many labels; None for what the model's own limit says.
            min_labels: At least so many, the best ones; None likewise.

        Shape:
            logits: ``(N, L)``. Result: ``(N, L)``.

        Returns:
            True where a label is predicted.

        Raises:
            InputError: If a value is out of range.
        """
        if top_k is not None and not (isinstance(top_k, int) and top_k >= 1):
            raise InputError(f"top_k: expected 1 or more, got {top_k!r}")
        labels = self.label_space.num_labels
        if min_labels is not None and not (isinstance(min_labels, int) and min_labels <= labels):
            raise InputError(f"min_labels: expected 0 to {labels}, got {min_labels!r}")
        offset = logit_threshold(threshold)
        most = self.thresholds.max_labels if top_k is None else top_k
        least = self.thresholds.min_labels if min_labels is None else min_labels
        offsets = (offset,) * self.label_space.num_labels if offset else ()
        try:
            rule = Thresholds(offsets, least, most)
        except ValueError as error:
            raise InputError(f"top_k, min_labels: {error}") from error
        return rule.apply(logits)

    def label_sets_of(
        self, logits: Any, predictions: NDArray[np.bool_]
    ) -> list[list[dict[str, Any]]]:
        """Predicted labels with their scores, best first.

        Args:
            logits: From :meth:`compute_logits`.
            predictions: From :meth:`decide`.

        Returns:
            One list a row of ``{"label": name, "score": sigmoid(2 logit)}``. For a model trained
            with ZLPR the score is the probability that the loss fits to soft targets, see
            :func:`zlpr_hf.zlpr_probabilities`; for others it ranks only.
        """
        scores = compute_scores(logits)
        found: list[list[dict[str, Any]]] = []
        for row, row_scores, chosen in zip(np.asarray(logits), scores, predictions, strict=True):
            ids = np.flatnonzero(chosen)
            ids = ids[np.argsort(-row[ids], kind="stable")]
            found.append(
                [
                    {"label": self.label_space.names[index], "score": float(row_scores[index])}
                    for index in ids
                ]
            )
        return found

    def save(self, folder: Path, thresholds: Thresholds, *, into_bias: bool) -> None:
        """Write the model with offsets, whole or not at all.

        Args:
            folder: A new folder, or an empty one.
            thresholds: The offsets; the model's limits on the number of labels stay.
            into_bias: Whether to subtract them from the head's bias, so that every server decides
                by them; else they are stored in ``config.json``, where this class finds them.
        """
        model: Any = copy.deepcopy(self.model)
        offsets = replace(self.thresholds, offsets=thresholds.offsets)
        if into_bias:
            offsets.fold_into(classification_head(model), model.config)
        else:
            ZLPRConfig.update(model.config, thresholds=offsets.to_config())
        with new_folder(folder) as part:
            model.save_pretrained(part)
            self.tokenizer.save_pretrained(part)

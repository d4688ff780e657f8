"""Run a model on a few short texts: does it take texts, tell them apart, and ignore padding?"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from zlpr_hf.errors import InputError, find_out_of_memory
from zlpr_hf.models.autocast import without_autocast
from zlpr_hf.models.head import classification_head, without_adapters

logger = logging.getLogger(__name__)

PROBE_TEXTS = (
    "red",
    "a red fish is in the sea",
    "the big green dog runs and a small cat sleeps in the old stone house by the new river",
)
MAX_PROBE_TOKENS = 32
MAX_CHANGE = 1e-3
"""Largest change of a logit by padding, relative to the largest logit."""
MAX_ROUNDING = 32
"""Larger changes are expected in half precision: this many units of rounding."""


def check_model(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model that cannot classify texts, before it is trained; keep the random state.

    If logits depend on the side of the padding, the tokenizer pads on the other side from now on.

    Raises:
        InputError: If the model fails on short texts in training, or gives all texts the same
            features.
    """
    was_training = model.training
    with torch.random.fork_rng(devices=[]), torch.no_grad(), explain_failure(model):
        batch = _encode(tokenizer, PROBE_TEXTS).to(model.device)
        nn.Module.train(model, True)
        try:
            model(**batch)
            nn.Module.train(model, False)
            _check_features(model, batch)
            _choose_padding_side(model, tokenizer)
        finally:
            nn.Module.train(model, was_training)


def _check_features(model: Any, batch: Mapping[str, Tensor]) -> None:
    features: list[Tensor] = []
    head = classification_head(model)
    hook = head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    try:
        logits = model(**batch).logits
    finally:
        hook.remove()
    if features and len(features[-1]) == len(logits) and features[-1][0].equal(features[-1][1]):
        raise InputError(
            f"{type(model).__name__}: all texts get the same features, so it cannot learn; its "
            "weights are broken, or it requires a GPU kernel that is missing here"
        )


def _choose_padding_side(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    if not padding_matters(model, tokenizer):
        return
    side = tokenizer.padding_side
    tokenizer.padding_side = "left" if side == "right" else "right"
    if not padding_matters(model, tokenizer):
        tokenizer.init_kwargs["padding_side"] = tokenizer.padding_side  # saved with the tokenizer
        logger.warning(
            "%s: padding on the %s changes the logits; the tokenizer pads on the %s from now on",
            type(model).__name__, side, tokenizer.padding_side,
        )  # fmt: skip
        return
    tokenizer.padding_side = side
    logger.warning(
        "%s: padding changes the logits. Evaluation and prediction read texts of one length at a "
        "time; training pads its batches unless per_device_train_batch_size is 1",
        type(model).__name__,
    )


@torch.no_grad()
def padding_matters(model: Any, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text gets other logits beside a longer one; the model is in evaluation mode."""
    with without_autocast(model):
        beside = model(**_encode(tokenizer, PROBE_TEXTS).to(model.device)).logits
        rows = [_encode(tokenizer, (text,)).to(model.device) for text in PROBE_TEXTS]
        alone = torch.cat([model(**row).logits for row in rows])
    limit = max(MAX_CHANGE, MAX_ROUNDING * torch.finfo(alone.dtype).eps)
    change = (alone - beside).abs().max().item()
    return bool(change > limit * max(1.0, alone.abs().max().item()))


def _encode(tokenizer: PreTrainedTokenizerBase, texts: tuple[str, ...]) -> Any:
    length = min(tokenizer.model_max_length, MAX_PROBE_TOKENS)
    return tokenizer(
        list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt"
    )


def without_padding(model: Any, tokenizer: Any) -> RowsByLength | None:
    """Return the model to call where padding matters; None where it does not."""
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return None
    was_training = model.training
    nn.Module.train(model, False)
    try:
        matters = padding_matters(model, tokenizer)
    except Exception:  # the evaluation itself reports why
        matters = False
    finally:
        nn.Module.train(model, was_training)
    return RowsByLength(model, tokenizer.pad_token_id) if matters else None


class RowsByLength:
    """A model that reads the rows of a batch without padding: those of one length at a time."""

    def __init__(self, model: Any, pad_token_id: int | None) -> None:
        self._model = model
        self._pad_token_id = pad_token_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **inputs: Any) -> SequenceClassifierOutput:
        """Return the logits ``(B, L)`` only."""
        mask: Any = inputs.get("attention_mask")
        if mask is None:  # a typed pad token is text, so that this one only pads
            mask = (inputs["input_ids"] != self._pad_token_id).long()
        lengths = mask.sum(1)
        logits: Any = None
        for length in lengths.unique():
            rows = (lengths == length).nonzero()[:, 0]
            part = {name: _take(value, rows, mask) for name, value in inputs.items()}
            found = self._model(**part).logits
            if logits is None:
                logits = found.new_empty(len(mask), found.shape[1])
            logits[rows] = found
        return SequenceClassifierOutput(logits=logits)


def _take(value: Any, rows: Tensor, mask: Tensor) -> Any:
    """Return some rows of an input, without the tokens that the mask leaves out."""
    if not isinstance(value, Tensor) or value.shape[:1] != mask.shape[:1]:
        return value
    chosen = value[rows]
    if value.shape[:2] != mask.shape:
        return chosen
    return chosen[mask[rows].bool()].view(len(rows), -1, *value.shape[2:])


@contextmanager
def explain_failure(model: Any, texts: str = "these texts") -> Iterator[None]:
    """Turn an error from the code of a model's family into one line that names the class.

    Raises:
        InputError: In place of any such error but lack of memory.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        kind = type(without_adapters(model))
        if find_out_of_memory(error) or not _comes_from(error, kind):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{kind.__name__} cannot classify {texts}: {reason:.300}") from error


def _comes_from(error: BaseException, kind: type) -> bool:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename == file for frame, _ in frames)

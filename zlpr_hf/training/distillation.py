"""Teacher: a larger classifier whose logits a smaller one learns to follow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from zlpr_hf.errors import InputError
from zlpr_hf.files.arrays import read_arrays
from zlpr_hf.files.atomic import whole_file
from zlpr_hf.labels import LabelSpace
from zlpr_hf.losses.registry import loss_class, losses_with, render_loss
from zlpr_hf.models.head_bias import fold_stored_offsets
from zlpr_hf.models.pad_token import match_pad_token
from zlpr_hf.models.tokenizer import load_tokenizer
from zlpr_hf.models.trained import load_trained_model
from zlpr_hf.thresholds import refuse_nan
from zlpr_hf.zlpr_config import ZLPRConfig

TEACHER_FILE = "teacher_logits.npz"


@dataclass(frozen=True)
class Teacher:
    """A classifier of the same labels, perhaps in another order.

    Args:
        name: Hub id, folder or ``package:MODULE/FOLDER``.
        model: The classifier, in float32 and evaluation mode.
        order: Index of its output for each label of the student.
        scale: Factor from its logits to those of ZLPR.
    """

    name: str
    model: PreTrainedModel
    order: tuple[int, ...]
    scale: float

    @classmethod
    def load(cls, name: str, label_space: LabelSpace) -> Teacher:
        """Load a teacher and check that it has the student's labels.

        Raises:
            InputError: If it cannot be loaded, has other labels, or its logits stand for no
                probability: it must have been trained with ``zlpr`` or with a logistic loss.
        """
        try:
            model = load_trained_model(name)
            fold_stored_offsets(model)
        except InputError as error:
            raise InputError(f"teacher_model_name_or_path: {error}") from error
        names = LabelSpace.from_config(model.config).names
        if sorted(names) != sorted(label_space.names):
            raise InputError(
                f"teacher_model_name_or_path {name!r}: its labels ({len(names)}: "
                f"{', '.join(names[:8])}) are not those of the data ({label_space.num_labels}: "
                f"{label_space.summary()})"
            )
        # transformers itself trains multi-label models with a logistic loss.
        stored = ZLPRConfig.read(model.config)
        loss = stored.loss or "bce"
        kind = model.config.problem_type
        scale = loss_class(loss).probability_scale
        # Hyper-parameters other than the defaults move the probabilities.
        if scale is None or stored.loss_kwargs or kind != "multi_label_classification":
            raise InputError(
                f"teacher_model_name_or_path {name!r}: expected a multi-label model trained with "
                f"{losses_with('probability_scale')}, got loss "
                f"{render_loss(loss, stored.loss_kwargs)}, problem_type {kind}"
            )
        order = tuple(names.index(label) for label in label_space.names)
        # ZLPR's logits stand for sigmoid(2 s); those that stand for sigmoid(s), of BCE or with a
        # temperature folded in, are halved.
        nn.Module.eval(model)
        return cls(name, model, order, 0.5 if stored.temperature is not None else scale / 2)

    def compute_logits(
        self, texts: Sequence[Sequence[str]], *, max_length: int, batch_size: int, folder: Path
    ) -> NDArray[np.float32]:
        """Return logits ``(N, L)`` of all texts, in the student's order and on the scale of ZLPR.

        Each row of ``texts`` has one text, or two for pairs. ``folder`` keeps a cache, so that a
        resumed run does not ask the teacher again.
        """
        path, key = folder / TEACHER_FILE, self._key(texts, max_length)
        if path.is_file():
            stored = read_arrays(path, remedy="remove it to ask the teacher again")
            if str(stored["key"]) == key:
                return stored["logits"]
        logits = self._run(texts, max_length, batch_size)
        with whole_file(path) as part:
            np.savez(part, logits=logits, key=np.array(key))
        return logits

    @torch.no_grad()
    def _run(
        self, texts: Sequence[Sequence[str]], max_length: int, batch_size: int
    ) -> NDArray[np.float32]:
        tokenizer, model = load_tokenizer(self.name), self.model
        match_pad_token(tokenizer, model.config)
        longest_first = sorted(range(len(texts)), key=lambda index: -sum(map(len, texts[index])))
        logits = np.empty((len(texts), len(self.order)), np.float32)
        limit = min(max_length, tokenizer.model_max_length)
        for start in tqdm(range(0, len(texts), batch_size), desc="ask the teacher", unit="batch"):
            rows = longest_first[start : start + batch_size]
            columns = [list(column) for column in zip(*(texts[row] for row in rows), strict=True)]
            batch = tokenizer(
                *columns, padding=True, truncation=True, max_length=limit, return_tensors="pt"
            )
            found = model(**batch.to(model.device)).logits[:, list(self.order)]
            logits[rows] = self.scale * found.float().cpu().numpy()
        try:
            refuse_nan(logits, texts=texts)
        except InputError as error:
            raise InputError(f"teacher_model_name_or_path {self.name!r}: {error}") from error
        return logits

    def _key(self, texts: Sequence[Sequence[str]], max_length: int) -> str:
        """Return a digest of everything the logits depend on; weights count by their sums."""
        content = hashlib.sha256(
            json.dumps([max_length, self.order, list(map(list, texts))]).encode()
        )
        for name, value in self.model.state_dict().items():
            content.update(f"{name} {value.double().sum().item()!r}".encode())
        return content.hexdigest()

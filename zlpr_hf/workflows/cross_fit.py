"""Cross-fitting: logits of every training row from a model that has not seen the row."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from numpy.typing import NDArray
from transformers import set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.errors import InputError
from zlpr_hf.files.arrays import read_arrays
from zlpr_hf.files.atomic import whole_file
from zlpr_hf.labels import known_mask
from zlpr_hf.models.paths import resolve_model_path
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.training.progress import render_loss_value, render_seconds
from zlpr_hf.training.trainer import ZLPRTrainer
from zlpr_hf.workflows.arguments import RunConfig, render_config
from zlpr_hf.workflows.build_model import build_model, find_label_descriptions
from zlpr_hf.workflows.long_texts import split_rows
from zlpr_hf.workflows.output_dir import FOLDS_FOLDER, OUT_OF_FOLD_FILE, RESULTS_FILE
from zlpr_hf.workflows.prepare import Prepared, build_trainer, fit_loss
from zlpr_hf.workflows.run_training import run_training

MODEL_PATTERNS = (
    "*config.json", "*/config.json", "*.safetensors", "*.bin", "tokenizer*.json", "vocab*",
    "merges.txt", "added_tokens.json", "special_tokens_map.json", "*.model", "*.py",
)  # fmt: skip
"""Files of a model that its logits depend on."""
Logits = NDArray[np.float32]
Predict = Callable[[ZLPRTrainer, Dataset], Logits]


@dataclass(frozen=True)
class OutOfFold:
    """Logits of training rows, each from a model that was trained without the row's fold.

    Args:
        logits: Of all rows, from texts that are cut at the maximum length, ``(N, L)``.
        folds: Fold of each row, ``(N,)``.
        window_logits: Of the windows of long texts, ``(W, L)``.
        window_rows: Row of each window, ``(W,)``.
    """

    logits: Logits
    folds: NDArray[np.int64]
    window_logits: Logits
    window_rows: NDArray[np.int64]

    def of_windows(self, windows: Dataset) -> Logits:
        """Return the logits of the windows of some rows, given all windows of these rows."""
        return self.window_logits[np.isin(self.window_rows, np.asarray(windows["text_row"]))]


def cross_fit(
    prepared: Prepared,
    config: RunConfig,
    predict: Predict,
    *,
    log: Callable[[str], None] = print,
) -> OutOfFold:
    """Train one model per fold on the rows of the other folds, and predict the rows of the fold.

    A fold that an interrupted run has finished in the same output folder, with the same options,
    rows, labels and models, is read and not trained again. All processes of a run call this
    function.

    Args:
        prepared: Data with ``folds``; its training rows may have ``teacher_logits``.
        config: Options of each training; its ``output_dir`` gets a folder ``folds``.
        predict: Returns the logits of encoded rows.
        log: Receives one line per fold, on the main process.
    """
    folds = prepared.data.folds
    assert folds is not None, "the data has folds"
    rows = prepared.encoded["train"]
    windows = _split_into_windows(prepared, config)
    count = int(folds.max()) + 1
    num_labels = prepared.data.label_space.num_labels
    logits = np.zeros((len(rows), num_labels), np.float32)
    window_rows = np.zeros(0, np.int64) if windows is None else np.asarray(windows["text_row"])
    window_logits = np.zeros((len(window_rows), num_labels), np.float32)
    trainer = _FoldTrainer(prepared, config, predict, log, _find_key(prepared, config))
    for fold in range(count):
        held_out, held_windows = folds == fold, folds[window_rows] == fold
        parts = [rows.select(np.flatnonzero(held_out))]
        if windows is not None and held_windows.any():
            parts.append(windows.select(np.flatnonzero(held_windows)))
        (found,) = broadcast_object_list([trainer.read(fold)])
        if found is None:
            found = trainer.train(fold, ~held_out, parts, f"fold {fold + 1}/{count}")
        logits[held_out] = found[0]
        if len(found) > 1:
            window_logits[held_windows] = found[1]
    return OutOfFold(logits, folds, window_logits, window_rows)


def save_out_of_fold(
    folder: Path, logits: Logits, targets: Any, folds: Any, *, decisions: Any = None
) -> None:
    """Write ``logits``, ``targets`` and ``folds`` of the training rows for ``numpy.load``.

    The logits are in the units of the saved model: a label is predicted above zero. ``decisions``
    are those with offsets that were fitted without the row's fold, if there is no test split.
    """
    arrays = {"logits": logits, "targets": targets, "folds": folds}
    if decisions is not None:
        arrays["decisions"] = decisions
    with whole_file(folder / OUT_OF_FOLD_FILE) as part:
        np.savez_compressed(part, **arrays)


@dataclass(frozen=True)
class StoredLogits:
    """Logits and targets ``(N, L)`` of training rows by models that did not see them, by fold.

    ``decisions`` are those with offsets that were fitted without the row's fold; None for a run
    with a test split.
    """

    logits: NDArray[np.float32]
    targets: NDArray[np.float32]
    folds: NDArray[np.int64]
    decisions: NDArray[np.bool_] | None = None

    @classmethod
    def load(cls, run: Path) -> StoredLogits:
        """Read the file of a run.

        Raises:
            InputError: If the run has none, or it is damaged.
        """
        path = run / OUT_OF_FOLD_FILE
        if not path.is_file():
            raise InputError(
                f"{run}: no out-of-fold logits ({OUT_OF_FOLD_FILE}); train with zlpr train ... "
                "--folds 5, or let zlpr audit DATA do it"
            )
        stored = read_arrays(path, remedy="train the run again")
        missing = {"logits", "targets", "folds"} - stored.keys()
        if missing:
            raise InputError(f"{path}: no {min(missing)}; train the run again")
        return cls(stored["logits"], stored["targets"], stored["folds"], stored.get("decisions"))

    def check(self, data: LabelledData, run: Path) -> None:
        """Refuse data that is not what the run was trained on."""
        results = json.loads((run / RESULTS_FILE).read_text(encoding="utf-8"))
        provenance = results.get("provenance") or {}
        fingerprint = provenance.get("data", {}).get("train")
        targets = data.targets("train")
        same = targets.shape == self.targets.shape == self.logits.shape
        same = same and fingerprint in (None, data.fingerprints()["train"])
        if same:
            known = known_mask(targets)
            same = bool((known == known_mask(self.targets)).all())
            same = same and bool((targets[known] == self.targets[known]).all())
        if not same:
            raise InputError(
                f"{run}: the data has changed since the run; train it again, then audit it"
            )


def without_evaluation(arguments: ZLPRTrainingArguments) -> ZLPRTrainingArguments:
    """Return arguments that train all epochs and keep the last one: no row is left to validate."""
    changed = copy.copy(arguments)
    changed.eval_strategy = IntervalStrategy.NO
    changed.do_eval = False
    changed.eval_on_start = False
    changed.load_best_model_at_end = False
    changed.early_stopping_patience = None
    return changed


def _split_into_windows(prepared: Prepared, config: RunConfig) -> Dataset | None:
    """Return the windows of long texts, if the run may read them; they stand in row order."""
    if config.model.long_texts == "cut" or not prepared.tokenizer.is_fast:
        return None
    if not np.any(prepared.encoded["train"]["truncated"]):
        return None
    return split_rows(prepared, "train")


@dataclass(frozen=True)
class _FoldTrainer:
    """Trains the model of a fold, or reads the logits that an interrupted run has stored."""

    prepared: Prepared
    config: RunConfig
    predict: Predict
    log: Callable[[str], None]
    key: str

    def read(self, fold: int) -> list[Logits] | None:
        """Return the stored logits of a fold if they have the key of this run.

        The main process decides for all: others may see other files.
        """
        path = self._path(fold)
        if self.config.training.process_index or not path.is_file():
            return None
        stored = read_arrays(path, remedy="remove it to train the fold again")
        if str(stored.pop("key", "")) != self.key:
            return None
        return [stored[name] for name in sorted(stored)]

    def train(
        self, fold: int, kept: NDArray[np.bool_], parts: Sequence[Dataset], title: str
    ) -> list[Logits]:
        """Train on the kept rows, return the logits of the parts held out, and store them.

        A loss that is fitted on training rows is fitted on the kept ones.
        """
        started, path = time.monotonic(), self._path(fold)
        rows = self.prepared.encoded["train"].select(np.flatnonzero(kept))
        targets = self.prepared.data.targets("train")[kept]
        prepared = replace(self.prepared, loss=fit_loss(self.config.training, targets))
        arguments = without_evaluation(self.config.training)
        arguments.save_strategy = SaveStrategy.NO
        arguments.report_to = []
        arguments.output_dir = str(path.with_suffix(""))
        set_seed(arguments.seed)
        model = build_model(prepared, self.config.model)
        config = replace(self.config, training=arguments)
        trainer = build_trainer(prepared, model, config, rows=rows, title=title)
        loss = run_training(trainer)
        found = [self.predict(trainer, part) for part in parts]
        if trainer.is_world_process_zero():
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part:
                np.savez_compressed(part, *found, key=np.asarray(self.key))
            shutil.rmtree(arguments.output_dir, ignore_errors=True)
            seconds = render_seconds(time.monotonic() - started)
            self.log(f"{title}  loss {render_loss_value(loss)}  {seconds}")
        trainer.accelerator.wait_for_everyone()
        return found

    def _path(self, fold: int) -> Path:
        folder = Path(str(self.config.training.output_dir)) / FOLDS_FOLDER
        return folder / f"fold-{fold + 1}.npz"


def _find_key(prepared: Prepared, config: RunConfig) -> str:
    """Return a digest of all that the logits of a fold depend on.

    These are all options but the output folder, the rows and their folds, the labels with their
    descriptions, and the files of models on this machine.
    """
    training, data, model = copy.copy(config.training), prepared.data, config.model
    training.output_dir = ""
    assert data.folds is not None
    models = filter(None, (model.model_name_or_path, model.teacher_model_name_or_path))
    content = {
        "options": render_config(replace(config, training=training)),
        "rows": data.fingerprints()["train"],
        "folds": data.folds.tolist(),
        "labels": data.label_space.names,
        "descriptions": find_label_descriptions(data, model),
        "models": [_list_files(name) for name in models],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _list_files(model: str) -> list[tuple[str, int, int]]:
    """Return name, size and time of the files of a model; none for a model on the Hub."""
    folder = Path(resolve_model_path(model))
    paths = sorted(path for pattern in MODEL_PATTERNS for path in folder.glob(pattern))
    stats = [(str(path.relative_to(folder)), path.stat()) for path in paths]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]

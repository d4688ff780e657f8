"""Frozen tier of a comparison: linear heads on features of the encoder, searched for each loss."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.errors import InputError, suggest
from zlpr_hf.files.arrays import read_arrays
from zlpr_hf.files.atomic import whole_file, write_json, write_whole
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.registry import build_loss
from zlpr_hf.models.features import compute_features
from zlpr_hf.models.loading import load_model
from zlpr_hf.models.tokenizer import load_tokenizer
from zlpr_hf.reports.provenance import Provenance, find_versions
from zlpr_hf.training.arguments import REGULARISERS
from zlpr_hf.workflows.arguments import RunConfig, render_config
from zlpr_hf.workflows.comparison.cell import Cell
from zlpr_hf.workflows.comparison.search import Trial, draw_trials, judge, searched_ranges
from zlpr_hf.workflows.output_dir import CONFIG_FILE, LOGITS_FILE, RESULTS_FILE

RATES = {"learning_rate": (3e-3, 0.3), "weight_decay": (1e-6, 1e-1)}
"""Learning rates of Adam, on features with standard deviation 1, and weights of the squared norm of
the head that are searched."""
MAX_LENGTH = 128
EPOCHS = 10
"""Epochs that a training counts as, for losses that change after some."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FrozenTier:
    """How heads are trained, the same for each loss.

    Attributes:
        trials: Settings that are tried for each loss and seed; the first has the defaults of the
            loss.
        steps: Steps of Adam on all rows, with a cosine schedule.
        max_rows: Most training rows.
        share: Share of the training rows that a seed draws.
    """

    trials: int = 12
    steps: int = 200
    max_rows: int = 4000
    share: float = 0.8

    @classmethod
    def read(cls, given: Any) -> FrozenTier:
        """Read the key ``frozen`` of a plan: a mapping, or true for the defaults.

        Raises:
            InputError: If a name is unknown or a value is out of range.
        """
        if given is True:
            return cls()
        if not isinstance(given, Mapping):
            raise InputError(f"frozen: expected true or lines of 'name: value', got {given!r}")
        known = tuple(cls.__dataclass_fields__)
        for name, value in given.items():
            if name not in known:
                otherwise = f"; expected one of {', '.join(known)}"
                hint = suggest(str(name), known, otherwise=otherwise)
                raise InputError(f"frozen: unknown name {name!r}{hint}")
            if name == "share":
                if not (isinstance(value, float) and 0 < value <= 1):
                    raise InputError(f"frozen: share: expected a share up to 1.0, got {value!r}")
            elif type(value) is not int or value < 1:
                raise InputError(f"frozen: {name}: expected a whole number, got {value!r}")
        return cls(**given)


@dataclass(frozen=True)
class TrainedHead:
    """A head with its scores on validation and test rows."""

    trial: Trial
    validation: Floats
    test: Floats
    seconds: float
    outputs: int


def check_frozen(config: RunConfig) -> None:
    """Refuse options that need the encoder to be trained."""
    training = config.training
    for name in REGULARISERS:
        if getattr(training, name, 0):
            raise InputError(f"{name}: not supported with frozen: heads are trained by their loss")
    for name in ("teacher_model_name_or_path", "keep_layers"):
        if getattr(config.model, name):
            raise InputError(f"{name}: not supported with frozen")


def train_head(
    loss: MultiLabelLoss, features: Floats, targets: Floats, trial: Trial, *, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train a linear head from zero on all rows at once; return weight ``(D, C)`` and bias."""
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    outputs = y.shape[1] if loss.label_sets is None else len(loss.label_sets.sets)
    weight = torch.zeros(x.shape[1], outputs, requires_grad=True)
    bias = torch.zeros(outputs, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=trial.rates["learning_rate"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        loss.epoch = EPOCHS * step / steps
        optimizer.zero_grad()
        value = loss(x @ weight + bias, y) + trial.rates["weight_decay"] * weight.square().sum()
        value.backward()
        optimizer.step()
        schedule.step()
    return weight.detach(), bias.detach()


def read_features(config: RunConfig, data: LabelledData, folder: Path) -> dict[str, Floats]:
    """Return the features of each split, from the folder if they have been computed before.

    Several processes can share the folder: one computes, the others wait for it.
    """
    model_name, pooling = config.model.model_name_or_path, config.model.pooling
    max_length = MAX_LENGTH if "max_length" in config.auto else config.model.max_length
    bfloat16 = bool(config.training.bf16)
    key = repr(
        (
            model_name,
            config.model.model_revision,
            pooling,
            max_length,
            bfloat16,
            data.fingerprints(),
        )
    )
    path = folder / "features" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            found = _compute_splits(config, data, max_length)
            with whole_file(path) as part, part.open("wb") as stream:
                np.savez(stream, **found)  # type: ignore[arg-type]  # no array is called allow_pickle
    return read_arrays(path, remedy="remove it to compute the features again")


def _compute_splits(config: RunConfig, data: LabelledData, max_length: int) -> dict[str, Floats]:
    name, revision = config.model.model_name_or_path, config.model.model_revision
    trust = config.model.trust_remote_code
    tokenizer = load_tokenizer(name, revision=revision, trust_remote_code=trust)
    tokenizer.model_max_length = max_length
    model = load_model(
        name,
        data.label_space,
        pooling=config.model.pooling,
        revision=revision,
        trust_remote_code=trust,
    )
    return {
        split: compute_features(
            model, tokenizer, data.texts(split), bfloat16=bool(config.training.bf16), progress=True
        )
        for split in ("train", "validation", "test")
    }


def run_frozen_cell(
    cell: Cell, data: LabelledData, features: Mapping[str, Floats], tier: FrozenTier
) -> None:
    """Search and train the heads of one cell, and write the files that a comparison reads.

    The best trial of the loss's own rule and that of one tuned offset are chosen apart, each by
    the mean of micro-F1 and macro-F1 on validation.

    Raises:
        InputError: If all trials end in scores that are not finite.
    """
    training = cell.config.training
    rows, validation_rows, targets = _draw_rows(cell, data, tier)
    center, scale = features["train"][rows].mean(0), features["train"][rows].std(0) + 1e-6
    x = {name: (each - center) / scale for name, each in features.items()}
    x["train"], x["validation"] = x["train"][rows], x["validation"][validation_rows]
    heads: list[TrainedHead] = []
    started = time.perf_counter()
    for trial in draw_trials(
        training.loss,
        training.loss_kwargs,  # type: ignore[arg-type]  # a mapping once it is checked
        rates=RATES,
        count=tier.trials,
        seed=cell.seed,
        search=cell.search,
    ):
        head = _run_trial(training.loss, x, targets["train"], trial, tier.steps)
        if np.isfinite(head.validation).all() and np.isfinite(head.test).all():
            heads.append(head)
    if not heads:
        raise InputError("all trials ended in logits that are not finite")
    own, tuned = (
        max(heads, key=lambda each: judge(cell, each.validation, targets["validation"], tuned=rule))
        for rule in (False, True)
    )
    seconds = time.perf_counter() - started
    _write(cell, data, tier, own, tuned, targets["validation"], seconds)


def _draw_rows(
    cell: Cell, data: LabelledData, tier: FrozenTier
) -> tuple[NDArray[np.intp], NDArray[np.intp], dict[str, Floats]]:
    """Return the training and validation rows of a seed, and the targets of both."""
    train, validation = (data.targets(split) for split in ("train", "validation"))
    generator = np.random.default_rng(cell.seed)
    count = max(1, min(round(tier.share * len(train)), tier.max_rows))
    rows = np.sort(generator.choice(len(train), count, replace=False))
    validation_rows = np.arange(len(validation))
    targets = {"train": train[rows], "validation": validation}
    if cell.variant is not None:
        rows = cell.variant.choose_rows(train, rows, cell.seed)
        if len(rows) < len(validation) and cell.variant.kind == "texts_per_label":
            drawn = generator.choice(len(validation), len(rows), replace=False)
            validation_rows = np.sort(drawn)
        targets = {"train": train[rows], "validation": validation[validation_rows]}
        targets = {
            name: cell.variant.change_targets(each, cell.seed) for name, each in targets.items()
        }
    return rows, validation_rows, targets


def _run_trial(
    name: str, features: Mapping[str, Floats], targets: Floats, trial: Trial, steps: int
) -> TrainedHead:
    started = time.perf_counter()
    kwargs: dict[str, Any] = dict(trial.loss_kwargs)
    loss = build_loss(name, train_targets=targets, **kwargs)
    weight, bias = train_head(loss, features["train"], targets, trial, steps=steps)
    seconds = time.perf_counter() - started
    scores = {
        split: loss.label_scores(torch.from_numpy(features[split]) @ weight + bias).numpy()
        for split in ("validation", "test")
    }
    return TrainedHead(trial, scores["validation"], scores["test"], seconds, len(bias))


def _write(
    cell: Cell,
    data: LabelledData,
    tier: FrozenTier,
    own: TrainedHead,
    tuned: TrainedHead,
    validation_targets: Floats,
    seconds: float,
) -> None:
    cell.folder.mkdir(parents=True, exist_ok=True)
    write_whole(cell.folder / CONFIG_FILE, render_config(cell.config))
    with whole_file(cell.folder / LOGITS_FILE) as part, part.open("wb") as stream:
        np.savez_compressed(
            stream,
            validation_logits=own.validation,
            validation_targets=validation_targets,
            test_logits=own.test,
            test_targets=data.targets("test"),
            tuned_validation_logits=tuned.validation,
            tuned_test_logits=tuned.test,
        )
    training = {
        "outputs": own.outputs,
        "steps": tier.steps,
        "seconds_per_step": own.seconds / tier.steps,
        "seconds": seconds,
    }
    provenance = Provenance.find(torch.device("cpu"), data.fingerprints(), cell.folder)
    results = {
        "frozen": describe_frozen(cell, tier),
        "chosen": {"own": own.trial.settings, "tuned": tuned.trial.settings},
        "training": training,
        "provenance": asdict(provenance),
        "versions": find_versions(),
    }
    write_json(cell.folder / RESULTS_FILE, results)


def describe_frozen(cell: Cell, tier: FrozenTier) -> dict[str, Any]:
    """Return the settings of a cell that its configuration does not hold."""
    variant = None if cell.variant is None else asdict(cell.variant)
    ranges = RATES | searched_ranges(cell.config.training.loss, {}, search=cell.search)
    shown = {name: list(ends) for name, ends in ranges.items()}
    return {**asdict(tier), "variant": variant, "search": cell.search, "ranges": shown}

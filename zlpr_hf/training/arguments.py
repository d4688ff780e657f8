"""ZLPRTrainingArguments: transformers' TrainingArguments plus options for multi-label training."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import TrainingArguments

from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.contrastive import TEMPERATURE
from zlpr_hf.losses.registry import LOSSES, check_loss, example_loss, losses_with, render_loss
from zlpr_hf.losses.smoothing import SmoothingMode, check_smoothing
from zlpr_hf.training.best_model import BestModelRule

# transformers accepts values outside these ranges, and fails on them in the middle of a run.
RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (0.0, 1e6),
    "head_learning_rate": (0.0, 1e6),
    "per_device_train_batch_size": (1, math.inf),
    "per_device_eval_batch_size": (1, math.inf),
    "gradient_accumulation_steps": (1, math.inf),
    "num_train_epochs": (0.001, math.inf),
    "seed": (0, 2**32 - 1),
    "data_seed": (0, 2**32 - 1),
    "rdrop_alpha": (0.0, 1e6),
    "contrastive_alpha": (0.0, 1e6),
    "contrastive_temperature": (0.001, 1e3),
    "distillation_alpha": (0.0, 1.0),
    "evaluated_labels": (1, math.inf),
    "early_stopping_patience": (0, math.inf),
}
REGULARISERS = ("label_smoothing_factor", "rdrop_alpha", "contrastive_alpha")
"""Options that change the loss of a batch, and need all of its logits and a trained encoder."""
HEAD_RATE_RATIO = 10
"""Default of the head's learning rate, relative to that of the encoder."""
WeightAveraging = Literal["none", "ema"]
SamplingStrategy = Literal["random", "sequential", "group_by_length", "batch_rebalance"]


@dataclass
class ZLPRTrainingArguments(TrainingArguments):
    """TrainingArguments with the options that multi-label fine-tuning needs.

    Args:
        loss: A name in :data:`zlpr_hf.LOSSES` (default: ``"zlpr"``).
        loss_kwargs: Hyper-parameters of the loss, such as ``{"gamma": 1.0}`` for ``focal``, as a
            mapping or as JSON (default: none); see :func:`zlpr_hf.build_loss`.
        head_learning_rate: Learning rate of all parameters outside the encoder. None (default)
            means ten times ``learning_rate`` when the optimizer is created, also after a search or
            an assignment: a fresh head on a small encoder learns too slowly at the encoder's rate.
        label_smoothing_mode: How ``label_smoothing_factor`` moves the training targets; see
            :func:`zlpr_hf.smooth_targets`.
        rdrop_alpha: Weight of the divergence between two passes with different dropout (R-Drop),
            from 0 (default: a single pass). Requires the loss ``zlpr``.
        contrastive_alpha: Weight of a contrastive loss that draws the features of texts with common
            labels together, from 0 (default: none); see
            :func:`zlpr_hf.losses.contrastive.contrastive_loss`. It compares two copies
            of each text's features, with a dropout of 0.1 each. ``zlpr train`` uses 1 up to 2,000
            rows of which half have a label (``docs/how_to/few_labels.md``).
        contrastive_temperature: Temperature of the contrastive loss, from 0.001 (default: 0.05).
            Smaller values weigh the most similar texts of a batch more.
        distillation_alpha: Share of the divergence from a teacher in the loss, 0 to 1 (default:
            0.5), where the batch has ``teacher_logits``; the rest is the loss on the labels.
            Requires the loss ``zlpr``.
        large_label_space: Whether ``labels`` are ids ``(B, K)`` filled up with ``-100``, head and
            loss are computed in chunks of labels, and evaluation keeps the best
            ``evaluated_labels`` of each row. Requires the loss ``zlpr`` and hard labels. By default
            :func:`zlpr_hf.finetune` turns it on above 4,096 labels, and the trainer leaves it off.
        evaluated_labels: Labels per row that evaluation looks at in a large label space.
        weight_averaging: ``"none"`` (default) or ``"ema"``: evaluate, save and keep an exponential
            moving average of the weights, over about one epoch of steps, in place of the weights
            of the last step. ``zlpr train``, ``tune`` and ``compare`` turn it on; not supported
            with FSDP and DeepSpeed. See ``docs/recipes.md``.
        best_model_rule: Checkpoint that ``load_best_model_at_end`` keeps: ``"best"`` (default), or
            ``"one_standard_error"``: the latest one within one binomial standard error of the
            best, for metrics from 0 to 1. The best of several noisy values is often an early one;
            ``zlpr train`` keeps the latest.
        early_stopping_patience: Stop after this many evaluations in a row that are not as good as
            the best one by ``best_model_rule`` (default: None, train all epochs). Requires
            ``load_best_model_at_end``.
        cpu_speedups: Whether to train faster, mostly on a CPU, by changing the model's own modules
            while it trains: dropout with fewer random bits (other masks than torch's from the same
            seed), attention without fused kernels up to 128 tokens, and on any device no unused
            tokens in the last layer of BERT-like models. Off by default; ``zlpr train``, ``tune``
            and ``compare`` turn it on. See ``docs/speed.md``.
        bf16: Whether to train in bfloat16 (default: where the hardware computes it natively).
            Evaluation is always in float32, so that reported decisions are those of the saved
            model.
        train_sampling_strategy: As in transformers. ``group_by_length`` saves much of the time;
            with a few hundred rows it may cost some quality (``docs/speed.md``).
        logging_nan_inf_filter: Off by default, so that NaN and infinite losses show up in the log.

    Raises:
        ValueError: If an option is out of range or does not go with the loss.

    Example:
        >>> arguments = ZLPRTrainingArguments(output_dir="out", learning_rate=1e-4)
        >>> arguments.learning_rate = 1e-3
        >>> arguments.effective_head_learning_rate
        0.01
    """

    loss: str = field(
        default="zlpr", metadata={"help": f"Loss to train with: {', '.join(sorted(LOSSES))}."}
    )
    loss_kwargs: dict[str, Any] | str | None = field(
        default_factory=dict,
        metadata={"help": 'Hyper-parameters of the loss as JSON, such as {"gamma": 1.0} (focal).'},
    )
    head_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Learning rate of the classification head (default: 10 x learning_rate)."
        },
    )
    label_smoothing_mode: SmoothingMode = field(
        default="mass_preserving", metadata={"help": "How label_smoothing_factor moves targets."}
    )
    rdrop_alpha: float = field(
        default=0.0,
        metadata={"help": "Weight of the divergence between two passes (R-Drop); 0 turns it off."},
    )
    contrastive_alpha: float = field(
        default=0.0,
        metadata={
            "help": "Weight of a loss that draws texts with common labels together; 0 turns it off."
        },
    )
    contrastive_temperature: float = field(
        default=TEMPERATURE,
        metadata={
            "help": "Temperature of the contrastive loss; smaller values weigh the most similar "
            "texts more."
        },
    )
    distillation_alpha: float = field(
        default=0.5, metadata={"help": "Share of the teacher's divergence in the loss, 0 to 1."}
    )
    large_label_space: bool | None = field(
        default=None,
        metadata={
            "help": "Compute head and loss in chunks, read labels as ids, evaluate the best labels "
            "(default: above 4,096 labels)."
        },
    )
    evaluated_labels: int = field(
        default=100, metadata={"help": "Best labels per row that large_label_space evaluates."}
    )
    weight_averaging: WeightAveraging = field(
        default="none",
        metadata={
            "help": "none, or ema: evaluate and keep a moving average of the weights, over about "
            "one epoch."
        },
    )
    best_model_rule: BestModelRule = field(
        default="best",
        metadata={
            "help": "Checkpoint that is kept: best, or one_standard_error: the latest within one "
            "standard error of the best."
        },
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={
            "help": "Stop after this many evaluations in a row worse than best_model_rule allows; "
            "0 never stops."
        },
    )
    cpu_speedups: bool = field(
        default=False,
        metadata={
            "help": "Train faster, mostly on a CPU, with other dropout masks than torch draws from "
            "the same seed; see docs/speed.md."
        },
    )
    bf16: bool | None = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "Train in bfloat16 autocast (default: where the hardware supports it)."},
    )
    train_sampling_strategy: SamplingStrategy = field(
        default="random",
        metadata={
            "help": "Order of training rows: group_by_length puts similar lengths into a batch "
            "(little padding), batch_rebalance evens them out across processes."
        },
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave NaN and infinite losses out of the log."}
    )

    def __post_init__(self) -> None:
        # A search casts the values it tries to the type of the value set here; 0.1 is a share.
        self.warmup_steps = float(self.warmup_steps)
        self.loss_kwargs = check_loss(self.loss, _as_mapping(self.loss_kwargs))
        loss = example_loss(self.loss, self.loss_kwargs)
        check_smoothing(self.label_smoothing_factor, self.label_smoothing_mode)
        if self.label_smoothing_factor and loss.predicts_label_sets:
            raise ValueError(
                f"label_smoothing_factor: expected 0 for loss {self.loss}, which maps a smoothed "
                "target to its nearest label set"
            )
        if self.rdrop_alpha and not loss.has_divergence:
            raise ValueError(
                f"rdrop_alpha: needs a loss with a divergence ({losses_with('has_divergence')}, "
                f"default hyper-parameters); expected 0 for loss {self._rendered_loss}"
            )
        if self.large_label_space:
            self._check_large_label_space(loss)
        if self.early_stopping_patience and not self.load_best_model_at_end:
            raise ValueError("early_stopping_patience: needs load_best_model_at_end true")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                limits = f"{low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
                raise ValueError(f"{name}: expected {limits}, got {value:g}")
        # TrainingArguments accepts bf16 on a CPU only together with use_cpu.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        if self.bf16 is None:
            self.bf16 = not self.fp16 and has_bfloat16(self.use_cpu)
        super().__post_init__()  # type: ignore[no-untyped-call]

    @property
    def effective_head_learning_rate(self) -> float:
        """Learning rate of the head: ``head_learning_rate``, or ten times ``learning_rate``."""
        if self.head_learning_rate is None:
            return HEAD_RATE_RATIO * self.learning_rate
        return self.head_learning_rate

    @property
    def _rendered_loss(self) -> str:
        return render_loss(self.loss, self.loss_kwargs)  # type: ignore[arg-type]  # a mapping now

    def _check_large_label_space(self, loss: MultiLabelLoss) -> None:
        if not loss.supports_large_label_space:
            names = losses_with("supports_large_label_space")
            defaults = " with default hyper-parameters" * bool(self.loss_kwargs)
            raise ValueError(
                f"large_label_space: expected the loss {names}{defaults}, got {self._rendered_loss}"
            )
        for name in REGULARISERS:
            if getattr(self, name):
                raise ValueError(
                    f"large_label_space: expected {name} 0 (labels are hard and logits never "
                    f"held), got {getattr(self, name):g}"
                )


def _as_mapping(given: Any) -> dict[str, Any]:
    """Return a mapping that is given as such or as JSON."""
    value = given or {}
    if isinstance(given, str):
        try:
            value = json.loads(given)
        except ValueError:
            value = given
    if not isinstance(value, dict):
        raise ValueError(
            f'loss_kwargs: expected names and values, such as {{"gamma": 1.0}}, got {given!r:.80}'
        )
    return value


def has_bfloat16(use_cpu: bool) -> bool:
    """Whether the CPU (``use_cpu``), or else the accelerator, computes bfloat16 natively."""
    if use_cpu:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def check_evaluation_options(arguments: Any) -> None:
    """Refuse options that hand metrics something other than all logits in one array."""
    if not getattr(arguments, "eval_do_concat_batches", True):
        raise ValueError("eval_do_concat_batches: expected true, or compute_metrics of your own")
    if getattr(arguments, "batch_eval_metrics", False):
        raise ValueError("batch_eval_metrics: expected false, or compute_metrics of your own")


def without_label_smoothing(arguments: Any) -> Any:
    """Return arguments for transformers, which would warn that it cannot smooth several labels."""
    if not getattr(arguments, "label_smoothing_factor", 0.0):
        return arguments
    arguments = copy.copy(arguments)
    arguments.label_smoothing_factor = 0.0
    return arguments

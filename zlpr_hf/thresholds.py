"""Decisions and scores: a label is predicted when its logit is above zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.errors import InputError
from zlpr_hf.zlpr_config import ZLPRConfig

if TYPE_CHECKING:
    from torch import nn

MAX_LOGIT_THRESHOLD = 1e4
"""Finite, so that subtracting it keeps the order of logits; beyond it, sigmoid is 0 or 1. Its
negative is the logit of all labels of a text without content."""


def move_logits(
    logits: Any, offsets: Sequence[float] | float = 0.0, temperature: float | None = None
) -> NDArray[np.float32]:
    """Return logits after offsets and a temperature; those of texts without content stay.

    Example:
        >>> move_logits([[1.0, -1e4]], 0.5, 2.0).tolist()
        [[0.25, -10000.0]]
    """
    values = np.asarray(logits, np.float32)
    moved = (values - np.asarray(offsets, np.float32)) / np.float32(temperature or 1.0)
    kept: NDArray[np.float32] = np.where(values <= -MAX_LOGIT_THRESHOLD, values, moved)
    return kept


def refuse_nan(logits: Any, *, texts: Sequence[Any] = ()) -> None:
    """Refuse logits ``(N, L)`` with NaN, which no threshold separates; quote the first text.

    Raises:
        InputError: If a logit is NaN.
    """
    rows = np.isnan(np.atleast_2d(logits)).any(-1)
    if rows.any():
        first = int(rows.argmax())
        text = f" (first {' / '.join(texts[first])!r:.60})" if len(texts) else f" (first {first})"
        raise InputError(
            f"the model's logits are NaN for {rows.sum()} of {rows.size} rows{text}; its weights "
            "are broken: use another checkpoint, or train it again with a lower learning_rate"
        )


def decide(logits: Any) -> NDArray[np.bool_]:
    """Return which labels are predicted: those with a logit above zero.

    Raises:
        InputError: If a logit is NaN.

    Example:
        >>> decide(np.array([0.3, 0.0, -2.0])).tolist()
        [True, False, False]
    """
    refuse_nan(logits)
    return np.asarray(logits) > 0


def have_content(logits: Any) -> NDArray[np.bool_]:
    """Return which rows of logits ``(..., L)`` are of texts with content, ``(...)``."""
    found: NDArray[np.bool_] = np.any(np.asarray(logits) > -MAX_LOGIT_THRESHOLD, axis=-1)
    return found


def rank_labels(margins: Any) -> NDArray[np.intp]:
    """Return the rank of each label in its row, ``(..., L)``, from 0 for the highest margin."""
    return np.argsort(np.argsort(-np.asarray(margins), axis=-1, kind="stable"), axis=-1)


@dataclass(frozen=True)
class Thresholds:
    """Decision rule: ``logit > offset``, then limits on the number of labels per text.

    Args:
        offsets: One number per label, or empty for zero everywhere (default).
        min_labels: Minimum number of labels; the highest-scoring ones are added (default: 0).
        max_labels: Maximum number of labels; the highest-scoring ones stay (default: no limit).

    Raises:
        ValueError: If the limits contradict each other.

    Example:
        >>> Thresholds().apply(np.array([[2.0, -1.0], [-1.0, -2.0]])).tolist()
        [[True, False], [False, False]]
        >>> Thresholds(min_labels=1).apply(np.array([[-1.0, -2.0]])).tolist()
        [[True, False]]
    """

    offsets: tuple[float, ...] = ()
    min_labels: int = 0
    max_labels: int | None = None

    def __post_init__(self) -> None:
        if self.min_labels < 0 or (
            self.max_labels is not None and self.max_labels < max(1, self.min_labels)
        ):
            raise ValueError(
                "expected 0 <= min_labels <= max_labels and max_labels >= 1, "
                f"got {self.min_labels} and {self.max_labels}"
            )

    def apply(self, logits: Any) -> NDArray[np.bool_]:
        """Return which labels are predicted, ``(N, L)``, from logits ``(N, L)`` without NaN.

        A text without content has none.
        """
        margins = np.asarray(logits, dtype=np.float64)
        if self.offsets:
            margins = margins - np.asarray(self.offsets)
        predictions = decide(margins)
        if self.min_labels or self.max_labels is not None:
            ranks = rank_labels(margins)
            predictions |= ranks < self.min_labels
            if self.max_labels is not None:
                predictions &= ranks < self.max_labels
        return predictions & have_content(logits)[..., None]

    def to_config(self) -> dict[str, Any]:
        """Return a plain mapping for the ``zlpr`` entry of ``config.json``."""
        return asdict(self) | {"offsets": list(self.offsets)}

    @classmethod
    def from_config(cls, config: Any) -> Thresholds:
        """Read the thresholds of a checkpoint's configuration; zero if it has none."""
        stored = dict(ZLPRConfig.read(config).thresholds)
        return cls(**stored | {"offsets": tuple(stored["offsets"])}) if stored else cls()

    def fold_into(
        self, head: nn.Linear, config: Any, *, temperature: float | None = None
    ) -> Thresholds:
        """Subtract the offsets from the bias of a head, so that the threshold is zero again.

        Afterwards every consumer, including a stock pipeline, decides as these thresholds did.
        Changes ``head`` and ``config`` in place. Limits on the number of labels cannot be folded:
        they are returned, and stored in the configuration.

        Args:
            head: The last linear layer.
            config: The configuration of its model.
            temperature: Divides weight and bias after the offsets, which makes ``sigmoid(logit)``
                the calibrated score and changes no decision (default: None, the scores stay).
                The configuration records the product of all temperatures.

        Raises:
            InputError: If there are offsets and the head has no bias.
        """
        if any(self.offsets):
            if head.bias is None:
                raise InputError(
                    f"offsets: the head of {config.model_type} has no bias to hold them; "
                    "Classifier.save adds one"
                )
            head.bias.data.sub_(_spread(self.offsets, head.bias.data))
            ZLPRConfig.update(config, guarantee={})  # it was made for other decisions
        if temperature is not None:
            scale_head(head, 1 / temperature)
            folded = (ZLPRConfig.read(config).temperature or 1.0) * temperature
            ZLPRConfig.update(config, temperature=folded)
        rest = Thresholds((), self.min_labels, self.max_labels)
        ZLPRConfig.update(config, thresholds=rest.to_config() if rest != Thresholds() else {})
        return rest


def _spread(values: Sequence[float], parameter: Any) -> Any:
    """Return numbers as a tensor like a parameter, which FSDP may spread over processes."""
    if not hasattr(parameter, "device_mesh"):
        return parameter.new_tensor(values)
    from torch.distributed.tensor import distribute_tensor

    whole = parameter.to_local().new_tensor(values)
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements)


def scale_head(head: nn.Linear, factor: float) -> None:
    """Multiply weight and bias, and with them all logits of a linear layer, by a factor."""
    for parameter in head.parameters(recurse=False):
        parameter.data.mul_(factor)


def logit_threshold(threshold: float) -> float:
    """Return the logit whose score, ``sigmoid(logit)``, is a threshold from 0 to 1.

    Example:
        >>> logit_threshold(0.5)
        0.0
    """
    if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise InputError(f"threshold: expected a score from 0 to 1, got {threshold!r}")
    with np.errstate(divide="ignore"):
        cut = np.log(threshold) - np.log1p(-threshold) if threshold < 1 else np.inf
    return float(np.clip(cut, -MAX_LOGIT_THRESHOLD, MAX_LOGIT_THRESHOLD))


def compute_scores(logits: Any) -> NDArray[np.float64]:
    """Return scores, ``sigmoid(logit)``, in float64; 0.5 where the logit is zero.

    Example:
        >>> compute_scores([0.0, -1e4]).tolist()
        [0.5, 0.0]
    """
    values = np.asarray(logits, dtype=np.float64)
    with np.errstate(over="ignore"):
        scores: NDArray[np.float64] = 1 / (1 + np.exp(-values))
    return scores

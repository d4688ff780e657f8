"""The ``zlpr`` entry of ``config.json``; no other module reads or writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class ZLPRConfig:
    """How a model was trained and how it decides, beyond the fields of transformers.

    Args:
        loss: Name in :data:`zlpr_hf.LOSSES`; None if the model was not trained here.
        loss_kwargs: Hyper-parameters of the loss that differ from its defaults.
        pooling: ``first`` or ``mean``; None if unknown.
        labels: Label names of a powerset model, whose outputs are label sets.
        label_sets: Label ids of each output of a powerset model.
        thresholds: Fields of :class:`zlpr_hf.Thresholds`; empty for the plain rule ``logit > 0``.
        temperature: The temperature by which weights and bias of the head were divided at the end
            of training, so that ``sigmoid(logit)`` is calibrated; information, never applied when
            a model is loaded. None if no temperature was fitted.
        head_bias: Name of a bias that was added to the head, such as ``score.bias``, and that
            classes of transformers do not load; None for most models.
        calibration: Fields of :class:`zlpr_hf.metrics.calibration.Calibration`, measured on the
            test split; empty if unknown.
        guarantee: Fields of :class:`zlpr_hf.metrics.guarantee.Guarantee`, whose offsets are part
            of the bias; information, never applied when a model is loaded. Empty without one.
        long_texts: How texts longer than those of training are read: ``cut``, ``mean`` or ``max``;
            None if the model was not evaluated here.
        data: Options that read the training data, such as ``text_column``; see
            :func:`zlpr_hf.workflows.arguments.reading_options`.
    """

    loss: str | None = None
    loss_kwargs: Mapping[str, Any] = field(default_factory=dict)
    pooling: str | None = None
    labels: Sequence[str] = ()
    label_sets: Sequence[Sequence[int]] = ()
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    temperature: float | None = None
    head_bias: str | None = None
    calibration: Mapping[str, Any] = field(default_factory=dict)
    guarantee: Mapping[str, Any] = field(default_factory=dict)
    long_texts: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, config: Any) -> ZLPRConfig:
        """Read the entry of a ``PretrainedConfig``; defaults if missing, unknown keys ignored.

        Example:
            >>> from types import SimpleNamespace
            >>> ZLPRConfig.read(SimpleNamespace(zlpr={"loss": "bce"})).loss
            'bce'
        """
        stored: Mapping[str, Any] = getattr(config, "zlpr", None) or {}
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})

    def write(self, config: Any) -> None:
        """Set the entry of a ``PretrainedConfig``, without fields at their default."""
        config.zlpr = {name: value for name, value in asdict(self).items() if value}

    def render_bias(self) -> str | None:
        """Return a line on a bias of the head that classes of transformers do not load, or None."""
        if self.head_bias is None:
            return None
        return (
            f"The head has an added bias, {self.head_bias}, which transformers does not load: "
            "stock pipelines and other servers decide differently. Serve this model with zlpr_hf, "
            "or as ONNX (zlpr export)"
        )

    @classmethod
    def update(cls, config: Any, **changes: Any) -> None:
        """Change some fields of the entry of a ``PretrainedConfig`` and keep the others."""
        replace(cls.read(config), **changes).write(config)

"""Label smoothing for multi-label targets, in three modes."""

from typing import Literal, get_args

import torch
from torch import Tensor

from zlpr_hf.labels import known_mask

SmoothingMode = Literal["uniform", "mass_preserving", "positives"]
SMOOTHING_MODES: tuple[str, ...] = get_args(SmoothingMode)


def smooth_targets(
    targets: Tensor, factor: float, *, mode: SmoothingMode = "mass_preserving"
) -> Tensor:
    r"""Move targets away from 0 and 1, for training only.

    With ``e`` the factor, ``L`` the number of known labels and ``k`` the sum of an example's
    targets, and with the optimum of ZLPR at ``s = logit(t) / 2``:

    * ``uniform``: :math:`t (1 - e) + e / 2`. Logits stop at :math:`\pm \frac12 \log \frac{2-e}{e}`
      for any ``L``. Each negative label weighs :math:`\sqrt{t (1-t)} \approx \sqrt{e/2}` in both
      sums of the loss, together :math:`L \sqrt{e/2}`: with many labels, the share of the positive
      ones in the gradient falls as ``1/L``. For tens of labels, not for thousands.
    * ``mass_preserving``: :math:`t (1 - e) + e k / L`. The expected number of labels stays ``k``.
      Negative logits stop near :math:`\frac12 \log \frac{e k}{L}`, ever lower as ``L`` grows, and
      weigh about :math:`\sqrt{e k L}` together: a square root milder than ``uniform``.
    * ``positives``: :math:`t (1 - e)`. Positive logits stop at :math:`\frac12 \log \frac{1-e}{e}`,
      negative ones are free to fall, independently of ``L``. For labels that annotators give too
      often.

    If labels are certain, no mode moves decisions at zero as long as the smoothed targets stay on
    their side of 1/2. If they are uncertain, a smoothed model predicts fewer labels at zero: see
    ``docs/comparison.md``.

    Args:
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label, which stays as it is.
        factor: ``e`` in [0, 1); 0 changes nothing.
        mode: ``mass_preserving`` (default), ``uniform`` or ``positives``.

    Shape:
        targets: ``(..., L)``. Result: ``(..., L)``.

    Returns:
        Floating targets.

    Raises:
        ValueError: If the factor is out of range or the mode is unknown.

    References:
        Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception Architecture for Computer
        Vision, 2016, for one label per example.

    Example:
        >>> smooth_targets(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 0.2)
        tensor([[0.8500, 0.0500, 0.0500, 0.0500]])
    """
    check_smoothing(factor, mode)
    if not targets.is_floating_point():
        targets = targets.to(torch.float32)
    known = known_mask(targets)
    if mode == "uniform":
        level: Tensor | float = 0.5
    elif mode == "mass_preserving":
        mass = torch.where(known, targets, 0.0).sum(-1, keepdim=True)
        level = mass / known.sum(-1, keepdim=True).clamp(min=1)
    else:
        level = 0.0
    return torch.where(known, targets * (1 - factor) + factor * level, targets)


def check_smoothing(factor: float, mode: str) -> None:
    """Refuse a factor outside [0, 1) and an unknown mode."""
    if not 0 <= factor < 1:
        raise ValueError(f"label_smoothing_factor: expected a number in [0, 1), got {factor:g}")
    if mode not in SMOOTHING_MODES:
        raise ValueError(
            f"label_smoothing_mode: expected one of {', '.join(SMOOTHING_MODES)}, got {mode!r}"
        )

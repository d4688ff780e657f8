"""Zero as a decision: the probability of a label at which a loss puts its logit to 0."""

import pytest
import torch

from tests.command_lines import REPOSITORY
from tests.losses.functions import FUNCTIONS
from zlpr_hf.losses.registry import LOSSES


def zero_of(name: str) -> float:
    """Probability ``t`` for which the expected loss of a single label has its slope 0 at zero."""
    slopes = []
    for target in (1.0, 0.0):
        logit = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
        FUNCTIONS[name](logit, torch.tensor([[target]])).backward()
        assert logit.grad is not None
        slopes.append(logit.grad.item())
    up, down = slopes
    assert up < 0 < down
    return down / (down - up)


def documented() -> dict[str, str]:
    """The column "zero is at" of the table of losses."""
    lines = (REPOSITORY / "docs" / "losses.md").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if "| zero is at |" in line) + 2
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines[start : lines.index("", start)]
    ]
    return {row[0].strip("`"): row[3] for row in rows}


def test_every_loss_is_documented() -> None:
    assert list(documented()) == list(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_documented_zero(name: str) -> None:
    shown = documented()[name]
    if shown == "none":
        assert not LOSSES[name].decides_at_zero
    elif shown == "frequency":
        assert LOSSES[name].needs_train_targets
    elif shown == "half its F1":  # see test_batch_wise.py
        assert name == "sigmoid_f1"
    else:
        assert f"{zero_of(name):.2f}" == shown

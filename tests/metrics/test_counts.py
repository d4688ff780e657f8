"""Counts against a double loop over cells."""

import numpy as np
import pytest

from zlpr_hf.metrics.counts import Counts, ratio


def test_ratio_of_zero_to_zero_is_zero() -> None:
    assert ratio([1, 0, 0], [2, 0, 3]).tolist() == [0.5, 0, 0]


@pytest.mark.parametrize("axis", [0, 1])
def test_counts_are_those_of_a_loop(axis: int) -> None:
    rng = np.random.default_rng(0)
    decided, present = rng.random((2, 6, 4)) < 0.4
    decided[:, 1] = present[:, 1] = False
    decided[2] = present[2] = False
    counts = Counts.from_decisions(decided, present, axis)
    pairs = zip(decided.swapaxes(0, 1 - axis), present.swapaxes(0, 1 - axis), strict=True)
    for index, (guess, true) in enumerate(pairs):
        tp = sum(bool(a and b) for a, b in zip(guess, true, strict=True))
        predicted, support = int(sum(guess)), int(sum(true))
        assert counts.precision[index] == (tp / predicted if predicted else 0)
        assert counts.recall[index] == (tp / support if support else 0)
        union = predicted + support - tp
        assert counts.jaccard[index] == (tp / union if union else 0)
        assert counts.f1[index] == (2 * tp / (predicted + support) if predicted + support else 0)
        assert counts.wrong[index] == union - tp
    total = counts.total()
    assert total.f1.tolist() == [2 * (decided & present).sum() / (decided.sum() + present.sum())]
    assert counts.averages("macro")["f1_macro"] == counts.f1.mean()

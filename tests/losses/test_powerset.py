"""Label powerset: its sets, its scores of labels, sets that training does not have."""

import numpy as np
import pytest
import torch

from tests.losses.functions import logits_of
from zlpr_hf import InputError, LabelSets, build_loss, powerset_label_scores, powerset_loss

SETS = LabelSets(((0,), (0, 2), (), (1, 2)), 3)


def test_label_scores_are_above_zero_in_the_best_set() -> None:
    logits, members = logits_of((50, 4)), torch.from_numpy(SETS.members())
    scores = powerset_label_scores(logits, members)
    assert torch.equal(scores > 0, members[logits.argmax(1)])
    for row, z in zip(scores, logits, strict=True):
        for label in range(3):
            inside = max(v for v, s in zip(z, SETS.sets, strict=True) if label in s)
            outside = max(v for v, s in zip(z, SETS.sets, strict=True) if label not in s)
            assert row[label] == inside - outside


def test_label_in_all_sets_or_in_none() -> None:
    members = torch.tensor([[True, False, True], [True, False, False]])
    scores = powerset_label_scores(logits_of((9, 2)), members)
    assert (scores[:, 0] > 0).all()
    assert (scores[:, 1] < 0).all()


def test_unseen_set_uses_the_nearest_sets() -> None:
    logits = logits_of((1, 4))
    share = logits.softmax(1)[0]
    loss = powerset_loss(logits, torch.tensor([[1, 1, 1]]), torch.from_numpy(SETS.members()))
    torch.testing.assert_close(loss, -(share[1] + share[3]).log())
    assert SETS.count_unseen(np.array([[1, 1, 1], [1, 0, 0]])) == 1


def test_unknown_labels_make_no_sets_and_match_any() -> None:
    targets = np.array([[1, 0, 0], [1, 0, 1], [1, np.nan, 0], [np.nan] * 3, [0, 1, -100]])
    assert LabelSets.fit(targets).sets == ((0,), (0, 2))
    assert LabelSets.fit(targets).count_unseen(targets) == 1  # the last: none lacks label 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    logits, targets = logits_of((3, 4)).to(dtype), torch.eye(3)
    value = powerset_loss(logits, targets, torch.from_numpy(SETS.members()))
    assert value.dtype == torch.float32
    torch.testing.assert_close(
        value, powerset_loss(logits.float(), targets, torch.from_numpy(SETS.members()))
    )


def test_fit_orders_by_frequency_and_refuses_thousands() -> None:
    targets = np.array([[0, 1], [1, 0], [0, 1], [0, 0.4]])
    assert LabelSets.fit(targets).sets == ((1,), (), (0,))
    many = ((np.arange(4096)[:, None] >> np.arange(12)) & 1).astype(float)
    with pytest.raises(InputError, match=r"2 to 2,000 different sets .* got 4,096"):
        build_loss("powerset", train_targets=many)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"same shape.*\(2, 3\), \(2, 3\) and \(4, 3\)"):
        powerset_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.from_numpy(SETS.members()))

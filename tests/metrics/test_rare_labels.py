"""Offsets of rare labels: which labels get one, and its size."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, f1_score

from zlpr_hf.metrics import rare_labels
from zlpr_hf.metrics.rare_labels import STRENGTHS, count_frequencies, fit_rare_label_offsets

ROWS = 2000


def long_tail(shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that rank four labels well; those of the two rare ones are too low by ``shift``."""
    generator = np.random.default_rng(0)
    frequencies = np.array([0.5, 0.3, 0.03, 0.02])
    targets = (generator.random((ROWS, 4)) < frequencies).astype(float)
    logits = 4 * targets - 2 + generator.normal(size=targets.shape) * 1.2
    logits[:, 2:] -= shift
    return logits, targets


def temperature_by_hand(logits: np.ndarray, targets: np.ndarray) -> float:
    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def test_only_rare_labels_that_are_seldom_predicted_get_an_offset() -> None:
    logits, targets = long_tail(3.0)
    before = f1_score(targets[:, 2:], (logits > 0)[:, 2:], average="macro")
    offsets = np.array(fit_rare_label_offsets(logits, targets, targets).offsets)
    assert list(offsets[:2]) == [0, 0]
    assert (offsets[2:] < 0).all()
    after = f1_score(targets[:, 2:], (logits - offsets > 0)[:, 2:], average="macro")
    assert after > before + 0.2


def test_labels_that_a_limit_adds_are_predicted_labels() -> None:
    """A rare label that is added wherever it leads needs no offset."""
    logits, targets = long_tail(3.0)
    rare = targets[:, 2] > 0
    targets[rare] = [0, 0, 1, 0]
    logits[rare] = [-3, -3, -1, -4]
    assert fit_rare_label_offsets(logits, targets, targets).offsets[2] < 0
    found = fit_rare_label_offsets(logits, targets, targets, min_labels=1)
    assert found.min_labels == 1
    assert (found.offsets or (0, 0, 0))[2] == 0


@pytest.mark.parametrize("min_labels", [0, 1])
def test_texts_without_content_do_not_count(min_labels: int) -> None:
    logits, targets = long_tail(3.0)
    logits[:, 0], targets[:, 0] = 5, 1  # the label that the limit would add
    alone = fit_rare_label_offsets(logits, targets, targets, min_labels=min_labels)
    assert any(alone.offsets)
    blank = np.full((200, 4), -1e4), np.zeros((200, 4))
    given = (np.concatenate(pair) for pair in zip((logits, targets), blank, strict=True))
    assert fit_rare_label_offsets(*given, targets, min_labels=min_labels) == alone


def test_offsets_are_a_share_of_the_log_frequency_ratio() -> None:
    logits, targets = long_tail(3.0)
    offsets = np.array(fit_rare_label_offsets(logits, targets, targets).offsets)
    frequencies = targets.mean(0)
    typical = (frequencies**2).sum() / frequencies.sum()
    unit = temperature_by_hand(logits, targets) * np.log(typical / frequencies)
    shares = -offsets[2:] / unit[2:]
    assert shares[0] == pytest.approx(shares[1], rel=1e-3)
    values = []
    for strength in STRENGTHS:
        decided = logits + strength * np.array([0, 0, *unit[2:]]) > 0
        macro = f1_score(targets, decided, average="macro", zero_division=0)
        micro = f1_score(targets, decided, average="micro")
        values.append((macro + micro + accuracy_score(targets, decided)) / 3)
    # The temperature here has no smoothed targets.
    assert shares[0] == pytest.approx(STRENGTHS[int(np.argmax(values))], rel=0.1)
    assert shares[0] > 0.1


def test_a_model_that_predicts_its_rare_labels_stays_as_it_is() -> None:
    logits, targets = long_tail(0.0)
    assert fit_rare_label_offsets(logits, targets, targets).offsets == ()


def test_offsets_that_do_not_help_are_left_out() -> None:
    logits, targets = long_tail(3.0)
    logits[:, 2:] = -9 - targets[:, 2:]  # ranked the wrong way round
    assert fit_rare_label_offsets(logits, targets, targets).offsets == ()


def test_unknown_targets_do_not_count() -> None:
    targets = np.array([[1.0, -100], [0, 0], [np.nan, 1], [-100, 0]])
    assert count_frequencies(targets).tolist() == [1 / 2, 1 / 3]
    assert count_frequencies(np.zeros((10, 1))).tolist() == [0.05]


def test_offsets_leave_the_scores_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal([0] * 2 + [-3.5] * 6, [2] * 2 + [1.3] * 6, size=(ROWS, 8))
    targets = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    monkeypatch.setattr(rare_labels, "MAX_ERROR", 1.0)
    free = np.array(fit_rare_label_offsets(logits, targets, targets).offsets)
    assert error_by_hand(logits - free, targets) > 0.03
    monkeypatch.setattr(rare_labels, "MAX_ERROR", 0.03)
    bound = np.array(fit_rare_label_offsets(logits, targets, targets).offsets or [0.0] * 8)
    assert error_by_hand(logits - bound, targets) <= 0.031
    assert free.min() < bound.min() <= 0


def error_by_hand(logits: np.ndarray, targets: np.ndarray) -> float:
    scores = 1 / (1 + np.exp(-logits / temperature_by_hand(logits, targets)))
    bins = np.minimum((scores * 15).astype(int), 14)
    return sum(
        abs(scores[bins == each].mean() - targets[bins == each].mean()) * (bins == each).mean()
        for each in np.unique(bins)
    )

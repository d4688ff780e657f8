"""Wrong cells: planted errors in synthetic logits are found, unknown cells stay out."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from zlpr_hf.metrics.cell_errors import find_cell_errors

ROWS, LABELS = 3000, 6


def make_noise(missing: float, superfluous: float, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return logits, given tags and true tags of labels with 3 to 30 % of the rows."""
    generator = np.random.default_rng(seed)
    shares = np.linspace(0.03, 0.3, LABELS)
    truth = generator.random((ROWS, LABELS)) < shares
    logits = generator.normal(np.where(truth, 2.5, -2.5), 1.5)
    lost = truth & (generator.random(truth.shape) < missing)
    invented = ~truth & (generator.random(truth.shape) < superfluous * shares)
    return logits, (truth & ~lost) | invented, truth


@pytest.mark.parametrize(("missing", "superfluous"), [(0.2, 0.2), (0.3, 0.0), (0.0, 0.3)])
def test_planted_errors_are_found(missing: float, superfluous: float) -> None:
    logits, given, truth = make_noise(missing, superfluous)
    wrong = given != truth
    errors = find_cell_errors(logits, given.astype(np.float32))
    found = average_precision_score(wrong.ravel(), errors.probabilities.ravel())
    assert found > 0.7
    assert errors.probabilities.sum() == pytest.approx(wrong.sum(), rel=0.2)


def test_clean_tags_have_few_suspects() -> None:
    logits, given, _ = make_noise(0, 0)
    errors = find_cell_errors(logits, given.astype(np.float32))
    assert errors.probabilities.sum() < 0.06 * given.sum()


def test_missing_rates_of_labels_are_told_apart() -> None:
    logits, given, _ = make_noise(0, 0)
    generator = np.random.default_rng(1)
    given[:, 5] &= generator.random(ROWS) > 0.4
    errors = find_cell_errors(logits, given.astype(np.float32))
    assert errors.missing_rates.argmax() == 5
    assert 0.25 < errors.missing_rates[5] < 0.45


@pytest.mark.parametrize("unknown", [-100.0, np.nan])
def test_unknown_cells_are_neither_judged_nor_counted(unknown: float) -> None:
    logits, given, _ = make_noise(0.2, 0.2)
    targets = given.astype(np.float32)
    targets[:50] = unknown
    errors = find_cell_errors(logits, targets)
    assert np.isnan(errors.probabilities[:50]).all()
    assert not errors.missing[:50].any()
    rest = find_cell_errors(logits[50:], targets[50:])
    np.testing.assert_allclose(errors.probabilities[50:], rest.probabilities, atol=1e-9)


@pytest.mark.parametrize("logits", [1e4, -1e4, 0.0])
def test_extreme_logits_and_labels_without_tags_are_finite(logits: float) -> None:
    targets = np.zeros((40, 3), np.float32)
    targets[:5, 0], targets[:, 1] = 1, 1
    errors = find_cell_errors(np.full((40, 3), logits, np.float32), targets)
    assert np.isfinite(errors.probabilities).all()
    assert ((errors.probabilities >= 0) & (errors.probabilities <= 1)).all()

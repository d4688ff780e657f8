"""The benchmark of speed against F1: rounds cover all texts, and near texts are read again."""

import numpy as np
import pytest

from benchmarks.curve_tables import read_results, table
from benchmarks.speed_curve import AGAIN, NEAR, ROUNDS, STOCK, Logits, Texts, measure, summarize

EXACT = np.array([[3.0, -3.0], [0.1, -2.0], [2.0, -0.2], [-4.0, 5.0], [-0.1, 1.0]], np.float32)
ERROR = np.float32(0.3)


def exact(texts: Texts) -> Logits:
    return EXACT[[int(text) for (text,) in texts]]


def rough(texts: Texts) -> Logits:
    return exact(texts) + ERROR


def test_near_texts_are_computed_again() -> None:
    sides = {STOCK: exact, "ONNX, float32": exact, "ONNX, quantize_dynamic": rough}
    texts = [(str(row),) for row in range(len(EXACT))]
    *_, measured = measure(sides, texts)
    assert list(measured) == [*sides, "ONNX, quantize_dynamic" + AGAIN]
    assert all(len(seconds) == ROUNDS for seconds, _ in measured.values())
    found = {side: logits for side, (_, logits) in measured.items()}
    near = (np.abs(EXACT + ERROR) < NEAR).any(1)
    assert 0 < near.sum() < len(EXACT)
    expected = np.where(near[:, None], EXACT, EXACT + ERROR)
    np.testing.assert_array_equal(found["ONNX, quantize_dynamic" + AGAIN], expected)
    for seconds, _ in measured.values():
        seconds[:] = [1.0] * len(seconds)
    summary = summarize(measured, (EXACT > 0).astype(np.float32))
    assert summary["ONNX, quantize_dynamic"]["equal_label_sets"] == pytest.approx(3 / 5)
    assert summary["ONNX, quantize_dynamic" + AGAIN]["f1_micro"] == 1.0


def test_every_way_is_a_row_of_the_table() -> None:
    ways = [side for side in read_results() if not side.startswith("student")]
    assert [line.split(" | ")[0].strip("| ") for line in table().splitlines()[2:]] == ways

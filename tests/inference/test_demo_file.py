"""The first rows of a file, labelled for the demo page."""

import csv
from pathlib import Path
from typing import Any

import pytest

from zlpr_hf import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.demo_file import MAX_ROWS, label_first_rows, table_rows
from zlpr_hf.zlpr_config import ZLPRConfig


@pytest.fixture(scope="module")
def classifier(finished: tuple[Path, Any]) -> Classifier:
    return Classifier.load(str(finished[0]))


def write(path: Path, header: list[str], rows: list[list[str]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def test_column_of_the_training_is_read_first(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "d.csv", ["body", "text", "notes"], [["red", "blue", "long " * 9]])
    assert label_first_rows(classifier, path, tmp_path).column == "text"
    ZLPRConfig.update(classifier.model.config, data={"text_column": "body"})
    monkeypatch.setattr(classifier.model.config, "zlpr", classifier.model.config.zlpr)
    assert label_first_rows(classifier, path, tmp_path).column == "body"
    assert label_first_rows(classifier, path, tmp_path, column="notes").column == "notes"
    other = write(tmp_path / "e.csv", ["id", "notes"], [["1", "red sky"]])
    found = label_first_rows(classifier, other, tmp_path)
    assert (found.column, found.columns) == ("notes", ["id", "notes"])


def test_labels_equal_those_of_the_classifier(classifier: Classifier, tmp_path: Path) -> None:
    texts = [f"{word} sky {row}" for row in range(60) for word in ("red", "blue")]
    path = write(tmp_path / "d.csv", ["text"], [[text] for text in texts])
    for threshold in (0.5, 0.1):
        found = label_first_rows(classifier, path, tmp_path, threshold=threshold)
        assert (len(found.rows), found.more, found.bad) == (MAX_ROWS, True, [])
        logits = classifier.compute_logits(texts[:MAX_ROWS])
        decided = classifier.decide(logits, threshold=threshold)
        expected = [
            [each["label"] for each in row] for row in classifier.label_sets_of(logits, decided)
        ]
        assert [[name for name, _ in row["labels"]] for row in table_rows(found)] == expected
        with found.output.open(newline="", encoding="utf-8") as file:
            written = [row["predicted_labels"].split(";") for row in csv.DictReader(file)]
        assert [[name for name in row if name] for row in written] == expected


def test_broken_rows_are_set_aside(classifier: Classifier, tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", ["text", "id"], [["red", "1"], ["red", "2", "3"], ["", "3"]])
    found = label_first_rows(classifier, path, tmp_path)
    assert [row["id"] for row in found.rows] == ["1", "3"]
    assert [each.number for each in found.bad] == [2]
    assert table_rows(found)[1] == {"text": "", "labels": []}
    empty = write(tmp_path / "e.csv", ["text"], [])
    with pytest.raises(InputError, match="no rows"):
        label_first_rows(classifier, empty, tmp_path)

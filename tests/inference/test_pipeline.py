"""The pipeline answers with label sets, always in the same shape."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import transformers
from datasets import Dataset

from zlpr_hf import InputError, load_pipeline, register_pipeline
from zlpr_hf.inference.classifier import Classifier

TEXT = "the red fish and a green bird"


@pytest.fixture(scope="module")
def classify(finished: tuple[Path, Any]) -> Any:
    return load_pipeline(str(finished[0]))


def names(label_set: list[dict[str, Any]]) -> list[str]:
    return [each["label"] for each in label_set]


def test_answer_has_one_label_set_per_text(classify: Any) -> None:
    one = classify(TEXT)
    assert [each["label"] for each in one]
    assert [each["score"] for each in one] == sorted((x["score"] for x in one), reverse=True)
    assert all(set(each) == {"label", "score"} and each["score"] > 0.5 for each in one)
    assert classify([TEXT]) == [one]
    assert [len(row) for row in classify([TEXT, "the", TEXT])] == [
        len(one), len(classify("the")), len(one)
    ]  # fmt: skip
    assert classify([]) == []


def test_decisions_equal_a_stock_pipeline_cut_at_one_half(
    classify: Any, finished: tuple[Path, Any], colour_rows: list[dict[str, Any]]
) -> None:
    texts = [row["text"] for row in colour_rows]
    stock = transformers.pipeline(
        "text-classification", str(finished[0]), top_k=None, truncation=True
    )
    expected = [{x["label"] for x in row if x["score"] > 0.5} for row in stock(texts)]
    assert [{x["label"] for x in row} for row in classify(texts)] == expected


def test_options_of_a_call_take_precedence(classify: Any, finished: tuple[Path, Any]) -> None:
    everything = classify(TEXT, threshold=0)
    assert len(everything) == 3
    assert classify(TEXT, threshold=0, top_k=1) == everything[:1]
    assert classify("the", threshold=1, min_labels=2) == classify("the", threshold=0)[:2]
    always = load_pipeline(str(finished[0]), threshold=0, top_k=2)
    assert always(TEXT) == everything[:2]
    assert always(TEXT, top_k=3) == everything


def test_pairs_and_iterators_are_supported(classify: Any) -> None:
    pair = {"text": "red", "text_pair": "green dog"}
    assert [names(each) for each in classify([pair, pair])] == [names(classify(pair))] * 2
    answers = classify(text for text in [TEXT] * 3)
    assert names(next(answers)) == names(classify(TEXT))
    assert len(list(answers)) == 2


def test_columns_give_lists(classify: Any) -> None:
    texts = [TEXT, "the sea"]
    expected = classify(texts)
    frame = pd.DataFrame({"text": texts})
    columns = [frame["text"], frame["text"].to_numpy(), Dataset.from_pandas(frame)["text"]]
    assert [classify(column) for column in columns] == [expected] * 3
    with pytest.raises(InputError, match='frame\\["text"\\]'):
        classify(frame)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (3, "expected a text, a list or an iterable of texts, got 3"),
        (["a", None], "input 1: expected a text or .*, got None"),
        ([{"text_pair": "a"}], "input 0: expected a text"),
        ([("a", "b")], "input 0: expected a text"),
        (["a", {"text": "a", "text_pair": "b"}], "got both"),
    ],
)
def test_wrong_inputs_are_refused(classify: Any, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        classify(inputs)


def test_unknown_options_are_refused(classify: Any) -> None:
    with pytest.raises(InputError, match="unknown option 'treshold'; expected one of batch_size, "):
        classify(TEXT, treshold=0.3)


def test_transformers_finds_the_registered_task(classify: Any, finished: tuple[Path, Any]) -> None:
    register_pipeline()
    register_pipeline()
    stock = transformers.pipeline("multi-label-classification", model=str(finished[0]))
    assert stock(TEXT) == classify(TEXT)


def test_importing_registers_no_pipeline() -> None:
    code = (
        "import zlpr_hf.inference.pipeline;"
        "from transformers.pipelines import PIPELINE_REGISTRY as registry;"
        "assert 'multi-label-classification' not in registry.get_supported_tasks()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_model_in_training_mode_is_evaluated(finished: tuple[Path, Any], classify: Any) -> None:
    from zlpr_hf.inference.pipeline import MultiLabelClassificationPipeline

    loaded = Classifier.load(str(finished[0]))
    loaded.model.train()  # type: ignore[union-attr]  # as a trainer leaves it: dropout is on
    mine = MultiLabelClassificationPipeline(model=loaded.model, tokenizer=loaded.tokenizer)
    assert mine(TEXT) == classify(TEXT)


@pytest.mark.parametrize("inputs", [("red", "sky"), b"red", pd.DataFrame({"text": ["red"]}), 7])
def test_ambiguous_inputs_are_refused(classify: Any, inputs: Any) -> None:
    with pytest.raises(InputError, match="expected a text, a list or an iterable of texts"):
        classify(inputs)


def test_invalid_unicode_is_refused(classify: Any) -> None:
    with pytest.raises(InputError, match="input 1: not valid Unicode"):
        classify(["red", "\ud800 sky"])


def test_options_are_checked_when_the_pipeline_is_created(finished: tuple[Path, Any]) -> None:
    with pytest.raises(InputError, match="threshold: expected a score from 0 to 1, got 9"):
        load_pipeline(finished[0], threshold=9)
    assert load_pipeline(finished[0], device="cpu")("red sky")

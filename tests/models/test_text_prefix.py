"""A prefix before every text: in the tokenizer, so that every server adds it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
)

from tests.families import save_family
from tests.runs import check_refused, run
from zlpr_hf import Classifier, InputError, load_tokenizer

PREFIX = "the big sea: "
TEXTS = ["red", "a small green dog", "[SEP]"]


@pytest.mark.parametrize("family", ["bert", "roberta", "llama", "qwen3", "modernbert"])
def test_tokenizer_types_the_prefix_wherever_it_is_loaded(family: str, tmp_path: Path) -> None:
    folder = str(save_family(family, tmp_path / "encoder"))
    plain = load_tokenizer(folder)
    with_prefix = load_tokenizer(folder, text_prefix=PREFIX)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "config.json").write_bytes(
        (tmp_path / "encoder/config.json").read_bytes()
    )
    with_prefix.save_pretrained(tmp_path / "saved")
    stock = AutoTokenizer.from_pretrained(tmp_path / "saved")
    rust = Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    rust.encode_special_tokens = True
    for text in TEXTS:
        expected = plain(PREFIX + text)["input_ids"]
        assert with_prefix(text)["input_ids"] == expected
        assert stock(text)["input_ids"] == rust.encode(text).ids == expected
    for name in ("pad_token", "sep_token", "model_max_length", "padding_side", "unk_token"):
        assert getattr(stock, name) == getattr(plain, name)
    assert stock.init_kwargs["text_prefix"] == PREFIX
    assert load_tokenizer(str(tmp_path / "saved"))("red") == with_prefix("red")
    again = load_tokenizer(str(tmp_path / "saved"), text_prefix=PREFIX)
    assert again("red")["input_ids"] == with_prefix("red")["input_ids"]
    other = load_tokenizer(str(tmp_path / "saved"), text_prefix="red: ")
    assert other("sea")["input_ids"] == plain("red: sea")["input_ids"]


def test_class_with_a_normalizer_of_its_own_keeps_the_prefix(
    encoder_dir: Path, tmp_path: Path
) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "sea", "##s", ":", *"abcdef"]
    tokenizer = BertTokenizer(vocab={word: row for row, word in enumerate(words)})
    (tmp_path / "config.json").write_bytes((encoder_dir / "config.json").read_bytes())
    tokenizer.save_pretrained(tmp_path)
    plain = load_tokenizer(str(tmp_path))
    assert isinstance(plain, BertTokenizer)
    found = load_tokenizer(str(tmp_path), text_prefix="Red: ")
    assert found("Seas")["input_ids"] == plain("red: seas")["input_ids"]
    assert found("sea", "sea") == plain("red: sea", "red: sea")


def test_run_trains_and_predicts_with_the_prefix(command: list[str], tmp_path: Path) -> None:
    run(command, tmp_path / "out", "--num_train_epochs=1", f"--text_prefix={PREFIX}")
    found = Classifier.load(tmp_path / "out").compute_logits(TEXTS)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = load_tokenizer(command[0].partition("=")[2])
    with torch.no_grad():
        rows = [model(**tokenizer(PREFIX + text, return_tensors="pt")).logits[0] for text in TEXTS]
    np.testing.assert_allclose(found, torch.stack(rows).numpy(), atol=1e-5)
    assert "big sea" in (tmp_path / "out" / "README.md").read_text()


def test_empty_prefix_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused([*command, "--text_prefix= "], tmp_path / "out", "text_prefix", capsys)


def test_tokenizer_without_a_file_is_refused(tmp_path: Path) -> None:
    from transformers import CanineConfig, CanineTokenizer

    CanineTokenizer().save_pretrained(tmp_path)
    CanineConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="fast tokenizer"):
        load_tokenizer(str(tmp_path), text_prefix=PREFIX)

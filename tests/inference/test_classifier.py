"""Texts to logits and label sets: windows, batches, the decision rule, loading and saving."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.builders import COLOURS, OTHERS
from zlpr_hf import InputError, LabelSets, Thresholds, load_model
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.window_logits import RECOMPUTE_MARGIN
from zlpr_hf.labels import LabelSpace
from zlpr_hf.thresholds import compute_scores
from zlpr_hf.zlpr_config import ZLPRConfig

TEXTS = [("red sky",), ("the sea",), ("a small green dog runs and a blue fish sleeps",), ("big",)]


@pytest.fixture(scope="module")
def classifier(finished: tuple[Path, Any]) -> Classifier:
    return Classifier.load(str(finished[0]))


def one_by_one(folder: Path, texts: list[tuple[str, ...]]) -> np.ndarray[Any, Any]:
    """Logits of a stock model, one text at a time, without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        found = [
            model(**tokenizer(*text, truncation=True, return_tensors="pt")).logits[0]
            for text in texts
        ]
    return torch.stack(found).numpy()


def test_classifier_is_made_from_a_name_or_a_model(
    classifier: Classifier, finished: tuple[Path, Any]
) -> None:
    logits = classifier.compute_logits(TEXTS)
    makes = [
        Classifier(str(finished[0])),
        Classifier(finished[0]),
        Classifier.from_pretrained(finished[0]),
        Classifier(classifier.model, classifier.tokenizer),
    ]
    for made in makes:
        np.testing.assert_array_equal(made.compute_logits(TEXTS), logits)
    with pytest.raises(InputError, match="tokenizer"):
        Classifier(classifier.model)


def test_accelerator_that_the_machine_lacks_is_not_used(
    finished: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_of_the_build(check_available: bool = False) -> torch.device | None:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", name_of_the_build)
    assert Classifier.load(str(finished[0])).model.device == torch.device("cpu")


def test_predict_returns_names(classifier: Classifier) -> None:
    logits = classifier.compute_logits(TEXTS)
    space = classifier.label_space
    assert classifier.predict(TEXTS) == space.decode(classifier.decide(logits))
    assert classifier.predict(TEXTS, threshold=0, long_texts="cut") == [list(space.names)] * 4
    column = pd.Series([text for (text,) in TEXTS])
    assert classifier.predict(column) == classifier.predict(TEXTS)
    for wrong in ("red sky", pd.DataFrame({"text": ["red"]}), ["red", None], [3]):
        with pytest.raises(InputError, match="^texts: expected"):
            classifier.predict(wrong)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_logits_equal_those_of_a_stock_model(
    classifier: Classifier, finished: tuple[Path, Any], batch_size: int
) -> None:
    expected = one_by_one(finished[0], TEXTS)
    found = classifier.compute_logits(TEXTS, batch_size=batch_size)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_windows_cover_a_long_text(classifier: Classifier, finished: tuple[Path, Any]) -> None:
    words = ["sky"] * 40
    words[35] = "red"  # training cut texts at 16 tokens
    text = " ".join(words)
    limit = classifier.tokenizer.model_max_length
    assert limit == 16
    step, inside = limit - 2 - limit // 4, limit - 2
    windows = [
        (" ".join(words[start : start + inside]),)
        for start in range(0, len(words) - inside + step, step)
    ]
    assert windows[-1][0].split()[-1] == words[-1]
    expected = one_by_one(finished[0], windows)
    texts = [(text,), ("blue",)]
    found = {
        how: classifier.compute_logits(texts, long_texts=how) for how in ("max", "mean", "cut")
    }
    np.testing.assert_allclose(found["max"][0], expected.max(0), atol=1e-5)
    np.testing.assert_allclose(found["mean"][0], expected.mean(0), atol=1e-5)
    np.testing.assert_allclose(found["cut"][0], expected[0], atol=1e-5)
    for how in found:
        np.testing.assert_allclose(found[how][1], found["cut"][1], atol=1e-6)
    assert classifier.count_long(texts) == 1


def test_longer_text_of_a_pair_is_read_in_windows(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    long, short = " ".join(["sea"] * 30 + ["red"]), "dog"
    pairs = [(long, short), (short, long), (short, short)]
    logits = classifier.compute_logits(pairs, long_texts="max")
    assert classifier.count_long(pairs) == 2
    cut = classifier.compute_logits(pairs, long_texts="cut")
    assert not np.allclose(logits[:2], cut[:2])
    np.testing.assert_allclose(logits[2], cut[2], atol=1e-6)
    classifier.compute_logits([(long, long)], long_texts="max")
    assert "1 pairs are cut" in caplog.text


def test_decisions_follow_threshold_and_limits(classifier: Classifier) -> None:
    logits = np.array([[2.0, 1.0, -1.0], [-1.0, -2.0, -3.0]])
    assert classifier.decide(logits).tolist() == [[True, True, False], [False] * 3]
    assert classifier.decide(logits, threshold=0).all()
    assert not classifier.decide(logits, threshold=1).any()
    assert classifier.decide(logits, top_k=1).tolist() == [[True, False, False], [False] * 3]
    assert classifier.decide(logits, min_labels=1).tolist()[1] == [True, False, False]
    between = float(compute_scores(1.5))
    assert classifier.decide(logits, threshold=between).tolist()[0] == [True, False, False]
    found = classifier.label_sets_of(logits, classifier.decide(logits, threshold=0))
    assert [each["label"] for each in found[0]] == list(classifier.label_space.names)
    assert found[0][0]["score"] == pytest.approx(1 / (1 + np.exp(-2.0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, "threshold: expected a score from 0 to 1, got 1.5"),
        ({"threshold": float("nan")}, "threshold: expected a score from 0 to 1, got nan"),
        ({"threshold": "0.5"}, "threshold: expected a score from 0 to 1, got '0.5'"),
        ({"top_k": 0}, "top_k: expected 1 or more, got 0"),
        ({"top_k": 1.5}, "top_k: expected 1 or more, got 1.5"),
        ({"min_labels": 4}, "min_labels: expected 0 to 3, got 4"),
        ({"min_labels": -1}, "top_k, min_labels: expected 0 <= min_labels"),
        ({"top_k": 1, "min_labels": 2}, "top_k, min_labels"),
    ],
)
def test_wrong_options_are_refused(classifier: Classifier, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        classifier.decide(np.zeros((1, 3)), **options)


def test_no_texts_give_no_logits(classifier: Classifier) -> None:
    assert classifier.compute_logits([]).shape == (0, 3)
    with pytest.raises(InputError, match="long_texts: expected cut or mean or max, got 'min'"):
        classifier.compute_logits(TEXTS, long_texts="min")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch_size: expected 1 or more, got 0"):
        classifier.compute_logits(TEXTS, batch_size=0)


def test_saved_offsets_are_folded_into_the_bias(classifier: Classifier, tmp_path: Path) -> None:
    offsets = Thresholds((1.5, -0.5, 0.25))
    classifier.save(tmp_path / "tuned", offsets)
    again = Classifier.load(str(tmp_path / "tuned"))
    plain = classifier.compute_logits(TEXTS)
    np.testing.assert_allclose(
        again.compute_logits(TEXTS), plain - np.array(offsets.offsets), atol=1e-5
    )
    np.testing.assert_array_equal(again.decide(again.compute_logits(TEXTS)), offsets.apply(plain))
    stored = json.loads((tmp_path / "tuned" / "config.json").read_text())["zlpr"]
    assert "thresholds" not in stored
    assert classifier.compute_logits(TEXTS).tolist() == plain.tolist()  # not changed itself


def test_offsets_in_the_config_are_folded_when_loading(
    classifier: Classifier, finished: tuple[Path, Any], tmp_path: Path
) -> None:
    """Earlier releases could store offsets in config.json."""
    folder, offsets = tmp_path / "tuned", [1.5, -0.5, 0.25]
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    config = json.loads((folder / "config.json").read_text())
    config["zlpr"]["thresholds"] = {"offsets": offsets, "min_labels": 1, "max_labels": None}
    (folder / "config.json").write_text(json.dumps(config))
    again = Classifier.load(folder)
    plain = classifier.compute_logits(TEXTS)
    np.testing.assert_allclose(again.compute_logits(TEXTS), plain - np.array(offsets), atol=1e-5)
    assert again.thresholds == Thresholds(min_labels=1)


def test_fingerprint_depends_on_the_weights(
    classifier: Classifier, finished: tuple[Path, Any], tmp_path: Path
) -> None:
    assert Classifier.load(str(finished[0])).fingerprint() == classifier.fingerprint()
    classifier.save(tmp_path / "tuned", Thresholds((1e-6, 0.0, 0.0)))
    assert Classifier.load(str(tmp_path / "tuned")).fingerprint() != classifier.fingerprint()


def test_powerset_model_decides_for_its_best_set(
    encoder_dir: Path, tmp_path: Path, tokenizer: Any
) -> None:
    space = LabelSpace(("red", "green"))
    sets = LabelSets(((), (0,), (0, 1)), 2)
    model = load_model(str(encoder_dir), space, loss="powerset", label_sets=sets)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    classifier = Classifier.load(str(tmp_path))
    assert classifier.label_space == space
    outputs = one_by_one(tmp_path, TEXTS)
    best = [set(sets.sets[index]) for index in outputs.argmax(1)]
    decided = classifier.decide(classifier.compute_logits(TEXTS))
    assert [set(np.flatnonzero(row).tolist()) for row in decided] == best


def test_folders_without_a_classifier_are_refused(tmp_path: Path, encoder_dir: Path) -> None:
    with pytest.raises(InputError, match=r"no model \(config.json\) in this folder$"):
        Classifier.load(str(tmp_path))
    (tmp_path / "train_config.yaml").touch()
    with pytest.raises(InputError, match="train_config.yaml --resume_from_checkpoint true"):
        Classifier.load(str(tmp_path))
    with pytest.raises(InputError, match="not a trained classifier"):
        Classifier.load(str(encoder_dir))
    with pytest.raises(InputError, match="backend: expected auto or torch or onnxruntime"):
        Classifier.load(str(encoder_dir), backend="tpu")  # type: ignore[arg-type]


def test_pickled_weights_are_refused(finished: tuple[Path, Any], tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((finished[0] / name).read_bytes())
    model = AutoModelForSequenceClassification.from_pretrained(finished[0])
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="could not be loaded: .*safetensors"):
        Classifier.load(str(tmp_path))


def test_encoder_without_a_trained_head_is_refused(encoder_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder_dir, tmp_path / "encoder")
    config = tmp_path / "encoder" / "config.json"
    settings = json.loads(config.read_text()) | {"problem_type": "multi_label_classification"}
    config.write_text(json.dumps(settings))
    with pytest.raises(InputError, match="not a trained classifier, no weights for classifier"):
        Classifier.load(tmp_path / "encoder")


def test_texts_may_be_strings(finished: tuple[Path, Any]) -> None:
    classifier = Classifier.load(finished[0])
    found = classifier.compute_logits(["red sky", "blue"])
    np.testing.assert_array_equal(found, classifier.compute_logits([("red sky",), ("blue",)]))
    with pytest.raises(InputError, match="texts: expected a list of texts, got one: 'red sky'"):
        classifier.compute_logits("red sky")


def test_saving_leaves_other_folders_alone(finished: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "part-tuned").mkdir()
    Classifier.load(finished[0]).save(tmp_path / "tuned", Thresholds((1.0,) * 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-tuned", "tuned"]


def test_bfloat16_makes_the_decisions_of_float32(finished: tuple[Path, Any]) -> None:
    classifier = Classifier.load(finished[0])
    words = [*COLOURS, *OTHERS]
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(words, generator.integers(1, 30))) for _ in range(200)]
    exact = classifier.compute_logits(texts)
    margin = RECOMPUTE_MARGIN / ZLPRConfig.read(classifier.model.config).temperature
    for boundary in (0.0, float(np.quantile(exact, 0.7))):
        mean = [
            classifier.compute_logits(texts, long_texts="mean", precision=each, boundary=boundary)  # type: ignore[arg-type]
            for each in ("float32", "bfloat16")
        ]
        np.testing.assert_array_equal(mean[0] > boundary, mean[1] > boundary)
        rough = classifier.compute_logits(texts, precision="bfloat16", boundary=boundary)
        np.testing.assert_array_equal(rough > boundary, exact > boundary)
        far = (np.abs(exact - boundary) > 2 * margin).all(1)
        assert 0 < np.abs(rough - exact)[far].max() < margin  # bfloat16 was used
        near = (np.abs(exact - boundary) < margin / 2).any(1)
        assert near.any()
        np.testing.assert_allclose(rough[near], exact[near], atol=1e-5)
    with pytest.raises(InputError, match="precision: expected float32 or bfloat16, got 'int4'"):
        classifier.compute_logits(texts, precision="int4")  # type: ignore[arg-type]

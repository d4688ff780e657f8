"""zlpr export: the same decisions as torch in any batch; other exports are refused."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from tests.builders import WORDS, tiny_config
from zlpr_hf import InputError, LabelSets, LabelSpace, Thresholds, load_model
from zlpr_hf.cli.main import main
from zlpr_hf.inference import onnx_model as writing
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.onnx_classifier import OnnxClassifier
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.workflows.export import Export, _check_agreement

LONG = " ".join(WORDS * 3)
TEXTS = ["red sky", "the sea", "a green fish and a blue bird runs", "blue", LONG, "red green blue"]


@pytest.fixture(scope="module")
def model(finished: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a trained model: exports are written beside it."""
    return Path(shutil.copytree(finished[0], tmp_path_factory.mktemp("export") / "colours"))


@pytest.fixture(scope="module")
def exported(model: Path) -> Path:
    assert main(["export", str(model)]) == 0
    return model.with_name("colours-onnx")


@pytest.fixture(scope="module")
def int8(model: Path) -> Path:
    assert main(["export", str(model), "--quantize", "int8"]) == 0
    return model.with_name("colours-onnx-int8")


@pytest.fixture
def lines(tmp_path: Path) -> str:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return str(path)


def run_session(folder: Path, *texts: Any) -> NDArray[np.float32]:
    """Raw outputs of ONNX Runtime, without anything of this package."""
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    batch = AutoTokenizer.from_pretrained(folder)(
        *texts, padding=True, truncation=True, return_tensors="np"
    )
    names = [each.name for each in session.get_inputs()]
    (logits,) = session.run(None, {name: batch[name].astype(np.int64) for name in names})
    return logits


def run_stock(folder: Path, *texts: Any) -> NDArray[np.float32]:
    """Logits of transformers, without anything of this package."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    batch = AutoTokenizer.from_pretrained(folder)(
        *texts, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return model(**batch).logits.numpy()


@torch.no_grad()
def spread(model: Any) -> None:
    """Make the logits of a random model vary as much as those of a trained one."""
    for weight in model.parameters():
        if weight.dim() == 2:
            weight.mul_(8)


def check_refused(
    argv: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints one error and leaves no new file, hidden or not."""
    before = sorted(folder.rglob("*"))
    capsys.readouterr()
    assert main(["export", *argv]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(folder.rglob("*")) == before


def test_float32_export_has_the_same_logits(model: Path, exported: Path) -> None:
    np.testing.assert_allclose(run_session(exported, TEXTS), run_stock(model, TEXTS), atol=1e-5)
    classifier = Classifier.load(str(exported))
    assert isinstance(classifier.model, OnnxModel)
    session = classifier.model.session
    assert {tuple(each.shape) for each in session.get_inputs()} == {("batch", "sequence")}
    assert [each.shape[1] for each in session.get_outputs()] == [3]
    windows = [(text,) for text in TEXTS]
    expected = Classifier.load(str(model)).compute_logits(windows)
    np.testing.assert_allclose(classifier.compute_logits(windows), expected, atol=1e-5)
    assert {path.name for path in exported.iterdir()} == {
        "config.json", "export.json", "model.onnx", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip


def test_padding_does_not_change_logits(exported: Path, int8: Path) -> None:
    """With one int8 scale per batch, the logits of a text would depend on the other texts."""
    for folder in (exported, int8):
        together = run_session(folder, TEXTS)
        alone = np.concatenate([run_session(folder, [text]) for text in TEXTS])
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_int8_export_is_smaller_and_decides_alike(model: Path, exported: Path, int8: Path) -> None:
    expected, found = run_stock(model, TEXTS), run_session(int8, TEXTS)
    assert 1e-5 < np.abs(found - expected).max() < 0.5
    np.testing.assert_array_equal(found > 0, expected > 0)
    sizes = [(folder / "model.onnx").stat().st_size for folder in (exported, int8)]
    assert sizes[1] < 0.7 * sizes[0]
    graph = onnx.load(int8 / "model.onnx").graph
    bytes_each = {tuple(each.dims): each.data_type for each in graph.initializer}
    assert bytes_each[(len(WORDS) + 4, 32)] == onnx.TensorProto.INT8
    assert sum(node.op_type == "MatMulNBits" for node in graph.node) == 3 * 6


def test_export_writes_and_prints_its_check(
    model: Path, lines: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "small"
    (tmp_path / ".part-small").mkdir()  # of another program or a killed run
    argv = [str(model), "--quantize=int8", f"--output={folder}", f"--check_file={lines}"]
    assert main(["export", *argv]) == 0
    captured = capfd.readouterr()
    assert "6 texts: 18 of 18 decisions equal (100.00%), 6 texts with the same" in captured.out
    assert f"zlpr predict {folder} --input" in captured.out
    progress = ("Loading weights", "classify")
    said = captured.err.replace("\r", "\n").splitlines()
    assert [line for line in said if line and not line.startswith(progress)] == []
    assert {".part-small", "small"} == {path.name for path in tmp_path.iterdir()} - {"texts.txt"}
    export = json.loads((folder / "export.json").read_text())
    difference = np.abs(run_session(folder, TEXTS[:4]) - run_stock(model, TEXTS[:4]))
    assert export["source"] == str(model)
    assert export["quantization"] == "int8"
    assert (export["texts"], export["decisions"], export["equal_decisions"]) == (6, 18, 18)
    assert export["largest_difference"] >= difference.max() - 1e-6
    assert export["versions"]["onnxruntime"] == onnxruntime.__version__
    # The exporter would store the source file of each node.
    assert b".py" not in (folder / "model.onnx").read_bytes()


def test_pairs_offsets_and_external_weights_are_exported(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    offsets = (0.25, -0.5, 0.125)
    config = tiny_config(num_labels=3, problem_type="multi_label_classification")
    config.zlpr = {"loss": "zlpr", "thresholds": Thresholds(offsets, min_labels=1).to_config()}
    random = BertForSequenceClassification(config)
    spread(random)
    random.save_pretrained(tmp_path / "pairs")
    tokenizer.save_pretrained(tmp_path / "pairs")
    first, second = TEXTS[:4], TEXTS[2:]
    rows = [{"a": a, "b": b} for a, b in zip(first, second, strict=True)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(writing, "MAX_FILE_BYTES", 1_000)
    folder = tmp_path / "out"
    argv = ["--check_file", str(tmp_path / "rows.jsonl"), "--text_column=a", "--text_pair_column=b"]
    assert main(["export", str(tmp_path / "pairs"), f"--output={folder}", *argv]) == 0
    assert (folder / "model.onnx.data").is_file()
    found, stock = run_session(folder, first, second), run_stock(tmp_path / "pairs", first, second)
    np.testing.assert_allclose(found, stock - np.float32(offsets), atol=1e-5)
    assert np.abs(found - run_session(folder, second, first)).max() > 0.01
    classifier = Classifier.load(str(folder))
    assert classifier.thresholds == Thresholds(min_labels=1)
    pairs = list(zip(first, second, strict=True))
    np.testing.assert_allclose(classifier.compute_logits(pairs), found, atol=1e-5)
    without_torch = OnnxClassifier.load(folder, threads=1)
    np.testing.assert_allclose(without_torch.compute_logits(pairs), found, atol=1e-5)
    assert without_torch.thresholds == classifier.thresholds


def test_powerset_model_is_exported(encoder_dir: Path, tmp_path: Path, lines: str) -> None:
    torch.manual_seed(0)
    sets = LabelSets(((0,), (0, 2), (1,), ()), 3)
    space = LabelSpace(("red", "green", "blue"))
    random = load_model(str(encoder_dir), space, loss="powerset", label_sets=sets)
    spread(random)
    random.save_pretrained(tmp_path / "sets")
    AutoTokenizer.from_pretrained(encoder_dir).save_pretrained(tmp_path / "sets")
    assert main(["export", str(tmp_path / "sets"), f"--check_file={lines}"]) == 0
    folder = tmp_path / "sets-onnx"
    best = run_stock(tmp_path / "sets", TEXTS).argmax(1)
    assert len(set(best.tolist())) > 1
    np.testing.assert_array_equal(run_session(folder, TEXTS).argmax(1), best)
    classifier = Classifier.load(str(folder))
    logits = classifier.compute_logits([(text,) for text in TEXTS], long_texts="cut")
    found = [tuple(np.flatnonzero(row)) for row in classifier.decide(logits)]
    assert found == [sets.sets[index] for index in best]
    without_torch = OnnxClassifier.load(folder, threads=1)
    assert without_torch.label_space == space
    same = without_torch.compute_logits([(text,) for text in TEXTS], long_texts="cut")
    np.testing.assert_allclose(same, logits, atol=1e-5)


def shifted(folder: Path, shift: float) -> Callable[..., None]:
    """A faulty exporter: it copies an export and shifts the bias of the head."""

    def write(_model: Any, _sample: Any, path: Path, **_options: Any) -> None:
        content = onnx.load(folder / "model.onnx")
        (bias,) = (each for each in content.graph.initializer if list(each.dims) == [3])
        moved = numpy_helper.to_array(bias) + np.float32(shift)
        bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
        onnx.save(content, path)

    return write


@pytest.mark.parametrize(
    ("quantize", "shift", "message"),
    [
        ("none", 0.002, "ONNX Runtime and torch disagree; 30 texts: 90 of 90 decisions equal"),
        ("none", 100.0, "ONNX Runtime and torch disagree; 30 texts: "),
        ("none", float("nan"), "not exported"),
        ("int8", -100.0, "int8 changes more than 1 decisions"),
        ("int8", float("nan"), "not exported"),
    ],
)
def test_export_that_decides_differently_is_refused(
    quantize: str, shift: float, message: str, model: Path, exported: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("zlpr_hf.workflows.export.write_onnx", shifted(exported, shift))
    argv = [str(model), f"--quantize={quantize}", f"--output={tmp_path / 'wrong'}"]
    check_refused(argv, message, tmp_path, capsys)
    monkeypatch.setattr("zlpr_hf.workflows.export.write_onnx", shifted(exported, 0.0))
    assert main(["export", *argv]) == 0


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_agreement_is_measured_on_predicted_labels(quantization: Any) -> None:
    """With 2 of 1,000 labels present, predicting none makes 99.8 % of the decisions right."""
    expected = np.full((10, 1_000), -5, np.float32)
    expected[:, :2] = 5

    def check(logits: NDArray[np.float32]) -> None:
        changed = int(((logits > 0) != (expected > 0)).sum())
        largest = float(np.abs(logits - expected).max())
        export = Export("m", quantization, 10, 10_000, 20, 10_000 - changed, 0, largest, 0.0)
        _check_agreement(export, expected, logits)

    check(expected)
    for index, (before, after) in enumerate([(5e-5, -5e-5), (2e-4, -2e-4), (5, -5)]):
        logits = expected.copy()
        expected[0, 0], logits[0, 0] = before, after
        if index == 0 or quantization == "int8":  # a tie, and one label in twenty
            check(logits)
        else:
            with pytest.raises(InputError, match="disagree"):
                check(logits)
    with pytest.raises(InputError, match="disagree|more than 1 decisions"):
        check(np.full_like(expected, -5))


def test_existing_files_are_kept_without_overwrite(
    model: Path, exported: Path, tmp_path: Path, lines: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = Path(shutil.copytree(exported, tmp_path / "earlier"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    inside = Path(shutil.copytree(model, tmp_path / "mine" / "model"))
    for output, message in (
        (folder, "--overwrite"),
        (tmp_path / "mine", "is not an export"),
        (tmp_path / "mine" / "thesis.txt", "is not an export"),
        (tmp_path / "no" / "such", "no such folder (--output)"),
    ):
        overwrite = [] if output == folder else ["--overwrite"]
        check_refused([str(model), f"--output={output}", *overwrite], message, tmp_path, capsys)
    shutil.copy(exported / "export.json", inside)
    for output in (inside, inside.parent, inside / ".." / "model"):
        argv = [str(inside), f"--output={output}", "--overwrite"]
        check_refused(argv, "holds the model itself", tmp_path, capsys)

    monkeypatch.setattr("zlpr_hf.workflows.export.write_onnx", shifted(exported, 0.0))
    (folder / "old").write_text("")
    argv = [str(model), f"--output={folder}", f"--check_file={lines}", "--overwrite"]
    assert main(["export", *argv]) == 0
    assert not (folder / "old").exists()
    assert json.loads((folder / "export.json").read_text())["texts"] == len(TEXTS)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_interrupted_export_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zlpr_hf.workflows.export.write_onnx", interrupted)
    assert main(["export", str(model), f"--output={tmp_path / 'cut'}"]) == 130
    assert list(tmp_path.iterdir()) == []


def test_export_requires_texts_for_its_check(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "moved"))
    config = folder / "train_config.yaml"
    config.write_text(config.read_text().replace("colours.jsonl", "gone.jsonl"))
    check_refused([str(folder)], "gone.jsonl: no such file", tmp_path, capsys)
    check_refused([str(folder)], "--check_file", tmp_path, capsys)
    config.unlink()
    check_refused([str(folder)], "--check_file", tmp_path, capsys)
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\n")
    (tmp_path / "rows.csv").write_text("body\nred sky\n")
    for file, message in (
        ("empty.txt", "requires texts"),
        ("bytes.txt", "UTF-8"),
        ("none.txt", "none.txt"),
        ("rows.csv", "no column 'text'"),
    ):
        argv = [str(folder), f"--check_file={tmp_path / file}"]
        check_refused(argv, message, tmp_path, capsys)
    check_refused(["me/model"], "give --output", tmp_path, capsys)
    check_refused([str(folder), "--batch_size=0"], "--batch_size", tmp_path, capsys)
    check_refused([str(tmp_path / "none")], "none", tmp_path, capsys)


def test_missing_onnxruntime_is_reported(
    model: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with pytest.raises(InputError, match="no model.onnx") as caught:
        Classifier.load(str(model), backend="onnxruntime")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    argv = [str(model), f"--output={tmp_path / 'out'}"]
    check_refused(argv, 'pip install "zlpr_hf[onnx]"', tmp_path, capsys)
    with pytest.raises(InputError, match=r'pip install "zlpr_hf\[onnx\]"'):
        Classifier.load(str(exported))


def test_model_that_torch_cannot_export_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = BertForSequenceClassification.forward

    def fails_while_exporting(self: Any, *arguments: Any, **inputs: Any) -> Any:
        if torch.compiler.is_compiling():
            raise NotImplementedError("an operator is missing\nand a long story")
        return forward(self, *arguments, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", fails_while_exporting)
    argv = [str(model), f"--output={tmp_path / 'out'}"]
    check_refused(argv, "export models of type bert: an operator is missing", tmp_path, capsys)


def test_model_whose_logits_depend_on_padding_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers pad their batches; the texts of the check may all have one length."""
    forward = BertForSequenceClassification.forward

    def reads_padding(self: Any, **inputs: Any) -> Any:
        return forward(self, **inputs | {"attention_mask": None})

    monkeypatch.setattr(BertForSequenceClassification, "forward", reads_padding)
    argv = [str(model), f"--output={tmp_path / 'out'}"]
    check_refused(argv, "padding", tmp_path, capsys)


def test_fingerprint_differs_between_exports(exported: Path, int8: Path) -> None:
    prints = [OnnxModel.load(str(folder)).fingerprint() for folder in (exported, int8, exported)]
    assert prints[0] == prints[2] != prints[1]

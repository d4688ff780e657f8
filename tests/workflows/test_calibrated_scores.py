"""The temperature in the head: the same decisions, and the same score in every consumer."""

import json
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import BertForSequenceClassification, pipeline

from tests.builders import COLOURS, OTHERS
from tests.families import FAMILIES, load_family
from tests.runs import run
from zlpr_hf import Classifier, Report, Thresholds, load_pipeline
from zlpr_hf.metrics.calibration import Calibration
from zlpr_hf.models.head import classification_head, reshard
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.zlpr_config import ZLPRConfig

TEXTS = [
    " ".join(np.random.default_rng(seed).choice([*COLOURS, *OTHERS], 1 + seed % 7))
    for seed in range(60)
]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_scales_its_logits_and_keeps_its_decisions(family: str, tmp_path: Path) -> None:
    model, batch = load_family(family, tmp_path, texts=40)
    model.eval()
    with torch.no_grad():
        before = model(batch).logits
        Thresholds().fold_into(classification_head(model), model.config, temperature=1.7)
        after = model(batch).logits
    assert torch.equal(after > 0, before > 0)
    torch.testing.assert_close(after, before / 1.7)
    assert ZLPRConfig.read(model.config).temperature == 1.7


def test_stock_pipeline_shows_the_same_scores(finished: tuple[Path, Report]) -> None:
    folder = finished[0]
    stock = pipeline("text-classification", str(folder), top_k=None)
    ours = load_pipeline(folder, threshold=0)(TEXTS)
    for theirs, label_set in zip(stock(TEXTS), ours, strict=True):
        found = {each["label"]: each["score"] for each in label_set}
        assert found == pytest.approx({each["label"]: each["score"] for each in theirs}, abs=1e-6)


def test_run_folds_the_temperature_that_it_records(
    finished: tuple[Path, Report],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same run without a temperature has the same decisions and weights of another scale."""
    folder, report = finished
    temperature = report.temperature
    assert temperature is not None
    assert temperature != pytest.approx(1, abs=0.02)
    config = json.loads((folder / "config.json").read_text())["zlpr"]
    assert config["temperature"] == temperature
    with monkeypatch.context() as patch:
        patch.setattr("zlpr_hf.workflows.outcome.fit_temperature", lambda *_: 1.0)
        plain = run(command, tmp_path / "plain")
    assert plain.label_scores == report.label_scores
    assert plain.temperature == 1
    scaled, raw = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "plain"))
    for name, value in scaled.items():
        divisor = temperature if name.startswith("classifier.") else 1
        torch.testing.assert_close(value, raw[name] / divisor, msg=name)
    logits = [Classifier.load(f).compute_logits(TEXTS) for f in (folder, tmp_path / "plain")]
    np.testing.assert_array_equal(logits[0] > 0, logits[1] > 0)
    np.testing.assert_allclose(logits[0], logits[1] / temperature, rtol=1e-4, atol=1e-5)


def test_report_measures_the_scores_of_the_saved_model(finished: tuple[Path, Report]) -> None:
    folder, report = finished
    data = load_data(parse_arguments([str(folder / "train_config.yaml")]).data)
    logits = Classifier.load(folder).compute_logits(data.texts("test"), long_texts="cut")
    found = Calibration.measure(logits, data.targets("test"))
    assert found is not None
    assert report.calibration is not None
    assert vars(found) == pytest.approx(vars(report.calibration), abs=1e-6)
    assert report.metrics["ece"] == pytest.approx(found.ece, abs=1e-6)
    assert Report.load(folder / "results.json") == report
    for name in ("report.html", "README.md"):
        assert report.calibration.describe() in (folder / name).read_text(encoding="utf-8")
    assert report.calibration.describe() in " ".join(report.render().split())


def test_model_that_bounds_its_logits_keeps_its_scores(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    forward = BertForSequenceClassification.forward

    @wraps(forward)  # the trainer reads the names of its arguments
    def bounded(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = forward(self, *args, **kwargs)
        outputs.logits = 4 * torch.tanh(outputs.logits / 4)
        return outputs

    monkeypatch.setattr(BertForSequenceClassification, "forward", bounded)
    report = run(command, tmp_path / "out", "--num_train_epochs=4")
    assert report.temperature is None
    assert "scores are not calibrated" in caplog.text
    assert "temperature" not in json.loads((tmp_path / "out" / "config.json").read_text())["zlpr"]


@pytest.fixture
def one_process() -> Iterator[DeviceMesh]:
    """A group of processes with one member."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def test_folding_changes_the_shards_of_fsdp_which_are_saved(
    one_process: DeviceMesh, tiny_model: BertForSequenceClassification
) -> None:
    model: Any = tiny_model.eval()
    offsets, batch = torch.tensor([1.0, 0.0, -2.0]), torch.randint(4, 20, (3, 5))
    weight = model.classifier.weight.detach().clone()
    fully_shard(model, mesh=one_process)
    with torch.no_grad():
        before = model(batch).logits  # gathers the parameters of the head
        reshard(model)
        rule = Thresholds(tuple(offsets.tolist()))
        rule.fold_into(classification_head(model), model.config, temperature=2.0)
        after = model(batch).logits
    torch.testing.assert_close(after, (before - offsets) / 2)
    torch.testing.assert_close(model.state_dict()["classifier.weight"].full_tensor(), weight / 2)


def test_temperatures_of_a_model_multiply() -> None:
    head = torch.nn.Linear(4, 3)
    config = SimpleNamespace(zlpr={"temperature": 2.0})
    weight = head.weight.detach().clone()
    Thresholds((1.0, 0.0, -1.0)).fold_into(head, config, temperature=1.5)
    torch.testing.assert_close(head.weight, weight / 1.5)
    assert ZLPRConfig.read(config).temperature == 3

"""QLoRA: trained on an encoder in 4 bits, saved and measured on the encoder in float32."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, LlamaModel

from tests.device import requires_cuda
from tests.families import DECODER, save_family
from tests.runs import check_refused, run
from zlpr_hf import Classifier, LabelSpace, load_model
from zlpr_hf.models.four_bits import move_adapters
from zlpr_hf.models.head_bias import add_head_bias
from zlpr_hf.models.lora import add_lora
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.zlpr_config import ZLPRConfig

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
OPTIONS = ["--pooling=first", "--load_in_4bit=true"]


def test_4bit_requires_adapters(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused([*command, *OPTIONS], tmp_path / "out", "use_peft", capsys)


@pytest.mark.parametrize(
    ("installed", "message"), [(None, "pip install bitsandbytes"), (True, "CUDA")]
)
def test_missing_package_or_gpu_is_named(
    installed: bool | None,
    message: str,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("zlpr_hf.models.four_bits.find_spec", lambda name: installed)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    argv = [*command, *OPTIONS, "--use_peft=true"]
    check_refused(argv, tmp_path / "out", message, capsys)


def test_adapters_move_to_the_whole_encoder(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    decoder = str(save_family("llama", tmp_path / "decoder"))
    labels = LabelSpace(("red", "green", "blue"))
    trained, whole = (
        add_lora(load_model(decoder, labels), name=decoder, rank=2, dropout=0) for _ in range(2)
    )
    add_head_bias(trained, "a test")
    add_head_bias(whole, "a test")
    torch.manual_seed(0)
    for value in trained.parameters():
        if value.requires_grad:
            value.data.normal_()
    ZLPRConfig.update(trained.config, data={"text_column": "body"})
    ids = torch.tensor([[5, 6, 7]])
    moved = move_adapters(trained, whole)
    torch.testing.assert_close(moved(input_ids=ids).logits, trained(input_ids=ids).logits)
    assert ZLPRConfig.read(moved.config).data == {"text_column": "body"}


@pytest.mark.gpu
@requires_cuda
@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="requires bitsandbytes")
@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_numbers_are_of_the_saved_model(form: str, command: list[str], tmp_path: Path) -> None:
    decoder = save_family("llama", tmp_path / "decoder")
    wide = DECODER | {"hidden_size": 64, "intermediate_size": 64}  # a block has 64 weights
    LlamaModel(LlamaConfig(**wide)).save_pretrained(decoder)
    more = [f"--model_name_or_path={decoder}", "--use_peft=true", f"--peft_save={form}"]
    folder = tmp_path / "out"
    report = run(command, folder, *OPTIONS, *more, "--num_train_epochs=3", "--learning_rate=2e-2")
    classifier = Classifier.load(folder)
    data = load_data(parse_arguments([str(folder / "train_config.yaml")]).data)
    logits = classifier.compute_logits(data.texts("test"), long_texts="cut")
    exact = ((logits > 0) == (data.targets("test") > 0.5)).all(1).mean()
    assert exact == pytest.approx(report.metrics["subset_accuracy"])
    assert "quantization_config" not in (folder / "config.json").read_text()
    if form == "merged":
        stock = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        found = Classifier(stock, AutoTokenizer.from_pretrained(folder))
        np.testing.assert_allclose(
            found.compute_logits(data.texts("test"), long_texts="cut"), logits, atol=1e-5
        )

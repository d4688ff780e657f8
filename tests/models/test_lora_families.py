"""An adapter reloads as the model that was saved, whichever layers its encoder lacked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.tiny_models import save_encoder
from tests.families import FAMILIES, save_family
from zlpr_hf import InputError, LabelSpace, load_model, load_tokenizer
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.models.lora import add_lora
from zlpr_hf.models.new_weights import new_weights

pytest.importorskip("peft", reason="peft is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

LABELS = LabelSpace(("red", "green", "blue", "grey"))
WEIGHTS = "adapter_model.safetensors"


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[2, 4, 9, 3], [2, 5, 6, 3]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def logits_of(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(**inputs()).logits  # type: ignore[no-any-return]


def train_step(model: Any) -> None:
    model.train()
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        model(**inputs()).logits.square().sum().backward()
        optimizer.step()


def save_adapter(family: str, folder: Path) -> tuple[Path, torch.Tensor]:
    """Train and save an adapter; return its folder and its logits before saving."""
    encoder = save_family(family, folder / "encoder")
    torch.manual_seed(1)
    model = load_model(str(encoder), LABELS, pooling="first")
    wrapped = add_lora(model, name=str(encoder), rank=2, dropout=0.0)
    train_step(wrapped)
    expected = logits_of(wrapped)
    wrapped.save_pretrained(folder / "adapter")
    wrapped.config.save_pretrained(folder / "adapter")
    load_tokenizer(str(encoder)).save_pretrained(folder / "adapter")
    return folder / "adapter", expected


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_adapter_reloads_as_the_model_that_was_saved(family: str, tmp_path: Path) -> None:
    adapter, expected = save_adapter(family, tmp_path)
    for seed in (2, 3):
        torch.manual_seed(seed)
        found = logits_of(Classifier.load(adapter).model)
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_layers_that_the_encoder_lacks_are_trained_in_full(family: str, tmp_path: Path) -> None:
    encoder = save_family(family, tmp_path)
    stored = {name.split(".", 1)[-1] for name in load_file(encoder / "model.safetensors")}
    stored |= set(load_file(encoder / "model.safetensors"))
    model = load_model(str(encoder), LABELS, pooling="first")
    lacking = {
        name
        for name, _ in model.named_parameters()
        if name not in stored and name.split(".", 1)[-1] not in stored
    }
    assert lacking <= new_weights(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = add_lora(model, name="x", rank=2, dropout=0.0)
    trained = {
        name.removeprefix("base_model.model.").replace("modules_to_save.default.", "")
        for name, value in wrapped.named_parameters()
        if value.requires_grad and "lora_" not in name
    }
    assert lacking <= trained
    assert any("lora_" in name for name, _ in wrapped.named_parameters())
    for name, value in wrapped.merge_and_unload().state_dict().items():
        torch.testing.assert_close(value, before[name])


@pytest.mark.filterwarnings("ignore:Found missing adapter keys:UserWarning")
@pytest.mark.parametrize("lost", ["pooler", "classifier", "lora_B"])
def test_adapter_that_lacks_weights_is_refused(lost: str, tmp_path: Path) -> None:
    adapter, _ = save_adapter("bert without pooler", tmp_path)
    weights = load_file(adapter / WEIGHTS)
    save_file({k: v for k, v in weights.items() if lost not in k}, adapter / WEIGHTS)
    with pytest.raises(InputError, match=f"neither the adapter nor its encoder .*{lost}"):
        Classifier.load(adapter)


def test_target_modules_skip_the_layers_that_are_trained_in_full(tmp_path: Path) -> None:
    model = load_model(str(save_family("bart", tmp_path)), LABELS)
    wrapped = add_lora(model, name="x", rank=2, target_modules=["q_proj", "dense"])
    adapted = {name.split(".lora_")[0] for name, _ in wrapped.named_parameters() if "lora_" in name}
    assert adapted
    assert all(name.endswith("q_proj") for name in adapted)


def test_adapter_stores_and_uses_the_revision_of_its_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peft
    from transformers import AutoModelForSequenceClassification as Auto

    asked: dict[str, list[Any]] = {}

    def spy(owner: Any, name: str) -> None:
        original = owner.from_pretrained.__func__

        def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
            asked.setdefault(name, []).append(kwargs.get("revision"))
            return original(cls, *args, **kwargs)

        monkeypatch.setattr(owner, "from_pretrained", classmethod(from_pretrained))

    encoder = save_family("bert", tmp_path / "encoder")
    model = load_model(str(encoder), LABELS, revision="v1")
    wrapped = add_lora(model, name=str(encoder), revision="v1", rank=2)
    adapter = tmp_path / "adapter"
    wrapped.save_pretrained(adapter)
    wrapped.config.save_pretrained(adapter)
    load_tokenizer(str(encoder)).save_pretrained(adapter)
    assert json.loads((adapter / "adapter_config.json").read_text())["revision"] == "v1"
    spy(peft.PeftConfig, "config")
    spy(peft.PeftModel, "adapter")
    spy(Auto, "encoder")
    Classifier.load(adapter, revision="v2")
    assert set(asked["config"]) == {"v2"}
    assert asked["adapter"] == ["v2"]
    assert asked["encoder"] == ["v1"]


@pytest.mark.parametrize(
    ("class_name", "adapted", "left_out"),
    [
        ("Zamba", "mamba", "shared_transf"),  # a weight with two adapters cannot be merged
        ("Phimoe", "q_proj", "router"),  # its layer returns a tuple
        ("Falcon", "query_key_value", "none"),  # linear layers with a forward of their own
    ],
)
def test_adapted_layers_can_be_merged(
    class_name: str, adapted: str, left_out: str, tmp_path: Path
) -> None:
    save_encoder(f"{class_name}ForSequenceClassification", tmp_path)
    model = load_model(str(tmp_path), LABELS)
    wrapped = add_lora(model, name="x", rank=2, dropout=0.0)
    names = [name for name, _ in wrapped.named_parameters() if "lora_" in name]
    assert any(adapted in name for name in names)
    assert not any(left_out in name for name in names)
    train_step(wrapped)
    expected = logits_of(wrapped)
    torch.testing.assert_close(logits_of(wrapped.merge_and_unload()), expected)

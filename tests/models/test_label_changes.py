"""Growing: the rows of a trained head follow the names of their labels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, RobertaConfig, RobertaForSequenceClassification

from tests.builders import make_tokenizer, tiny_config
from zlpr_hf import InputError, LabelSets, LabelSpace, Thresholds, load_model
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.head_init import init_head_from_label_names
from zlpr_hf.models.label_changes import label_changes, new_rows
from zlpr_hf.models.lora import add_lora
from zlpr_hf.zlpr_config import ZLPRConfig

OLD = ("red", "green", "blue")
TEXTS = ["red sky", "green grass and the sea", "big blue fish", "the dog sleeps", "a small bird"]


@torch.no_grad()
def compute_logits(model: PreTrainedModel) -> torch.Tensor:
    batch = make_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    logits: torch.Tensor = model.eval()(**batch).logits
    return logits


@torch.no_grad()
def draw_head(model: PreTrainedModel) -> None:
    """Give the head rows and biases far from those of a new one."""
    head = classification_head(model)
    head.weight.copy_(torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(1)))
    if head.bias is not None:
        head.bias.copy_(torch.linspace(-2.5, 0.5, len(head.bias)))


@pytest.fixture
def old(encoder_dir: Path, tmp_path: Path) -> tuple[Path, PreTrainedModel]:
    """Save a classifier whose head has offsets and a temperature folded in."""
    model = load_model(str(encoder_dir), OLD, pooling="mean")
    draw_head(model)
    rule = Thresholds((0.5, -0.25, 1.0), min_labels=1)
    rule.fold_into(classification_head(model), model.config, temperature=1.7)
    folder = tmp_path / "old"
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder, model


@pytest.mark.parametrize(
    ("names", "renamed", "sources"),
    [
        (("blue", "red", "green"), {}, (2, 0, 1)),
        (("big", "green", "small", "red"), {}, (None, 1, None, 0)),
        (("green", "blue"), {}, (1, 2)),
        (("azure", "green", "bird"), {"blue": "azure"}, (2, 1, None)),
        (("azure", "green", "red"), ["blue=azure"], (2, 1, 0)),
        (("azure", "green", "red"), ['{"blue": "azure"}'], (2, 1, 0)),
        (("green", "red", "sky"), {"red": "green", "green": "red"}, (0, 1, None)),
    ],
)
def test_old_labels_keep_logits_and_decisions(
    old: tuple[Path, PreTrainedModel], names: tuple[str, ...], renamed: Any, sources: Any
) -> None:
    folder, before = old
    grown = load_model(str(folder), names, rename_labels=renamed)
    assert LabelSpace.from_config(grown.config).names == names
    changes = label_changes(grown)
    assert changes is not None
    assert changes.sources == sources
    kept = [row for row, source in enumerate(sources) if source is not None]
    origins = [source for source in sources if source is not None]
    head, first = classification_head(grown), classification_head(before)
    assert torch.equal(head.weight[kept], first.weight[origins])
    assert torch.equal(head.bias[kept], first.bias[origins])
    expected, found = compute_logits(before)[:, origins], compute_logits(grown)[:, kept]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(found > 0, expected > 0)
    assert new_rows(grown) == [row for row, source in enumerate(sources) if source is None]
    # Facts of the earlier run do not describe the new one; limits belong to the decisions.
    entry = ZLPRConfig.read(grown.config)
    assert entry.temperature is None
    assert Thresholds.from_config(grown.config) == Thresholds(min_labels=1)


def test_stored_offsets_go_with_their_labels(encoder_dir: Path, tmp_path: Path) -> None:
    model = load_model(str(encoder_dir), OLD)
    ZLPRConfig.update(model.config, thresholds=Thresholds((0.5, -0.25, 1.0)).to_config())
    model.save_pretrained(tmp_path)
    grown = load_model(str(tmp_path), ("blue", "sky", "red"))
    bias, first = classification_head(grown).bias, classification_head(model).bias
    torch.testing.assert_close(bias[[0, 2]], first[[2, 0]] - torch.tensor([1.0, 0.5]))


def test_new_rows_are_near_the_mean_of_the_kept_ones(old: tuple[Path, PreTrainedModel]) -> None:
    folder, before = old
    grown = load_model(str(folder), ("red", "green", "sky", "fish"))
    logits, kept = compute_logits(grown)[:, 2:], compute_logits(before)[:, :2].mean(1)
    assert (logits - kept[:, None]).abs().max() < 0.5
    assert not torch.equal(logits[:, 0], logits[:, 1])


def test_new_rows_from_names_are_on_the_scale_of_the_others(
    old: tuple[Path, PreTrainedModel],
) -> None:
    folder, _ = old
    grown = load_model(str(folder), (*OLD, "sky", "fish"))
    before = compute_logits(grown)
    tokenizer, space = make_tokenizer(), LabelSpace.from_config(grown.config)
    init_head_from_label_names(grown, tokenizer, space, TEXTS, rows=new_rows(grown))
    after = compute_logits(grown)
    torch.testing.assert_close(after[:, :3], before[:, :3], rtol=0, atol=0)
    for measure in (torch.mean, torch.std):
        expected = measure(before[:, :3], dim=0).median().expand(2)
        torch.testing.assert_close(measure(after[:, 3:], dim=0), expected, rtol=1e-3, atol=1e-3)


def test_layers_before_the_head_stay(tmp_path: Path) -> None:
    config = RobertaConfig(**tiny_config().to_diff_dict() | {"model_type": "roberta"})
    config.id2label, config.label2id = dict(enumerate(OLD)), {name: i for i, name in enumerate(OLD)}
    model = RobertaForSequenceClassification(config)
    draw_head(model)
    model.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    grown = load_model(str(tmp_path), ("sky", "blue", "green", "fish"), pooling="first")
    assert torch.equal(grown.classifier.dense.weight, model.classifier.dense.weight)
    assert grown.classifier.out_proj.out_features == grown.num_labels == 4
    expected, found = compute_logits(model)[:, [2, 1]], compute_logits(grown)[:, [1, 2]]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    grown.save_pretrained(tmp_path / "grown")
    again = load_model(str(tmp_path / "grown"), ("blue", "green"), pooling="first")
    torch.testing.assert_close(compute_logits(again), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_adapters_are_merged_and_their_rows_kept(encoder_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft is not installed")
    model = load_model(str(encoder_dir), OLD)
    draw_head(model)
    wrapped = add_lora(model, name=str(encoder_dir))
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(2))
    wrapped.save_pretrained(tmp_path)
    wrapped.get_base_model().config.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    before = compute_logits(wrapped)
    for names, origins, kept in ((("blue", "sky", "red"), [2, 0], [0, 2]), (OLD, [0, 1, 2], None)):
        grown = load_model(str(tmp_path), names)
        assert not any("lora" in name for name, _ in grown.named_parameters())
        found = compute_logits(grown)[:, kept or [0, 1, 2]]
        torch.testing.assert_close(found, before[:, origins], rtol=1e-4, atol=1e-5)


def test_label_sets_are_kept_together(encoder_dir: Path, tmp_path: Path) -> None:
    space, sets = LabelSpace(("a", "b")), LabelSets(((0,), (0, 1)), 2)
    model = load_model(str(encoder_dir), space, loss="powerset", label_sets=sets)
    model.save_pretrained(tmp_path)
    same = load_model(str(tmp_path), space, loss="powerset", label_sets=sets)
    assert new_rows(same) == []
    more = LabelSets(((0,), (0, 1), ()), 2)
    for other in (
        load_model(str(tmp_path), space, loss="powerset", label_sets=more),
        load_model(str(tmp_path), space),
    ):
        assert new_rows(other) == list(range(other.config.num_labels))
        changes = label_changes(other)
        assert changes is not None
        assert changes.reason
    with pytest.raises(InputError, match="rename_labels: .*powerset"):
        load_model(str(tmp_path), space, label_sets=sets, rename_labels={"a": "b"})


def test_placeholders_identify_no_label(encoder_dir: Path, tmp_path: Path) -> None:
    model = load_model(str(encoder_dir), num_labels=3)
    model.save_pretrained(tmp_path)
    assert new_rows(load_model(str(tmp_path), num_labels=3)) == []
    assert new_rows(load_model(str(tmp_path), num_labels=2)) == [0, 1]
    named = load_model(str(tmp_path), OLD, rename_labels={"LABEL_1": "blue"})
    assert new_rows(named) == [0, 1]


def test_an_encoder_without_head_has_no_changes(encoder_dir: Path) -> None:
    model = load_model(str(encoder_dir), OLD)
    assert label_changes(model) is None
    assert new_rows(model) == [0, 1, 2]


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        ({"gren": "sky"}, 'no label .gren.*Did you mean "green"'),
        ({"green": "sk"}, '.sk..* not a label of the data. Did you mean "sky"'),
        ({"green": "red"}, "more than one label"),
        (["green"], "expected OLD=NEW"),
        (["=sky"], "expected OLD=NEW"),
        (["{green: sky}"], "no JSON mapping"),
        (['{"green": 1}'], "expected a label name"),
    ],
)
def test_wrong_renames_are_refused(
    old: tuple[Path, PreTrainedModel], renamed: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_model(str(old[0]), ("red", "sky"), rename_labels=renamed)


def test_summary_counts_labels(old: tuple[Path, PreTrainedModel]) -> None:
    def summary(names: tuple[str, ...], **options: Any) -> str:
        changes = label_changes(load_model(str(old[0]), names, **options))
        assert changes is not None
        return changes.render()

    assert summary(OLD) == "labels: 3 kept"
    line = summary(("sky", "red", "azure"), rename_labels={"blue": "azure"})
    assert line.startswith(
        "labels: 1 kept, 1 renamed (blue to azure), 1 new (sky), 1 dropped (green); "
    )
    assert '--rename_labels "blue=Blue"' in summary(("red", "green", "Blue"))
    assert summary(("x", "y")).startswith("labels: 2 new (x, y), 3 dropped (red, green, blue); ")

"""The `zlpr` entry of config.json belongs to the weights: loss, thresholds and label sets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from transformers import BertForSequenceClassification

from tests.builders import make_tokenizer, tiny_config
from tests.training.builders import ROWS, arguments, model, rows
from zlpr_hf import FocalLoss, InputError, LabelSpace, Thresholds, ZLPRTrainer, load_model
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.labels import LabelSets

OFFSETS = (0.3, -0.2, 0.1)
SPACE = LabelSpace(("a", "b", "c"))


def with_entry(**entry: Any) -> BertForSequenceClassification:
    made = model()
    made.config.problem_type = "multi_label_classification"
    made.config.zlpr = entry
    return made


def offset_model(**limits: Any) -> BertForSequenceClassification:
    return with_entry(loss="bce", thresholds=Thresholds(OFFSETS, **limits).to_config())


def plain_logits() -> np.ndarray[Any, Any]:
    """Logits of the model without its offsets."""
    with torch.no_grad():
        return model().eval()(torch.tensor(rows()["input_ids"][:])).logits.numpy()


def targets() -> np.ndarray[Any, Any]:
    return np.array(rows()["labels"][:])


def test_evaluation_applies_stored_offsets(tmp_path: Path) -> None:
    expected = plain_logits() - np.array(OFFSETS, np.float32)
    trainer = ZLPRTrainer(model=offset_model(), args=arguments(tmp_path), eval_dataset=rows())
    np.testing.assert_allclose(trainer.predict(rows()).predictions, expected, atol=1e-6)
    f1 = f1_score(targets(), expected > 0, average="micro")
    assert trainer.evaluate()["eval_f1_micro"] == pytest.approx(f1)
    assert f1 != pytest.approx(f1_score(targets(), plain_logits() > 0, average="micro"))


def test_evaluation_applies_stored_limits(tmp_path: Path) -> None:
    logits = plain_logits() - np.array(OFFSETS, np.float32)
    best = np.eye(3, dtype=bool)[logits.argmax(1)]
    trainer = ZLPRTrainer(
        model=offset_model(min_labels=1, max_labels=1),
        args=arguments(tmp_path),
        eval_dataset=rows(),
    )
    found = trainer.evaluate()
    assert found["eval_predicted_cardinality"] == 1
    assert found["eval_f1_micro"] == pytest.approx(f1_score(targets(), best, average="micro"))


def test_evaluation_leaves_the_stored_loss(tmp_path: Path) -> None:
    entry = {"loss": "bce", "loss_kwargs": {"positive_weight": 2.0}, "pooling": "mean"}
    trainer = ZLPRTrainer(with_entry(**entry), arguments(tmp_path), eval_dataset=rows())
    trainer.evaluate()
    trainer.predict(rows())
    assert trainer.model.config.zlpr == entry


def test_training_replaces_what_an_earlier_one_stored(tmp_path: Path) -> None:
    started = offset_model(min_labels=1)
    started.config.zlpr |= {"pooling": "mean", "loss_kwargs": {"positive_weight": 2.0}}
    trainer = ZLPRTrainer(started, arguments(tmp_path, loss="focal"), train_dataset=rows())
    trainer.train()
    assert trainer.model.config.zlpr == {"loss": "focal", "pooling": "mean"}
    assert trainer.model.config.problem_type == "multi_label_classification"


def test_saved_model_decides_as_the_trainer_evaluated(tmp_path: Path) -> None:
    trainer = ZLPRTrainer(offset_model(), arguments(tmp_path), train_dataset=rows())
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    make_tokenizer().save_pretrained(tmp_path / "saved")
    classifier = Classifier.load(tmp_path / "saved")
    with torch.no_grad():
        found = classifier.model(torch.tensor(rows()["input_ids"][:])).logits.numpy()
    expected = trainer.predict(rows()).predictions
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (classifier.decide(found) == (expected > 0)).all()


def test_training_starts_from_the_decisions_of_the_stored_offsets(tmp_path: Path) -> None:
    folded = model()
    with torch.no_grad():
        folded.classifier.bias -= torch.tensor(OFFSETS)
    found, expected = offset_model(), folded
    for each in (found, expected):
        ZLPRTrainer(each, arguments(tmp_path), train_dataset=rows()).train()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value)


def test_models_of_a_search_store_the_loss_of_their_trial(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Watched(ZLPRTrainer):
        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(self.model.config.zlpr)
            return super().evaluate(*args, **kwargs)

    trainer = Watched(
        model_init=lambda trial=None: offset_model(),
        args=arguments(tmp_path, loss="focal", max_steps=1, eval_strategy="epoch"),
        train_dataset=rows(),
        eval_dataset=rows(),
    )
    values = iter([0.5, 3.0])
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"loss_kwargs": {"gamma": next(values)}},
        n_trials=2,
        backend="optuna",
        direction="minimize",
    )
    expected = [{"loss": "focal", "loss_kwargs": {"gamma": gamma}} for gamma in (0.5, 3.0)]
    assert [each for each in seen if each == expected[0]]
    assert seen[-1] == expected[1]


def test_search_over_the_loss_is_refused(tmp_path: Path) -> None:
    trainer = ZLPRTrainer(
        model_init=lambda trial=None: model(),
        args=arguments(tmp_path),
        train_dataset=rows(),
        eval_dataset=rows(),
    )
    with pytest.raises(ValueError, match="expected zlpr in all trials of a search, got bce"):
        trainer.hyperparameter_search(
            hp_space=lambda trial: {"loss": trial.suggest_categorical("loss", ["bce"])},
            n_trials=1,
            backend="optuna",
            direction="minimize",
        )


def test_resumed_training_takes_the_weights_of_the_checkpoint(tmp_path: Path) -> None:
    """The model that a run resumes with may still have the offsets of its first start."""

    def train(folder: str, **changes: Any) -> dict[str, torch.Tensor]:
        resume = changes.pop("resume", None)
        settings = {"save_strategy": "epoch", "optim": "adamw_torch", "loss": "focal"} | changes
        trainer = ZLPRTrainer(
            offset_model(), arguments(tmp_path / folder, **settings), train_dataset=rows()
        )
        trainer.train(resume_from_checkpoint=resume)
        assert trainer.model.config.zlpr == {"loss": "focal"}
        return trainer.model.state_dict()

    whole = train("whole")
    resumed = train("whole", resume=str(tmp_path / "whole" / "checkpoint-2"))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_offsets_of_another_number_of_labels_are_refused(tmp_path: Path) -> None:
    replaced = with_entry(thresholds=Thresholds((0.1, 0.2)).to_config())
    for use in (
        lambda: Classifier.from_model(replaced, make_tokenizer()),
        lambda: ZLPRTrainer(replaced, arguments(tmp_path)),
    ):
        with pytest.raises(InputError, match="offsets of 2 labels, and the head has 3"):
            use()


def powerset_entry(sets: tuple[tuple[int, ...], ...]) -> dict[str, Any]:
    return {"loss": "powerset", **LabelSets(sets, 2).to_config(LabelSpace(("a", "b")))}


def test_label_sets_of_an_earlier_head_are_not_those_of_the_outputs(tmp_path: Path) -> None:
    """The outputs have other names than the sets: user code replaced the head."""
    stale = with_entry(**powerset_entry(((0,), (1,), (0, 1))))
    assert Classifier.from_model(stale, make_tokenizer()).label_sets is None
    trainer = ZLPRTrainer(stale, arguments(tmp_path), train_dataset=rows(), eval_dataset=rows())
    f1 = f1_score(targets(), plain_logits() > 0, average="micro")
    assert trainer.evaluate()["eval_f1_micro"] == pytest.approx(f1)
    trainer.train()
    assert trainer.model.config.zlpr == {"loss": "zlpr"}


@pytest.mark.parametrize("loss", ["zlpr", "powerset"])
def test_other_label_sets_than_those_of_the_model_are_refused(tmp_path: Path, loss: str) -> None:
    """The model has as many outputs as the loss expects, with other meanings."""
    fitted = LabelSets.fit(targets())
    sets = fitted.sets[::-1] if loss == "powerset" else ((0,), (1,), (0, 1))
    torch.manual_seed(0)
    made = BertForSequenceClassification(tiny_config(num_labels=len(sets)))
    stored = LabelSets(sets, 3)
    made.config.id2label = stored.output_space(SPACE).id2label
    made.config.zlpr = {"loss": "powerset", **stored.to_config(SPACE)}
    with pytest.raises(ValueError, match="outputs of the model are label sets, other than"):
        ZLPRTrainer(made, arguments(tmp_path, loss=loss), train_dataset=rows())


def test_powerset_model_of_your_own_is_saved_with_its_label_sets(tmp_path: Path) -> None:
    fitted = LabelSets.fit(targets())
    torch.manual_seed(0)
    made = BertForSequenceClassification(tiny_config(num_labels=len(fitted.sets)))
    trainer = ZLPRTrainer(made, arguments(tmp_path, loss="powerset"), train_dataset=rows())
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    make_tokenizer().save_pretrained(tmp_path / "saved")
    found = Classifier.load(tmp_path / "saved")
    assert found.label_sets == fitted
    assert found.label_space.names == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert trainer.predict(rows()).predictions.shape == (ROWS, 3)


def test_names_of_a_powerset_model_survive_training(tmp_path: Path, encoder_dir: Path) -> None:
    fitted = LabelSets.fit(targets())
    made = load_model(str(encoder_dir), SPACE, loss="powerset", label_sets=fitted)
    before = dict(made.config.id2label)
    ZLPRTrainer(made, arguments(tmp_path, loss="powerset"), train_dataset=rows()).train()
    assert made.config.id2label == before
    assert made.config.zlpr["labels"] == list(SPACE.names)


def test_module_of_your_own_is_recorded_with_its_hyper_parameters(tmp_path: Path) -> None:
    trainer = ZLPRTrainer(
        model(), arguments(tmp_path), train_dataset=rows(), loss=FocalLoss(gamma=3.0)
    )
    trainer.train()
    assert trainer.model.config.zlpr == {"loss": "focal", "loss_kwargs": {"gamma": 3.0}}


def test_whole_model_replaces_an_adapter_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    trainer = ZLPRTrainer(offset_model(), arguments(tmp_path))
    trainer.save_model(str(folder))
    make_tokenizer().save_pretrained(folder)
    found = Classifier.load(folder).model.state_dict()
    for name, value in trainer.model.state_dict().items():
        torch.testing.assert_close(found[name], value)

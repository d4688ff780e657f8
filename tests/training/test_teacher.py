"""Teachers decide as Classifier does, and have a head of their own."""

from pathlib import Path

import numpy as np
import pytest

from tests.builders import make_tokenizer
from tests.training.builders import model
from zlpr_hf import InputError, LabelSpace, Thresholds
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.training.distillation import Teacher

SPACE = LabelSpace(("LABEL_0", "LABEL_1", "LABEL_2"))


def test_stored_offsets_are_part_of_the_logits(tmp_path: Path) -> None:
    made = model()
    made.config.problem_type = "multi_label_classification"
    offsets = Thresholds((0.3, -0.2, 0.1)).to_config()
    made.config.zlpr = {"loss": "zlpr", "thresholds": offsets}
    made.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    texts = [("red dog",), ("the sea",)]
    found = Teacher.load(str(tmp_path), SPACE).compute_logits(
        texts, max_length=16, batch_size=2, folder=tmp_path
    )
    expected = Classifier.load(tmp_path).compute_logits(texts)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_teacher_without_a_head_is_refused(tmp_path: Path) -> None:
    model().base_model.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="teacher_model_name_or_path: .*not a trained classifier"):
        Teacher.load(str(tmp_path), SPACE)

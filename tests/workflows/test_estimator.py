"""ZLPRClassifier: the forms of texts and labels, and the tools of scikit-learn."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from scipy.sparse import csr_matrix
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MultiLabelBinarizer
from sklearn.utils import estimator_checks, get_tags
from transformers import AutoModelForSequenceClassification

from tests.builders import COLOURS, OTHERS, make_colour_rows
from zlpr_hf import Classifier, InputError, ZLPRClassifier
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.python_call import config_from_options

ROWS = make_colour_rows()
TEXTS = [str(row["text"]) for row in ROWS]
LABELS: Any = [row["labels"] for row in ROWS]
SPACE = sorted(COLOURS)
MULTI_HOT = MultiLabelBinarizer(classes=SPACE).fit_transform(LABELS)
IDS = [[SPACE.index(name) for name in row] for row in LABELS]
NEW = ["a red dog", "green sea and blue sky", "the cat"]


@pytest.fixture(scope="module")
def options(encoder_dir: Path) -> dict[str, Any]:
    return {
        "model": str(encoder_dir), "num_train_epochs": 12, "per_device_train_batch_size": 8,
        "learning_rate": 5e-3, "head_learning_rate": 1e-2, "pooling": "mean", "max_length": 16,
        "bf16": False, "baselines": False, "folds": 0, "contrastive_alpha": 0,
    }  # fmt: skip


@pytest.fixture(scope="module")
def quick(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a training that learns little."""
    return options | {"num_train_epochs": 1, "save_strategy": "no"}


@pytest.fixture(scope="module")
def fitted(options: dict[str, Any]) -> ZLPRClassifier:
    return ZLPRClassifier(**options).fit(TEXTS, LABELS)


def test_it_learns_and_answers_with_names(fitted: ZLPRClassifier) -> None:
    assert fitted.classes_.tolist() == SPACE
    assert "red" in fitted.predict(NEW)[0]
    logits, scores = fitted.decision_function(NEW), fitted.predict_proba(NEW)
    assert logits.shape == scores.shape == (3, 3)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits.astype(float))))
    np.testing.assert_array_equal(scores > 0.5, logits > 0)
    assert fitted.evaluate(TEXTS, LABELS)["f1_micro"] > 0.8
    assert fitted.report_ is not None
    assert fitted.report_.metrics["f1_micro"] > 0.8


def test_few_rows_are_cross_fitted_unless_folds_is_zero(quick: dict[str, Any]) -> None:
    few = {name: value for name, value in quick.items() if name != "folds"}
    with pytest.raises(InputError, match="folds"):
        ZLPRClassifier(**few).fit(TEXTS[:3], LABELS[:3])
    for options, expected in ((few, True), (quick, False)):
        fitted = ZLPRClassifier(**options).fit(TEXTS, LABELS)
        assert (Path(fitted.output_dir_) / "out_of_fold.npz").is_file() == expected


def test_it_is_a_run_of_zlpr_train(options: dict[str, Any], tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "labels": [list(row) for row in MULTI_HOT.astype(float)]})
    settings = {"seed" if name == "random_state" else name: each for name, each in options.items()}
    names = tmp_path / "names.txt"
    names.write_text("\n".join(SPACE) + "\n")
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    settings |= {"train_file": tmp_path / "rows.jsonl", "label_names_file": names,
                 "num_train_epochs": 1, "output_dir": tmp_path / "run"}  # fmt: skip
    expected = finetune_config(config_from_options(settings), log=lambda text: None)
    made = ZLPRClassifier(**options | {"num_train_epochs": 1}).fit(TEXTS, LABELS)
    assert made.report_ is not None
    assert made.report_.test == expected.test


FORMS = {
    "series": (pd.Series(TEXTS), pd.Series(LABELS)),
    "arrays": (np.array(TEXTS), MULTI_HOT),
    "column of texts": (np.array(TEXTS, dtype=object)[:, None], MULTI_HOT.astype(float)),
    "sparse": (TEXTS, csr_matrix(MULTI_HOT)),
    "flags": (TEXTS, MULTI_HOT.astype(bool)),
    "frame of labels": (TEXTS, pd.DataFrame(MULTI_HOT, columns=SPACE)),
    "written lists": (TEXTS, [str(row) for row in LABELS]),
    "ids": (TEXTS, IDS),
    "frame": (pd.DataFrame({"text": TEXTS, "labels": LABELS, "other": 1}), None),
    "data set": (Dataset.from_dict({"text": TEXTS, "labels": LABELS}), None),
    "columns of a data set": (
        Dataset.from_dict({"t": TEXTS})["t"], Dataset.from_dict({"l": LABELS})["l"],
    ),
    "declared ids": (
        Dataset.from_dict(
            {"text": TEXTS, "label": IDS},
            features=Features({"text": Value("string"), "label": List(ClassLabel(names=SPACE))}),
        ),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_texts_and_labels(form: str, fitted: ZLPRClassifier) -> None:
    """All forms have the same score, so that they mean the same labels."""
    texts, labels = FORMS[form]
    expected = fitted.evaluate(TEXTS, LABELS)
    assert fitted.evaluate(texts, labels) == expected
    if labels is not None:
        assert fitted.score(texts, labels) == expected["subset_accuracy"]


@pytest.mark.parametrize("form", ["arrays", "ids", "frame of labels", "written lists"])
def test_prediction_has_the_form_of_the_labels(form: str, quick: dict[str, Any]) -> None:
    texts, labels = FORMS[form]
    made = ZLPRClassifier(**quick).fit(texts, labels)
    named = form in ("frame of labels", "written lists")
    assert made.classes_.tolist() == (SPACE if named else ["LABEL_0", "LABEL_1", "LABEL_2"])
    decided = made.predict_proba(NEW) > 0.5
    found = made.predict(NEW)
    if form == "ids":
        assert found == [np.flatnonzero(row).tolist() for row in decided]
    elif form == "written lists":
        assert found == [[SPACE[i] for i in np.flatnonzero(row)] for row in decided]
    else:
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, decided)


def test_names_soft_labels_pairs_and_single_names(quick: dict[str, Any]) -> None:
    soft = MULTI_HOT * 0.8 + 0.1
    soft[0, 1] = np.nan
    pairs = [(text, "the sky") for text in TEXTS]
    made = ZLPRClassifier(label_names=["x", "y", "z"], **quick).fit(pairs, soft)
    assert made.classes_.tolist() == ["x", "y", "z"]
    assert made.predict([("red", "dog")]).shape == (1, 3)
    first = [row[0] if row else "none" for row in LABELS]
    made = ZLPRClassifier(**quick).fit(TEXTS, first)
    assert made.classes_.tolist() == sorted({*first})


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (TEXTS, [0, 1, 2] * 40, "class ids"),
        (TEXTS, MULTI_HOT[:5], "got 5 for 120"),
        (TEXTS, None, "pass them"),
        ("red", LABELS, "^texts: expected a list"),
        ([*TEXTS[:-1], None], LABELS, "^texts: expected a text.*119"),
        (pd.DataFrame({"body": TEXTS, "tags": LABELS}), LABELS, "column 'text'"),
        (TEXTS, "red", "multi-hot array"),
        (TEXTS, [";".join(row) or "none" for row in LABELS], r"labels.str.split"),
        (TEXTS, MULTI_HOT * 2.5, "row 1: expected 0, 1 or a probability"),
        (TEXTS, [["red"], [1]] * 60, "several kinds"),
    ],
)
def test_wrong_rows_end_in_one_line(
    texts: Any, labels: Any, message: str, quick: dict[str, Any]
) -> None:
    made = ZLPRClassifier(**quick)
    with pytest.raises(InputError, match=message) as refused:
        made.fit(texts, labels)
    assert "\n" not in str(refused.value)
    with pytest.raises(NotFittedError):
        made.predict(NEW)


def test_unknown_labels_of_new_rows_are_refused(fitted: ZLPRClassifier) -> None:
    with pytest.raises(InputError, match="row 2: unknown label 'rad'.*red"):
        fitted.evaluate(NEW, [["red"], ["rad"], []])
    with pytest.raises(InputError, match="row 1: expected 3 numbers"):
        fitted.score(NEW, np.zeros((3, 2)))


def test_score_weighs_rows_and_leaves_unknown_labels_out(fitted: ZLPRClassifier) -> None:
    truth = (fitted.decision_function(NEW) > 0).astype(float)
    truth[2, 0] = 1 - truth[2, 0]
    assert fitted.score(NEW, truth) == pytest.approx(2 / 3)
    assert fitted.score(NEW, truth, sample_weight=[1, 1, 0]) == 1
    truth[2] = np.nan
    truth[0, 0] = np.nan
    assert fitted.score(NEW, truth) == 1


def test_parameters_are_all_options_of_training(encoder_dir: Path) -> None:
    made = ZLPRClassifier(encoder_dir, lr=1e-3, weight_decay=0.1, seed=3)
    assert made.get_params()["learning_rate"] == 1e-3
    assert made.get_params()["weight_decay"] == 0.1
    assert made.random_state == 3
    copied = clone(made.set_params(warmup_steps=5, epochs=2))
    assert copied.get_params() == made.get_params()
    assert (copied.num_train_epochs, copied.warmup_steps) == (2, 5)
    assert "weight_decay" in repr(made)
    for wrong, name in (("weight_deca", "weight_decay"), ("train_file", "fit")):
        with pytest.raises(TypeError, match=name):
            ZLPRClassifier(**{wrong: 1})
        with pytest.raises(TypeError, match=name):
            made.set_params(**{wrong: 1})
    with pytest.raises(InputError, match="loss must be one of"):
        ZLPRClassifier(loss="zlrp").fit(TEXTS, LABELS)


def test_files_come_and_go(quick: dict[str, Any], tmp_path: Path) -> None:
    made = ZLPRClassifier(**quick).fit(TEXTS, LABELS)
    folder = made.output_dir_
    assert made.report(tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    made.save(tmp_path / "deep" / "model")
    logits = made.decision_function(NEW)
    np.testing.assert_array_equal(
        Classifier(tmp_path / "deep" / "model").compute_logits(NEW), logits
    )
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "deep" / "model")
    with pytest.raises(InputError, match="new or empty"):
        made.save(tmp_path / "deep" / "model")
    loaded = ZLPRClassifier.from_pretrained(tmp_path / "deep" / "model")
    np.testing.assert_array_equal(loaded.decision_function(NEW), logits)
    assert loaded.predict(NEW) == made.predict(NEW)
    assert loaded.report_.test == made.report_.test  # type: ignore[union-attr]
    made.fit(TEXTS, LABELS)
    assert not folder.exists()
    folder = made.output_dir_
    assert folder.exists()
    del made
    assert not folder.exists()
    kept = ZLPRClassifier(**quick, output_dir=tmp_path / "run").fit(TEXTS, LABELS)
    del kept
    assert (tmp_path / "run" / "report.html").is_file()


def test_pickled_models_are_complete(
    fitted: ZLPRClassifier, quick: dict[str, Any], tmp_path: Path
) -> None:
    logits = fitted.decision_function(NEW)
    joblib.dump(fitted, tmp_path / "model.joblib")
    for loaded in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "model.joblib")):
        assert loaded.output_dir_ != fitted.output_dir_
        np.testing.assert_array_equal(loaded.decision_function(NEW), logits)
        assert loaded.get_params() == fitted.get_params()
    unfitted = pickle.loads(pickle.dumps(ZLPRClassifier(**quick)))
    with pytest.raises(NotFittedError):
        unfitted.predict(NEW)


def test_nothing_is_printed(quick: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    ZLPRClassifier(**quick).fit(TEXTS, LABELS)
    assert capfd.readouterr() == ("", "")
    ZLPRClassifier(**quick, verbose=True).fit(TEXTS, LABELS)
    assert "labels" in capfd.readouterr().out


def test_cross_validation_and_search(quick: dict[str, Any]) -> None:
    made = ZLPRClassifier(**quick)
    scores = cross_val_predict(made, np.array(TEXTS), MULTI_HOT, cv=2, method="predict_proba")
    f1 = cross_val_score(made, pd.Series(TEXTS), MULTI_HOT, cv=KFold(2), scoring="f1_micro")
    first = f1_score(MULTI_HOT[:60], scores[:60] > 0.5, average="micro", zero_division=0)
    assert f1[0] == pytest.approx(first)
    folds = [(range(60), range(60, len(TEXTS)))]
    search = GridSearchCV(made, {"learning_rate": [1e-9, 5e-3]}, cv=folds)
    search.fit(TEXTS, MULTI_HOT)
    assert search.best_estimator_.predict(NEW).shape == (3, 3)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_pipeline(quick: dict[str, Any]) -> None:
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = Pipeline([("lower", lower), ("classify", ZLPRClassifier(**quick))])
    pipeline.fit([text.upper() for text in TEXTS], LABELS)
    assert pipeline.predict(["RED DOG"]) == pipeline.predict(["red dog"])
    assert list(pipeline.classes_) == SPACE


def test_checks_of_scikit_learn(encoder_dir: Path) -> None:
    made = ZLPRClassifier(str(encoder_dir))
    tags = get_tags(made)
    assert is_classifier(made)
    assert tags.input_tags.string
    assert tags.classifier_tags.multi_label
    with warnings.catch_warnings():
        # Its data are numbers: of a classifier of texts it checks the interface alone.
        warnings.simplefilter("ignore", SkipTestWarning)
        estimator_checks.check_estimator(made)
    odd = dict.fromkeys(made.get_params(), object())
    assert ZLPRClassifier(**odd).set_params(**odd).get_params() == odd  # fit checks values
    for check in INTERFACE_CHECKS:
        getattr(estimator_checks, check)("ZLPRClassifier", made)


INTERFACE_CHECKS = (
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types",
    "check_estimator_repr", "check_no_attributes_set_in_init",
    "check_parameters_default_constructible", "check_get_params_invariance", "check_set_params",
    "check_mixin_order",
)  # fmt: skip
"""Without check_do_not_raise_errors_in_init_or_set_params: it takes ``**options`` for the name of a
parameter, and unknown names are refused at once, as Python refuses unknown keywords."""
FITTING_CHECKS = (
    "check_estimators_overwrite_params", "check_dont_overwrite_parameters",
    "check_estimators_fit_returns_self", "check_estimators_unfitted", "check_dict_unchanged",
    "check_fit_idempotent", "check_fit_score_takes_y", "check_methods_sample_order_invariance",
    "check_methods_subset_invariance", "check_estimators_pickle",
)  # fmt: skip
"""Those that need data; all others are about arrays of numbers or about single labels."""


class NumbersAsTexts(ZLPRClassifier):
    """Takes the data of scikit-learn's checks: rows of numbers, and one class per row."""

    def fit(self, X: Any, y: Any = None) -> Any:
        return super().fit(self.texts_of(X), self.columns_of(y))

    def predict(self, X: Any) -> Any:
        return super().predict(self.texts_of(X))

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(self.texts_of(X))

    def decision_function(self, X: Any) -> Any:
        return super().decision_function(self.texts_of(X))

    def score(self, X: Any, y: Any = None) -> float:
        return float(super().score(self.texts_of(X), self.columns_of(y)))

    @staticmethod
    def columns_of(classes: Any) -> Any:
        return (np.asarray(classes)[:, None] == np.unique(classes)).astype(int)

    @staticmethod
    def texts_of(rows: Any) -> list[str]:
        if len(rows) and isinstance(rows[0], (str, tuple)):  # texts, alone or in rows
            return list(rows)
        return [" ".join(OTHERS[int(7 * abs(value)) % 15] for value in row) for row in rows]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        return tags


@pytest.mark.slow
@pytest.mark.parametrize("check", FITTING_CHECKS)
def test_checks_of_scikit_learn_that_train(check: str, quick: dict[str, Any]) -> None:
    getattr(estimator_checks, check)("NumbersAsTexts", NumbersAsTexts(**quick))

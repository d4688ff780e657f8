"""ZLPRClassifier: training and inference behind the verbs of scikit-learn."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from zlpr_hf.data.given_labels import GivenForm, GivenLabels
from zlpr_hf.data.given_texts import read_table, read_texts
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import new_folder, whole_file
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.labels import LabelSpace, known_mask
from zlpr_hf.metrics.multi_label import compute_multi_label_metrics
from zlpr_hf.models.paths import resolve_model_path
from zlpr_hf.reports.report import Report
from zlpr_hf.thresholds import Thresholds, compute_scores
from zlpr_hf.training.checkpoints import find_checkpoints
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.model_arguments import ModelArguments
from zlpr_hf.workflows.option_words import current_name, option_names, unknown_option
from zlpr_hf.workflows.output_dir import REPORT_FILE, RESULTS_FILE
from zlpr_hf.workflows.push import push_folder
from zlpr_hf.workflows.python_call import config_from_options, texts_to_source
from zlpr_hf.workflows.silence import silence

logger = logging.getLogger(__name__)

Auto = Literal["auto"]
AUTO: Auto = "auto"
NAMES = {"model": "model_name_or_path", "random_state": "seed"}
"""Parameters with a name of scikit-learn, and the option of ``zlpr train``."""
OWN = ("label_names", "output_dir", "verbose")
"""Parameters that are no options of ``zlpr train``, or need more than their value."""
FILE_OPTIONS = {spec.name for spec in fields(DataArguments)} - {
    "validation_size", "test_size", "split_seed", "folds", "overwrite_output_dir",
}  # fmt: skip


class ZLPRClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multi-label text classifier with the methods of scikit-learn; fine-tunes an encoder.

    It is ``zlpr train`` on texts in memory: rows for validation and test are held out of those that
    :meth:`fit` gets, and the report is about the test rows. Works in ``Pipeline``,
    ``cross_val_predict`` and ``GridSearchCV`` with multi-hot labels, and can be cloned and pickled.

    Args:
        model: Encoder or classifier to start from: Hub id, folder or ``package:MODULE/FOLDER``.
        label_names: Names of the labels, in the order of the columns of multi-hot arrays or of ids
            (default: from the labels, else ``LABEL_0`` and so on).
        max_length: Longest text in tokens, or ``auto``, the default of ``zlpr train``.
        num_train_epochs: Passes over the training rows, or ``auto``.
        learning_rate: Learning rate of the encoder, or ``auto``.
        per_device_train_batch_size: Texts per step, or ``auto``.
        loss: A name in :data:`zlpr_hf.LOSSES`.
        loss_kwargs: Hyper-parameters of the loss.
        tune_thresholds: ``none``, ``rare_labels``, ``global`` or ``per_label``: offsets fitted on
            validation rows; ``auto``, the default, is ``rare_labels`` where the loss allows it.
        validation_size: Share of the rows that chooses epoch, temperature and offsets.
        test_size: Share of the rows that the report is about.
        random_state: Seed of the training.
        output_dir: Folder of the run (default: a temporary one that goes with this object).
        verbose: Whether to print the data profile, progress and results of training.
        **options: Any other option of ``zlpr train``, such as ``weight_decay`` or ``folds``, which
            is 0 for a single training of few rows in place of six; parameters as well for
            ``get_params``, ``set_params`` and searches.

    Attributes:
        classes_: Names of the labels, ``(L,)``.
        classifier_: The trained :class:`zlpr_hf.Classifier`.
        report_: All numbers of the run, a :class:`zlpr_hf.Report`; None if it was loaded without.
        output_dir_: Folder with the model and its report.

    Example:
        >>> texts = [f"{text} {number}" for number in range(10) for text in ("dog", "cat", "bird")]
        >>> labels = [["big"], ["small"], ["big", "small"]] * 10
        >>> classifier = ZLPRClassifier(
        ...     "google-bert/bert-base-uncased", num_train_epochs=1, max_length=64
        ... )
        >>> classifier.fit(texts, labels).classes_.tolist()
        ['big', 'small']
        >>> classifier.predict_proba(["a small cat"]).shape
        (1, 2)
    """

    def __init__(
        self,
        model: str = ModelArguments.model_name_or_path,
        *,
        label_names: Any = None,
        max_length: int | Auto = AUTO,
        num_train_epochs: float | Auto = AUTO,
        learning_rate: float | Auto = AUTO,
        per_device_train_batch_size: int | Auto = AUTO,
        loss: str = "zlpr",
        loss_kwargs: Mapping[str, Any] | None = None,
        tune_thresholds: str = "auto",
        validation_size: float = 0.1,
        test_size: float = 0.1,
        random_state: int = 42,
        output_dir: str | Path | None = None,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        self.model = model
        self.label_names = label_names
        self.max_length = max_length
        self.num_train_epochs = num_train_epochs
        self.learning_rate = learning_rate
        self.per_device_train_batch_size = per_device_train_batch_size
        self.loss = loss
        self.loss_kwargs = loss_kwargs
        self.tune_thresholds = tune_thresholds
        self.validation_size = validation_size
        self.test_size = test_size
        self.random_state = random_state
        self.output_dir = output_dir
        self.verbose = verbose
        self._set_options(options)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return all parameters, and the further options that were set."""
        own: dict[str, Any] = super().get_params(deep)
        more = sorted(vars(self).keys() & option_names() - own.keys())
        return own | {name: getattr(self, name) for name in more}

    def set_params(self, **params: Any) -> ZLPRClassifier:
        """Set parameters, among them any option of ``zlpr train``; return this object."""
        own: dict[str, Any] = super().get_params(deep=False)
        super().set_params(**{name: params[name] for name in params if name in own})
        self._set_options({name: params[name] for name in params if name not in own})
        return self

    def _set_options(self, options: Mapping[str, Any]) -> None:
        scikit = {option: name for name, option in NAMES.items()}
        for given, value in options.items():
            name = current_name(given)
            if name not in option_names():
                raise TypeError(str(unknown_option(given, "ZLPRClassifier")))
            if name in FILE_OPTIONS:
                raise TypeError(f"ZLPRClassifier: {given} is about files; pass the rows to fit")
            setattr(self, scikit.get(name, name), value)

    def fit(self, X: Any, y: Any = None) -> ZLPRClassifier:
        """Train on texts and their labels.

        Args:
            X: Texts: a list, a column of pandas or ``datasets``, or a table with the columns
                ``text`` (``text_pair`` for pairs) and, without ``y``, ``labels`` or ``label``.
            y: Labels: lists of names, one name per row, a multi-hot array or data frame ``(N, L)``,
                or lists of label ids. Probabilities are soft labels; NaN marks unknown ones.

        Raises:
            InputError: If an option, a text or a label is wrong; with the row.
        """
        rows, cells = read_table(X, y)
        given = GivenLabels.read(cells, self.label_names)
        self._release()
        folder = Path(self.output_dir) if self.output_dir else self._new_folder()
        try:
            config = config_from_options(self._training_options() | {"output_dir": folder})
            source = texts_to_source(rows, given)
            if "text_pair" in source.splits["train"].column_names:
                config = replace(config, data=replace(config.data, text_pair_column="text_pair"))
            with nullcontext() if self.verbose else silence():
                log: Any = print if self.verbose else lambda text: None
                report = finetune_config(config, data=source, log=log)
                self.report_: Report | None = report
                self._load(folder, given.form)
            for note in report.warnings:
                logger.warning("%s", note)
        except BaseException:
            self._release()
            raise
        if not self.output_dir:
            for checkpoint in find_checkpoints(folder):
                shutil.rmtree(checkpoint, ignore_errors=True)
        return self

    def predict(self, X: Any) -> Any:
        """Return the predicted labels in the form that :meth:`fit` was given.

        An integer array ``(N, L)`` after multi-hot labels, lists of ids after ids, else lists of
        names.
        """
        logits = self.decision_function(X)
        predictions = self.classifier_.decide(logits)
        empty = np.zeros((0, len(self.classes_)), np.float32)
        return GivenLabels(self._form, LabelSpace(tuple(self.classes_)), empty).decode(predictions)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the score ``sigmoid(logit)`` of each label in ``classes_``, ``(N, L)``.

        The scores of a text do not sum to 1: every label has its own.
        """
        return compute_scores(self.decision_function(X))

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Return the logits ``(N, L)``; a label is predicted if its logit is above zero."""
        check_is_fitted(self, "classifier_")
        return self.classifier_.compute_logits(read_texts(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of texts with exactly the right labels, as in scikit-learn.

        :meth:`evaluate` has F1 and all other metrics; searches take ``scoring="f1_micro"``.
        Texts without a known label do not count; unknown labels match anything.
        """
        logits, targets = self._compare(X, y)
        known, predicted = known_mask(targets), self.classifier_.decide(logits)
        right = ((predicted == (targets >= 0.5)) | ~known).all(1)
        weights = np.ones(len(right)) if sample_weight is None else np.asarray(sample_weight)
        return float(np.average(right, weights=weights * known.any(1)))

    def evaluate(self, X: Any, y: Any = None) -> dict[str, float]:
        """Return all multi-label metrics of the texts, see the documentation of the metrics.

        Args:
            X: Texts, or a table with texts and labels, as for :meth:`fit`.
            y: Labels in any form of :meth:`fit`; unknown names are an error.
        """
        logits, targets = self._compare(X, y)
        decided = self.classifier_.decide(logits)
        return compute_multi_label_metrics(logits, targets, predictions=decided)

    def save(self, folder: str | Path) -> None:
        """Write model, tokenizer, card, report and numbers to a new or empty folder.

        Every server of transformers loads it, as do :meth:`from_pretrained` and
        :class:`zlpr_hf.Classifier`.
        """
        check_is_fitted(self, "classifier_")
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise InputError(f"{folder}: expected a new or empty folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as part:
            for name, content in self._files():
                (part / name).write_bytes(content)

    @classmethod
    def from_pretrained(cls, name: str | Path, **params: Any) -> ZLPRClassifier:
        """Load a trained model from a folder or the Hub; :meth:`fit` would train it further.

        Args:
            name: Folder of :meth:`save` or ``zlpr train``, or Hub id.
            **params: Parameters for a further :meth:`fit`.

        Raises:
            InputError: If there is no such model, or it is not a multi-label classifier.
        """
        made = cls(str(name), **params)
        return made._load(Path(resolve_model_path(str(name))), "names", name=str(name))

    def push_to_hub(self, repo_id: str, **options: Any) -> Any:
        """Push the model with :func:`zlpr_hf.push_folder`, which lists the options."""
        check_is_fitted(self, "classifier_")
        return push_folder(self.output_dir_, repo_id, **options)

    def report(self, path: str | Path) -> Path:
        """Write the HTML report on the held-out test rows of :meth:`fit`, and return its path."""
        check_is_fitted(self, "classifier_")
        source = self.output_dir_ / REPORT_FILE
        if not source.is_file():
            raise InputError(f"{self.output_dir_} has no {REPORT_FILE}: it is made by fit")
        with whole_file(Path(path)) as part:
            shutil.copyfile(source, part)
        return Path(path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return parameters and the files of the model, which a temporary folder may hold."""
        state = dict(super().__getstate__())
        if "classifier_" in state:
            state["_content"] = dict(self._files())
        for name in ("classifier_", "output_dir_", "_finalizer"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        content = state.pop("_content", None)
        super().__setstate__(state)
        if content is not None:
            folder = self._new_folder()
            for name, data in content.items():
                (folder / name).write_bytes(data)
            self._load(folder, self._form)

    def _load(self, folder: Path, form: GivenForm, *, name: str | None = None) -> ZLPRClassifier:
        self.classifier_ = Classifier.load(name or folder)
        if not folder.is_dir():  # a model on the Hub
            folder = self._new_folder()
            self.classifier_.save(folder, Thresholds())
        self.classes_ = np.array(self.classifier_.label_space.names, dtype=object)
        self.output_dir_ = folder
        self._form: GivenForm = form
        if not hasattr(self, "report_"):
            results = folder / RESULTS_FILE
            self.report_ = Report.load(results) if results.is_file() else None
        return self

    def _new_folder(self) -> Path:
        """Return a temporary folder that goes with this object."""
        folder = tempfile.mkdtemp(prefix="zlpr_hf-")
        self._finalizer = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _release(self) -> None:
        """Forget an earlier fit, with its temporary folder."""
        finalizer = self.__dict__.pop("_finalizer", None)
        if finalizer is not None:
            finalizer()
        for name in ("classifier_", "classes_", "report_", "output_dir_", "_form"):
            self.__dict__.pop(name, None)

    def _files(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted(self.output_dir_.iterdir()):
            if path.is_file():
                yield path.name, path.read_bytes()

    def _training_options(self) -> dict[str, Any]:
        """Return the options of ``zlpr train``; those at ``auto`` are left to it."""
        values = {NAMES.get(name, name): value for name, value in self.get_params().items()}
        if not self.verbose:
            values["disable_tqdm"] = True
        return {name: value for name, value in values.items() if name not in OWN and value != AUTO}

    def _compare(self, X: Any, y: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return logits and targets ``(N, L)``."""
        check_is_fitted(self, "classifier_")
        rows, cells = read_table(X, y)
        given = GivenLabels.read(cells, tuple(self.classes_))
        given.check_count(rows)
        return self.decision_function(rows), given.targets

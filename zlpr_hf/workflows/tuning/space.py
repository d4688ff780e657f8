"""The search space: options and the values to try."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna

from zlpr_hf.errors import InputError, suggest
from zlpr_hf.files.yaml_mapping import read_yaml_mapping
from zlpr_hf.losses.registry import LOSSES
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.workflows.option_words import SEARCH_SPACE

HEAD_RATE_RATIO = "head_learning_rate_ratio"
"""The learning rate of the head as a multiple of the encoder's; not an option of zlpr train."""
INTEGER_OPTIONS = ("per_device_train_batch_size", "gradient_accumulation_steps")
SEARCHABLE = (
    *INTEGER_OPTIONS, "learning_rate", "head_learning_rate", HEAD_RATE_RATIO,
    "num_train_epochs", "warmup_steps", "weight_decay", "lr_scheduler_type",
    "label_smoothing_factor", "rdrop_alpha", "contrastive_alpha", "contrastive_temperature",
    "max_grad_norm", "adam_beta1", "adam_beta2",
)  # fmt: skip
LOSS_PREFIX = "loss_kwargs."
"""Prefix of the hyper-parameters of the loss, as in ``loss_kwargs.gamma``."""
KEYS = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; with ``log``, uniform in the logarithm."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """Return a value for a trial."""
        if name in INTEGER_OPTIONS:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(name, low, high, log=self.log, step=step)
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high and (
            self.step is None or math.isclose((value - self.low) % self.step, 0)
        )

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values to check before the search."""
        return self.low, self.high


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Return a value for a trial."""
        return trial.suggest_categorical(name, self.values)

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values to check before the search."""
        return self.values


@dataclass(frozen=True)
class SearchSpace:
    """The dimensions of a search by name, and the configuration's own values.

    The learning rate of the head keeps its ratio to the encoder's unless it is searched itself.
    """

    dimensions: Mapping[str, Range | Choices]
    base: Mapping[str, Any]

    @classmethod
    def from_mapping(
        cls, given: Mapping[str, Any] | None, arguments: ZLPRTrainingArguments
    ) -> SearchSpace:
        """Read the section ``search_space`` of a configuration.

        Without one, the space is a quarter to four times the learning rate, 1 to 30 times that rate
        for the head, half to twice the batch size, up to a fifth of the steps for warm-up, and a
        weight decay of 0 to 0.1.
        """
        base = {name: getattr(arguments, name) for name in SEARCHABLE if name != HEAD_RATE_RATIO}
        base["lr_scheduler_type"] = getattr(base["lr_scheduler_type"], "value", "linear")
        given_kwargs: Any = arguments.loss_kwargs  # a mapping once it is checked
        loss_kwargs = LOSSES[arguments.loss].hyper_parameters() | given_kwargs
        base |= {LOSS_PREFIX + name: value for name, value in loss_kwargs.items()}
        base["loss_kwargs"] = given_kwargs
        rate = base["learning_rate"]
        base["head_learning_rate"] = arguments.effective_head_learning_rate
        base[HEAD_RATE_RATIO] = base["head_learning_rate"] / rate if rate else 1.0
        if given is not None:
            known = (*SEARCHABLE, *(LOSS_PREFIX + name for name in loss_kwargs))
            _check_names(given, known)
            return cls({name: _read_dimension(name, given[name]) for name in given}, base)
        if not rate:
            raise InputError(f"learning_rate: expected a value above 0, got {rate:g}")
        batch = base["per_device_train_batch_size"]
        dimensions: dict[str, Range | Choices] = {
            "learning_rate": Range(rate / 4, rate * 4, log=True),
            HEAD_RATE_RATIO: Range(1.0, 30.0, log=True),
            "per_device_train_batch_size": Choices(
                tuple(sorted({max(1, batch // 2), batch, 2 * batch}))
            ),
            "weight_decay": Range(0.0, 0.1),
        }
        if base["warmup_steps"] < 1:  # a fraction of all steps, not their number
            dimensions["warmup_steps"] = Range(0.0, 0.2)
        return cls(dimensions, base)

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Return the options of a trial of Optuna."""
        values = {name: each.suggest(trial, name) for name, each in self.dimensions.items()}
        return self.options(values)

    def options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of ``zlpr train`` for values of the space."""
        found = dict(values)
        ratio = found.pop(HEAD_RATE_RATIO, self.base[HEAD_RATE_RATIO])
        if "head_learning_rate" not in found and {HEAD_RATE_RATIO, "learning_rate"} & set(values):
            rate = found.get("learning_rate", self.base["learning_rate"])
            found["head_learning_rate"] = ratio * rate
        searched = [name for name in found if name.startswith(LOSS_PREFIX)]
        if searched:
            changes = {name.removeprefix(LOSS_PREFIX): found.pop(name) for name in searched}
            found["loss_kwargs"] = self.base["loss_kwargs"] | changes
        return found

    @property
    def start(self) -> dict[str, Any]:
        """The configuration's own values, if the space contains them."""
        return {
            name: self.base[name]
            for name, each in self.dimensions.items()
            if self.base[name] in each
        }

    def corners(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Yield the name and the options of each extreme value, to be checked one by one."""
        for name, dimension in self.dimensions.items():
            for value in dimension.extremes:
                yield name, self.options({name: value})

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the dimensions as plain values."""
        return {name: asdict(dimension) for name, dimension in self.dimensions.items()}


def read_search_space(path: Path) -> dict[str, Any] | None:
    """Return the section ``search_space`` of a configuration; None if it has none."""
    given = read_yaml_mapping(path, "expected lines of 'name: value'").get(SEARCH_SPACE)
    if given is not None and (not isinstance(given, dict) or not given):
        raise InputError(f"{path}: {SEARCH_SPACE}: expected names and their values, got {given!r}")
    return given


def _check_names(given: Mapping[str, Any], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"{SEARCH_SPACE}: cannot search {name!r}{_hint(name, known)}")
    if {HEAD_RATE_RATIO, "head_learning_rate"} <= set(given):
        raise InputError(
            f"{SEARCH_SPACE}: expected {HEAD_RATE_RATIO} or head_learning_rate, got both"
        )


def _read_dimension(name: str, given: Any) -> Range | Choices:
    where, is_text = f"{SEARCH_SPACE}: {name}", name == "lr_scheduler_type"
    if isinstance(given, list):
        values = [each if is_text else _read_number(where, name, each) for each in given]
        if len(set(map(str, values))) < max(len(values), 1):
            raise InputError(f"{where}: expected different values, got {given!r}")
        return Choices(tuple(values))
    if not isinstance(given, dict) or is_text:
        forms = "a list of values" + ("" if is_text else ", or low and high")
        raise InputError(f"{where}: expected {forms}, got {given!r}")
    return _read_range(where, name, given)


def _read_range(where: str, name: str, given: Mapping[str, Any]) -> Range:
    for key in given:
        if key not in KEYS:
            raise InputError(f"{where}: unknown key {key!r}{_hint(key, KEYS)}")
    if not {"low", "high"} <= set(given):
        raise InputError(f"{where}: expected low and high, got {given!r}")
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}: log: expected true or false, got {log!r}")
    low, high = (_read_number(where, name, given[key]) for key in ("low", "high"))
    step = None if given.get("step") is None else _read_number(where, name, given["step"])
    if not low < high:
        raise InputError(f"{where}: expected low below high, got {low:g} and {high:g}")
    if log and (low <= 0 or step is not None):
        raise InputError(f"{where}: log needs low above 0 and no step, got {given!r}")
    if step is not None and not 0 < step <= high - low:
        raise InputError(f"{where}: step: expected above 0 to {high - low:g}, got {step:g}")
    return Range(low, high, log, step)


def _read_number(where: str, name: str, given: Any) -> float:
    try:
        number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        number = math.nan
    whole = name in INTEGER_OPTIONS
    if not math.isfinite(number) or (whole and number != int(number)):
        raise InputError(f"{where}: expected a {'whole ' * whole}number, got {given!r}")
    return int(number) if whole else number


def _hint(name: str, known: Collection[str]) -> str:
    return suggest(name, known, otherwise=f"; expected one of {', '.join(known)}")

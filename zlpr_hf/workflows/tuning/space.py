"""SearchSpace: which options a search varies, and between which values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna

from zlpr_hf.errors import InputError
from zlpr_hf.files.yaml_mapping import read_yaml_mapping
from zlpr_hf.losses.registry import LOSSES
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.workflows.arguments import SEARCH_SPACE

HEAD_RATE_RATIO = "head_learning_rate_ratio"
"""Not an option: the head's learning rate as a multiple of the encoder's."""
INTEGER_OPTIONS = ("per_device_train_batch_size", "gradient_accumulation_steps")
SEARCHABLE = (
    *INTEGER_OPTIONS, "learning_rate", "head_learning_rate", HEAD_RATE_RATIO,
    "num_train_epochs", "warmup_steps", "weight_decay", "lr_scheduler_type",
    "label_smoothing_factor", "rdrop_alpha", "max_grad_norm", "adam_beta1", "adam_beta2",
)  # fmt: skip
LOSS_PREFIX = "loss_kwargs."
"""Before the name of a hyper-parameter of the loss, as in ``loss_kwargs.gamma``."""
KEYS = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Range:
    """Numbers between two, both included.

    Args:
        low: The least.
        high: The greatest.
        log: Whether orders of magnitude are equally likely rather than numbers.
        step: Distance of the numbers that are tried; None for all.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """A value for a trial."""
        if name in INTEGER_OPTIONS:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(name, low, high, log=self.log, step=step)
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high and (
            self.step is None or math.isclose((value - self.low) % self.step, 0)
        )

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values of which each must do."""
        return self.low, self.high


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """A value for a trial."""
        return trial.suggest_categorical(name, self.values)

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values of which each must do."""
        return self.values


@dataclass(frozen=True)
class SearchSpace:
    """Options and the values that are tried; whatever is not among them stays as it is.

    Args:
        dimensions: Name to values.
        base: Options outside of the search. The head's learning rate follows the encoder's in their
            proportion there, unless it is searched itself.
    """

    dimensions: Mapping[str, Range | Choices]
    base: Mapping[str, Any]

    @classmethod
    def from_mapping(
        cls, given: Mapping[str, Any] | None, arguments: ZLPRTrainingArguments
    ) -> SearchSpace:
        """The space that a configuration asks for, or else one around its own values.

        Args:
            given: Its section ``search_space``, from :func:`read_search_space`.
            arguments: Its options.

        Returns:
            The space. Without ``given`` that is: a quarter to four times the learning rate, a head
            that learns 1 to 30 times as fast, half, the same or twice the batch, no warm-up to a
            fifth of the steps, and a weight decay of 0 to 0.1.

        Raises:
            InputError: If a name or a value is not what was expected.
        """
        base = {name: getattr(arguments, name) for name in SEARCHABLE if name != HEAD_RATE_RATIO}
        base["lr_scheduler_type"] = getattr(base["lr_scheduler_type"], "value", "linear")
        given_kwargs: Any = arguments.loss_kwargs  # a mapping once it is checked
        loss_kwargs = LOSSES[arguments.loss].hyper_parameters() | given_kwargs
        base |= {LOSS_PREFIX + name: value for name, value in loss_kwargs.items()}
        base["loss_kwargs"] = given_kwargs
        rate = base["learning_rate"]
        base[HEAD_RATE_RATIO] = base["head_learning_rate"] / rate if rate else 1.0
        if given is not None:
            known = (*SEARCHABLE, *(LOSS_PREFIX + name for name in loss_kwargs))
            names = _checked(given, known)
            return cls({name: _dimension(name, given[name]) for name in names}, base)
        if not rate:
            raise InputError(f"learning_rate: expected more than 0 to search around, got {rate:g}")
        batch = base["per_device_train_batch_size"]
        dimensions: dict[str, Range | Choices] = {
            "learning_rate": Range(rate / 4, rate * 4, log=True),
            HEAD_RATE_RATIO: Range(1.0, 30.0, log=True),
            "per_device_train_batch_size": Choices(
                tuple(sorted({max(1, batch // 2), batch, 2 * batch}))
            ),
            "weight_decay": Range(0.0, 0.1),
        }
        if base["warmup_steps"] < 1:  # a share of all steps, not their number
            dimensions["warmup_steps"] = Range(0.0, 0.2)
        return cls(dimensions, base)

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Values for a trial.

        Args:
            trial: Of Optuna.

        Returns:
            Option to value.
        """
        return self.options({n: of.suggest(trial, n) for n, of in self.dimensions.items()})

    def options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What is to be set for values of the space.

        Args:
            values: Name to value, such as the ``params`` of a trial.

        Returns:
            Option to value, the head's learning rate among them where it changes.
        """
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
        """The configuration's own values, as far as the space has them."""
        return {n: self.base[n] for n, of in self.dimensions.items() if self.base[n] in of}

    def corners(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Names with the options at each end of their values, to be checked one by one."""
        for name, dimension in self.dimensions.items():
            for value in dimension.ends:
                yield name, self.options({name: value})

    def describe(self) -> dict[str, dict[str, Any]]:
        """All of it as plain values."""
        return {name: asdict(dimension) for name, dimension in self.dimensions.items()}


def read_search_space(path: Path) -> dict[str, Any] | None:
    """The section ``search_space`` of a configuration.

    Args:
        path: A YAML file that :func:`zlpr_hf.workflows.arguments.parse_arguments` has taken.

    Returns:
        The section; None where there is none.

    Raises:
        InputError: If it is no mapping of names.
    """
    given = read_yaml_mapping(path, "expected lines of 'name: value'").get(SEARCH_SPACE)
    if given is not None and (not isinstance(given, dict) or not given):
        raise InputError(f"{path}: {SEARCH_SPACE}: expected names and their values, got {given!r}")
    return given


def _checked(given: Mapping[Any, Any], known: Iterable[str]) -> list[str]:
    for name in given:
        if name not in known:
            raise InputError(f"{SEARCH_SPACE}: cannot vary {name!r}{_hint(name, known)}")
    if {HEAD_RATE_RATIO, "head_learning_rate"} <= set(given):
        raise InputError(
            f"{SEARCH_SPACE}: expected {HEAD_RATE_RATIO} or head_learning_rate, got both"
        )
    return [str(name) for name in given]


def _dimension(name: str, given: Any) -> Range | Choices:
    where = f"{SEARCH_SPACE}: {name}"
    if isinstance(given, list):
        values = [
            given_value if name == "lr_scheduler_type" else _number(where, name, given_value)
            for given_value in given
        ]
        if len(set(map(str, values))) < max(len(values), 1):
            raise InputError(f"{where}: expected different values, got {given!r}")
        return Choices(tuple(values))
    if not isinstance(given, dict) or name == "lr_scheduler_type":
        forms = "a list of values" + ("" if name == "lr_scheduler_type" else ", or low and high")
        raise InputError(f"{where}: expected {forms}, got {given!r}")
    for key in given:
        if key not in KEYS:
            raise InputError(f"{where}: unknown key {key!r}{_hint(key, KEYS)}")
    if not {"low", "high"} <= set(given):
        raise InputError(f"{where}: expected low and high, got {given!r}")
    low, high = (_number(where, name, given[key]) for key in ("low", "high"))
    step = None if given.get("step") is None else _number(where, name, given["step"])
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}: log: expected true or false, got {log!r}")
    if not low < high:
        raise InputError(f"{where}: expected low below high, got {low:g} and {high:g}")
    if log and (low <= 0 or step is not None):
        raise InputError(f"{where}: log needs low above 0 and no step, got {given!r}")
    if step is not None and not 0 < step <= high - low:
        raise InputError(f"{where}: step: expected above 0 to {high - low:g}, got {step:g}")
    return Range(low, high, log, step)


def _number(where: str, name: str, given: Any) -> float:
    try:
        number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        number = math.nan
    whole = name in INTEGER_OPTIONS
    if not math.isfinite(number) or (whole and number != int(number)):
        raise InputError(f"{where}: expected a {'whole ' * whole}number, got {given!r}")
    return int(number) if whole else number


def _hint(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"

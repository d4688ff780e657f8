"""The plan of a comparison: which runs there are, read from one YAML file and checked at once."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zlpr_hf.choices import LABEL_METRICS
from zlpr_hf.errors import InputError
from zlpr_hf.files.yaml_mapping import read_yaml_mapping
from zlpr_hf.losses.registry import check_loss, render_loss
from zlpr_hf.workflows.argument_checks import check_config
from zlpr_hf.workflows.arguments import RunConfig, option_words, parse_arguments

KEYS = (
    "output_dir", "seeds", "datasets", "losses", "reference", "settings", "threshold_metric",
    "metrics", "resamples", "keep_models",
)  # fmt: skip
COLUMNS = ("f1_micro", "f1_macro", "f1_samples", "subset_accuracy", "hamming_loss", "lrap")
MAX_NAME_LENGTH = 100
# A run that was cut goes on, and leaves what the comparison reads.
CELL_OPTIONS = {
    "resume_from_checkpoint": True, "overwrite_output_dir": True, "save_logits": True,
    "baselines": False, "tune_thresholds": "none",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Cell:
    """One run: a loss on a data set with a seed."""

    dataset: str
    loss: str
    seed: int
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(str(self.config.training.output_dir))

    def __str__(self) -> str:
        return f"{self.dataset} · {self.loss} · seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """A comparison, whole and checked.

    Args:
        output_dir: Folder of everything that is written.
        datasets: Names, in the order of the tables.
        losses: Names, likewise; ``reference`` is one of them.
        seeds: Seeds of training; the splits are the same for all.
        reference: The loss that the others are compared with, under its own rule.
        threshold_metric: What tuned thresholds maximise on validation.
        metrics: Columns of the table.
        resamples: Bootstrap resamples of the test rows.
        keep_models: Whether weights stay after a run.
        cells: All runs, data set by data set, seed by seed.
    """

    output_dir: Path
    datasets: tuple[str, ...]
    losses: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    threshold_metric: str
    metrics: tuple[str, ...]
    resamples: int
    keep_models: bool
    cells: tuple[Cell, ...]


def read_plan(
    path: Path, *, output_dir: str | None = None, overrides: dict[str, Any] | None = None
) -> Plan:
    """Read a comparison from YAML.

    ``datasets`` and ``losses`` map a name to settings of ``train.py``, of which ``recipe`` is a
    file of such settings, relative to the plan; ``settings`` holds for all runs. What a loss sets
    wins over the data set, which wins over ``settings``, which wins over the recipe. A loss whose
    settings name no ``loss`` is called what it is.

    Args:
        path: The file.
        output_dir: In place of the one in the file.
        overrides: Settings of ``train.py`` that win over all others, in all runs.

    Returns:
        The plan.

    Raises:
        InputError: If a key is unknown, a setting does not exist, or a value does not fit.
    """
    content = _read(path)
    datasets = _named(path, content, "datasets")
    losses = _read_losses(path, content)
    seeds = content.get("seeds", [42])
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise InputError(f"{path}: seeds: expected a list of whole numbers, got {seeds!r}")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: seeds: expected different numbers, got {seeds!r}")
    reference = str(content.get("reference", next(iter(losses))))
    if reference not in losses:
        raise InputError(
            f"{path}: reference: expected one of {', '.join(losses)}, got {reference!r}"
        )
    threshold_metric = str(content.get("threshold_metric", "f1_micro"))
    if threshold_metric not in LABEL_METRICS:
        raise InputError(
            f"{path}: threshold_metric: expected one of {', '.join(LABEL_METRICS)}, "
            f"got {threshold_metric!r}"
        )
    metrics = content.get("metrics", list(COLUMNS))
    if not isinstance(metrics, list) or not metrics:
        raise InputError(f"{path}: metrics: expected a list of metrics, got {metrics!r}")
    calibration = sorted({"brier", "ece"} & set(map(str, metrics)))
    if calibration:
        raise InputError(
            f"{path}: metrics: {calibration[0]} reads logits as ZLPR's, which the other losses' "
            "are not; expected decision or ranking metrics"
        )
    resamples = content.get("resamples", 1000)
    if type(resamples) is not int or resamples < 100:
        raise InputError(f"{path}: resamples: expected 100 or more, got {resamples!r}")
    keep_models = content.get("keep_models", False)
    if not isinstance(keep_models, bool):
        raise InputError(f"{path}: keep_models: expected true or false, got {keep_models!r}")
    folder = Path(output_dir or str(content.get("output_dir", f"out/compare/{path.stem}")))
    common = _settings(path, "settings", content.get("settings") or {})
    last = _settings(path, "the command line", overrides or {})
    for where, settings in (("settings", common), ("the command line", last), *datasets.items()):
        if {"loss", "loss_kwargs"} & set(settings):
            raise InputError(f"{path}: {where}: the losses are compared; set them under losses")
    for loss, settings in losses.items():
        erased = sorted(set(settings) & set(last))
        if erased:
            raise InputError(f"{path}: {erased[0]} is set for {loss!r}, not on the command line")
    cells = []
    for dataset, of_dataset in datasets.items():
        for seed in seeds:
            for loss, of_loss in losses.items():
                place = folder / _slug(dataset) / _slug(loss) / f"seed{seed}"
                settings = common | of_dataset | {"loss": loss, "loss_kwargs": {}} | of_loss | last
                settings |= {"threshold_metric": threshold_metric, "seed": seed}
                settings |= CELL_OPTIONS | {"output_dir": str(place)}
                cells.append(Cell(dataset, loss, seed, _config(path, dataset, loss, settings)))
    return Plan(
        folder, tuple(datasets), tuple(losses), tuple(seeds), reference, threshold_metric,
        tuple(map(str, metrics)), resamples, keep_models, tuple(cells),
    )  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    content = read_yaml_mapping(path, f"expected the plan of a comparison: {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(KEYS)}"
            raise InputError(f"{path}: unknown key {key!r}{hint}")
    return content


def _read_losses(path: Path, content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return settings by name; an item of a list is a name or a loss with hyper-parameters."""
    given = content.get("losses")
    if isinstance(given, list):
        listed = [_listed_loss(path, item) for item in given]
        names = [name for name, _ in listed]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{path}: losses: duplicate loss {name!r}")
        content = content | {"losses": dict(listed)}
    return _named(path, content, "losses")


def _listed_loss(path: Path, item: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(item, dict):
        return str(item), {}
    loss_kwargs = {str(name): value for name, value in item.items()}
    loss = str(loss_kwargs.pop("loss", None))
    try:
        loss_kwargs = check_loss(loss, loss_kwargs)
    except ValueError as error:
        raise InputError(f"{path}: losses: {error}") from error
    return render_loss(loss, loss_kwargs), {"loss": loss, "loss_kwargs": loss_kwargs}


def _named(path: Path, content: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """A mapping of name to settings; a plain list of names has none."""
    given = content.get(key)
    if isinstance(given, list):
        given = dict.fromkeys(map(str, given))
    if not isinstance(given, dict) or not given:
        raise InputError(f"{path}: {key}: expected names, each with its settings of train.py")
    named = {
        str(name): _settings(path, f"{key}: {name}", {} if settings is None else settings)
        for name, settings in given.items()
    }
    folders = [_slug(name) for name in named]
    for name, slug in zip(named, folders, strict=True):
        if not slug or len(slug) > MAX_NAME_LENGTH:
            raise InputError(
                f"{path}: {key}: {name!r:.80} makes no name of a folder; expected letters or "
                f"digits, at most {MAX_NAME_LENGTH}"
            )
    twice = [folder for folder in folders if folders.count(folder) > 1]
    if twice:
        raise InputError(f"{path}: {key}: two names make the same folder, {twice[0]!r}")
    return named


def _settings(path: Path, where: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"{path}: {where}: expected lines of 'name: value', got {given!r}")
    settings = {str(name): value for name, value in given.items()}
    taken = sorted({"seed", "output_dir", "threshold_metric", *CELL_OPTIONS} & set(settings))
    if taken:
        raise InputError(f"{path}: {where}: {taken[0]} is set by the comparison itself")
    if "recipe" in settings:
        settings["recipe"] = str(path.parent / str(settings["recipe"]))
    return settings


def _config(path: Path, dataset: str, loss: str, settings: dict[str, Any]) -> RunConfig:
    recipe = settings.pop("recipe", None)
    argv = [] if recipe is None else [recipe]
    try:
        for name, value in settings.items():
            argv += option_words(name, value)
        config = parse_arguments(argv)
        check_config(config)
        if config.data.streaming:
            raise InputError("streaming: a comparison looks at all training labels; leave it out")
    except InputError as error:
        raise InputError(f"{path}: {dataset}, {loss}: {error}") from error
    return config


def _slug(name: str) -> str:
    # Without dots at its ends: no name may lead out of the folder of the comparison.
    return re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_.")

"""The plan of a comparison: its runs, read from a YAML file and checked before the first one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zlpr_hf.choices import LABEL_METRICS
from zlpr_hf.errors import InputError, suggest
from zlpr_hf.files.yaml_mapping import read_yaml_mapping
from zlpr_hf.losses.registry import check_loss, render_loss
from zlpr_hf.workflows.argument_checks import check_config
from zlpr_hf.workflows.arguments import RunConfig, parse_arguments
from zlpr_hf.workflows.comparison.cell import Cell
from zlpr_hf.workflows.comparison.frozen import FrozenTier, check_frozen
from zlpr_hf.workflows.comparison.search import Search
from zlpr_hf.workflows.comparison.variants import Variant
from zlpr_hf.workflows.option_words import current_name, option_words
from zlpr_hf.workflows.recipes import find_recipe

KEYS = (
    "output_dir", "seeds", "datasets", "losses", "reference", "settings", "threshold_metric",
    "metrics", "resamples", "keep_models", "frozen", "search",
)  # fmt: skip
COLUMNS = ("f1_micro", "f1_macro", "f1_samples", "subset_accuracy", "hamming_loss", "lrap")
CALIBRATION_METRICS = ("brier", "ece")
MAX_NAME_LENGTH = 100
EXPECTED_SEEDS = "a list of different whole numbers"
# Interrupted runs resume, and leave the files that the comparison reads.
CELL_OPTIONS = {
    "resume_from_checkpoint": True, "overwrite_output_dir": True, "save_logits": True,
    "baselines": False, "tune_thresholds": "none",
}  # fmt: skip

Settings = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A checked comparison; its cells go dataset by dataset, then seed by seed.

    ``threshold_metric`` is the metric that tuned thresholds maximise on validation. The seeds are
    those of training: the splits are the same for all. ``metrics`` are the columns of the table.
    With ``frozen`` the cells train heads on features of the encoder, else the whole model. With
    ``search`` there is a cell for each trial and seed: those of the first seed are trials, and of
    the others only those of the best trial run.
    """

    output_dir: Path
    reference: str
    threshold_metric: str
    metrics: tuple[str, ...]
    resamples: int
    keep_models: bool
    cells: tuple[Cell, ...]
    frozen: FrozenTier | None = None
    search: Search | None = None

    @property
    def trials(self) -> list[Cell]:
        """Cells of ``search`` among which validation chooses."""
        first = {cell.dataset: cell.seed for cell in reversed(self.cells)}
        return [
            cell
            for cell in self.cells
            if cell.trial is not None and cell.seed == first[cell.dataset]
        ]


def read_plan(
    path: Path, *, output_dir: str | None = None, overrides: Settings | None = None
) -> Plan:
    """Read and check the plan of a comparison.

    ``datasets`` and ``losses`` map names to settings of ``zlpr train``. ``recipe`` among them names
    a recipe, or a file of such settings relative to the plan; ``settings`` holds for all runs.
    Settings of a loss take precedence over those of a dataset, then ``settings``, then the recipe;
    ``overrides`` take precedence over all. Without a setting ``loss``, the name of a loss is the
    loss. With ``frozen``, a dataset may have a ``variant``; with ``frozen`` or ``search``, a loss
    ``search: false``, which leaves its hyper-parameters alone. A dataset may have ``seeds`` of its
    own.
    """
    content = read_yaml_mapping(path, f"expected the plan of a comparison: {', '.join(KEYS)}")
    content = {"output_dir": f"out/compare/{path.stem}"} | content
    if output_dir:
        content["output_dir"] = output_dir
    try:
        return _build_plan(content, path.parent, overrides or {})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _build_plan(content: Settings, folder: Path, overrides: Settings) -> Plan:
    for key in content:
        if key not in KEYS:
            known = f"; expected one of {', '.join(KEYS)}"
            raise InputError(f"unknown key {key!r}{suggest(key, KEYS, otherwise=known)}")
    given, variants = _split_off(content.get("datasets"), "variant")
    given, own_seeds = _split_off(given, "seeds")
    datasets = _read_named("datasets", given, folder)
    given, searches = _split_off(content.get("losses"), "search")
    losses = _read_losses(given, folder)
    _check_tiers(content, variants, searches)
    seeds = _read_option(content, "seeds", [42], _are_seeds, EXPECTED_SEEDS)
    reference = _read_choice(content, "reference", next(iter(losses)), losses)
    threshold_metric = _read_choice(content, "threshold_metric", "f1_micro", LABEL_METRICS)
    metrics = _read_option(content, "metrics", list(COLUMNS), _is_list, "a list of metrics")
    resamples = _read_option(
        content, "resamples", 1000, lambda value: type(value) is int and value >= 100, "100 or more"
    )
    keep_models = _read_option(content, "keep_models", False, _is_bool, "true or false")
    frozen = FrozenTier.read(content["frozen"]) if content.get("frozen") else None
    search = Search.read(content["search"]) if content.get("search") is not None else None
    for metric in CALIBRATION_METRICS:
        if metric in metrics:
            raise InputError(
                f"metrics: {metric} requires probabilities, which some losses do not have; "
                "expected decision or ranking metrics"
            )
    common = _check_settings("settings", content.get("settings") or {}, folder)
    last = _check_settings("the command line", overrides, folder)
    for where, settings in (("settings", common), ("the command line", last), *datasets.items()):
        if {"loss", "loss_kwargs"} & set(settings):
            raise InputError(f"{where}: the losses are compared; set them under losses")
    for loss, settings in losses.items():
        for name in sorted(set(settings) & set(last)):
            raise InputError(f"{name} is set for {loss!r}, not on the command line")
    if search is not None:
        named = {"settings": common, "the command line": last} | datasets | losses
        for where, settings in named.items():
            if "learning_rate" in settings:
                raise InputError(f"{where}: learning_rate is searched; set its range under search")
    output_dir = Path(str(content["output_dir"]))
    cells = []
    for dataset, of_dataset in datasets.items():
        variant = Variant.read(variants[dataset]) if dataset in variants else None
        of_seeds = _read_option(own_seeds, dataset, seeds, _are_seeds, EXPECTED_SEEDS)
        for seed in of_seeds:
            for loss, of_loss in losses.items():
                settings = common | of_dataset | {"loss": loss, "loss_kwargs": {}} | of_loss | last
                settings |= CELL_OPTIONS | {"threshold_metric": threshold_metric, "seed": seed}
                place = output_dir / _slug(dataset) / _slug(loss) / f"seed{seed}"
                settings["output_dir"] = str(place)
                config = _build_config(dataset, loss, settings, frozen=frozen is not None)
                cell = Cell(dataset, loss, seed, config, variant, searches.get(loss, True))
                if search is None:
                    cells.append(cell)
                else:
                    cells += _draw_cells(cell, search, settings, of_seeds[0])
    return Plan(
        output_dir=output_dir,
        reference=reference,
        threshold_metric=threshold_metric,
        metrics=tuple(map(str, metrics)),
        resamples=resamples,
        keep_models=keep_models,
        cells=tuple(cells),
        frozen=frozen,
        search=search,
    )


def _draw_cells(cell: Cell, search: Search, settings: Settings, seed: int) -> Iterator[Cell]:
    """Yield the cell with the setting of each trial, drawn with the first seed of its dataset."""
    training: Any = cell.config.training  # whose loss_kwargs are a mapping
    trials = search.draw(training.loss, training.loss_kwargs, seed, search=cell.search)
    for number, trial in enumerate(trials, start=1):
        place = cell.folder.with_name(f"trial{number}_{cell.folder.name}")
        drawn = settings | trial.settings | {"output_dir": str(place)}
        config = _build_config(cell.dataset, cell.loss, drawn, frozen=False)
        yield replace(cell, config=config, trial=number)


def _split_off(given: Any, key: str) -> tuple[Any, dict[str, Any]]:
    """Return settings by name without a key that zlpr train does not have, and its values."""
    if not isinstance(given, dict):
        return given, {}
    found = {
        str(name): settings[key]
        for name, settings in given.items()
        if isinstance(settings, dict) and key in settings
    }
    rest = {
        name: {other: value for other, value in settings.items() if other != key}
        if str(name) in found
        else settings
        for name, settings in given.items()
    }
    return rest, found


def _check_tiers(content: Settings, variants: Settings, searches: Settings) -> None:
    frozen, search = bool(content.get("frozen")), content.get("search") is not None
    if frozen and search:
        raise InputError("search: heads have a search of their own; set frozen: {trials: N}")
    if variants and not frozen:
        raise InputError(f"{next(iter(variants))}: variant goes with frozen")
    if searches and not (frozen or search):
        raise InputError(f"{next(iter(searches))}: search goes with frozen or a search of the plan")
    for name, value in searches.items():
        if not _is_bool(value):
            raise InputError(f"{name}: search: expected true or false, got {value!r}")


def _read_option(
    content: Settings, key: str, default: Any, is_valid: Callable[[Any], bool], expected: str
) -> Any:
    value = content.get(key, default)
    if not is_valid(value):
        raise InputError(f"{key}: expected {expected}, got {value!r}")
    return value


def _read_choice(content: Settings, key: str, default: str, choices: Iterable[str]) -> Any:
    known = list(choices)  # a list also compares values without a hash
    return _read_option(
        content, key, default, known.__contains__, f"one of {', '.join(map(str, known))}"
    )


def _are_seeds(value: Any) -> bool:
    return _is_list(value) and {*map(type, value)} == {int} and len({*value}) == len(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _read_losses(given: Any, folder: Path) -> dict[str, Settings]:
    """Return settings by name; an item of a list is a name or a loss with hyper-parameters."""
    if isinstance(given, list):
        listed = [_read_listed_loss(item) for item in given]
        names = [name for name, _ in listed]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"losses: duplicate loss {name!r}")
        given = dict(listed)
    return _read_named("losses", given, folder)


def _read_listed_loss(item: Any) -> tuple[str, Settings]:
    if not isinstance(item, dict):
        return str(item), {}
    loss_kwargs = {str(name): value for name, value in item.items()}
    loss = str(loss_kwargs.pop("loss", None))
    try:
        loss_kwargs = check_loss(loss, loss_kwargs)
    except ValueError as error:
        raise InputError(f"losses: {error}") from error
    return render_loss(loss, loss_kwargs), {"loss": loss, "loss_kwargs": loss_kwargs}


def _read_named(key: str, given: Any, folder: Path) -> dict[str, Settings]:
    """Return settings by name; the items of a plain list have none."""
    if isinstance(given, list):
        given = dict.fromkeys(map(str, given))
    if not isinstance(given, dict) or not given:
        raise InputError(f"{key}: expected names, each with settings of zlpr train")
    folders = [_slug(str(name)) for name in given]
    for name, slug in zip(given, folders, strict=True):
        if not slug or len(slug) > MAX_NAME_LENGTH:
            raise InputError(
                f"{key}: {name!r:.80} cannot name a folder; expected letters or digits, at most "
                f"{MAX_NAME_LENGTH}"
            )
        if folders.count(slug) > 1:
            raise InputError(f"{key}: several names share the folder {slug!r}")
    return {
        str(name): _check_settings(f"{key}: {name}", {} if settings is None else settings, folder)
        for name, settings in given.items()
    }


def _check_settings(where: str, given: Any, folder: Path) -> Settings:
    if not isinstance(given, dict):
        raise InputError(f"{where}: expected lines of 'name: value', got {given!r}")
    settings = {current_name(str(name)): value for name, value in given.items()}
    for name in ("output_dir", "seed", "threshold_metric", *CELL_OPTIONS):
        if name in settings:
            raise InputError(f"{where}: {name} is set by the comparison itself")
    if "recipe" in settings:
        path = folder / str(settings["recipe"])
        settings["recipe"] = str(path if path.suffix or path.exists() else find_recipe(path.name))
    return settings


def _build_config(dataset: str, loss: str, settings: Settings, *, frozen: bool) -> RunConfig:
    recipe = settings.get("recipe")
    argv = [] if recipe is None else [recipe]
    try:
        for name, value in settings.items():
            argv += [] if name == "recipe" else option_words(name, value)
        config = parse_arguments(argv)
        # However few the rows are, the offsets of all cells come from one validation split, and
        # losses are compared without an added one.
        config = replace(
            config,
            data=replace(config.data, folds=config.data.folds or 0),
            auto=config.auto - {"contrastive_alpha"},
        )
        check_config(config)
        if config.data.streaming:
            raise InputError("streaming: not supported, because a comparison reads all labels")
        if frozen:
            check_frozen(config)
    except InputError as error:
        raise InputError(f"{dataset}, {loss}: {error}") from error
    return config


def _slug(name: str) -> str:
    """Return a name for a folder; without dots at its ends, it cannot lead out of its parent."""
    return re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_.")

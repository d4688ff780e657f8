"""Properties that hold for any input, with hypothesis; every run uses the same examples."""

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import Tensor
from transformers import BertConfig

from zlpr_hf import (
    InputError,
    LabelSpace,
    fit_thresholds,
    hill_loss,
    poly1_loss,
    robust_asymmetric_loss,
    sigmoid_f1_loss,
    splc_loss,
    two_way_loss,
    zlpr_loss,
)
from zlpr_hf.data.label_cells import clean_name
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.sources import read_file
from zlpr_hf.losses.binary_relevance import bce_loss, focal_loss
from zlpr_hf.losses.fused import composed_zlpr_loss
from zlpr_hf.losses.large_label_space import zlpr_loss_from_indices
from zlpr_hf.losses.ranking import bp_mll_loss, lsep_loss
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.thresholds import Thresholds
from zlpr_hf.workflows.arguments import UNSAVED_OPTIONS, parse_arguments, render_config

same_every_time = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
fewer = settings(same_every_time, max_examples=12)
numbers = st.floats(-1e4, 1e4, width=32)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = texts.filter(lambda name: bool(name.strip()))


@st.composite
def rows(draw: st.DrawFn, values: st.SearchStrategy[Any], width: int | None = None) -> Tensor:
    count, width = draw(st.integers(1, 4)), width or draw(st.integers(1, 7))
    row = st.lists(values, min_size=width, max_size=width)
    return torch.tensor(draw(st.lists(row, min_size=count, max_size=count)), dtype=torch.float64)


@st.composite
def logits_and_targets(
    draw: st.DrawFn, targets: st.SearchStrategy[Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Two points and the targets of one example."""
    width = draw(st.integers(1, 7))
    parts = [
        st.lists(values, min_size=width, max_size=width) for values in (numbers, numbers, targets)
    ]
    first, second, third = (torch.tensor([draw(part)], dtype=torch.float64) for part in parts)
    return first, second, third


hard, soft = st.sampled_from([0.0, 1.0]), st.floats(0, 1, width=32)
partly = st.one_of(soft, hard, st.just(math.nan), st.just(-100.0))


@same_every_time
@given(logits_and_targets(partly), st.floats(0, 1))
@pytest.mark.parametrize("loss", [zlpr_loss, bce_loss, lsep_loss, two_way_loss])
def test_losses_that_are_convex_lie_below_their_chords(
    loss: Any, points: tuple[Tensor, Tensor, Tensor], share: float
) -> None:
    first, second, targets = points
    between = loss(share * first + (1 - share) * second, targets)
    chord = share * loss(first, targets) + (1 - share) * loss(second, targets)
    assert between <= chord + 1e-9 * (1 + chord.abs())


@same_every_time
@given(logits_and_targets(partly))
@pytest.mark.parametrize(
    "loss",
    [zlpr_loss, bce_loss, lsep_loss, focal_loss, bp_mll_loss, poly1_loss, robust_asymmetric_loss,
     hill_loss, splc_loss, two_way_loss, sigmoid_f1_loss],
)  # fmt: skip
def test_no_loss_is_negative_and_unknown_labels_do_not_count(
    loss: Any, points: tuple[Tensor, Tensor, Tensor]
) -> None:
    logits, others, targets = points
    value = loss(logits, targets)
    assert 0 <= value < math.inf
    unknown = targets.isnan() | (targets == -100)
    assert loss(torch.where(unknown, others, logits), targets) == value


@same_every_time
@given(logits_and_targets(partly))
def test_gradient_of_zlpr_is_bounded_and_points_to_the_targets(
    points: tuple[Tensor, Tensor, Tensor],
) -> None:
    logits, _, targets = points
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(zlpr_loss(logits, targets, reduction="sum"), logits)
    assert gradient.abs().max() <= 1
    assert (gradient[targets == 1] <= 0).all()
    assert (gradient[targets == 0] >= 0).all()
    assert (gradient[targets.isnan() | (targets == -100)] == 0).all()
    # Each of the two sums moves by at most as much as all logits together.
    assert gradient.clamp(min=0).sum() <= 1 + 1e-9
    assert gradient.clamp(max=0).sum() >= -1 - 1e-9


@same_every_time
@given(rows(numbers), st.data())
def test_three_forms_give_the_same_loss(logits: Tensor, data: st.DataObject) -> None:
    targets = data.draw(
        rows(hard, logits.shape[1]).filter(lambda t: len(t) == len(logits))
        | st.just((logits > 0).double())
    )
    composed = composed_zlpr_loss(logits, targets)
    ids = [row.nonzero().flatten().tolist() for row in targets]
    width = max(1, *map(len, ids)) if len(ids) > 1 else max(1, len(ids[0]))
    padded = torch.tensor([row + [-100] * (width - len(row)) for row in ids])
    for other in (
        zlpr_loss(logits, targets, reduction="none"),
        zlpr_loss_from_indices(logits, padded, reduction="none"),
    ):
        torch.testing.assert_close(other, composed, rtol=1e-12, atol=1e-12)
    single = zlpr_loss(logits.float(), targets, reduction="none")
    torch.testing.assert_close(single, composed.float(), rtol=1e-5, atol=1e-6)


@same_every_time
@given(st.lists(names, min_size=2, max_size=8, unique=True), st.data())
def test_label_names_survive_a_round_trip(
    tmp_path: Path, labels: list[str], data: st.DataObject
) -> None:
    space = LabelSpace(tuple(labels))
    chosen = data.draw(st.lists(st.sampled_from(labels), unique=True))
    assert set(space.decode([space.encode(chosen)])[0]) == set(chosen)
    config = BertConfig(id2label=space.id2label, label2id=space.label2id)
    config.save_pretrained(tmp_path)
    assert LabelSpace.from_config(BertConfig.from_pretrained(tmp_path)) == space


@fewer
@given(rows(st.floats(-50, 50, width=32), 3), st.data())
@pytest.mark.parametrize("scope", ["global", "per_label"])
@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro"])
def test_tuned_offsets_are_no_worse_than_zero_and_fold_into_the_bias(
    metric: Any, scope: Any, logits: Tensor, data: st.DataObject
) -> None:
    truth = [data.draw(st.lists(hard, min_size=3, max_size=3)) for _ in logits]
    targets, scores = np.array(truth), logits.numpy()
    tuned = fit_thresholds(scores, targets, metric=metric, scope=scope, min_positives=1)
    decided = tuned.apply(scores)
    reached = compute_decision_metrics(decided, targets)[metric]
    assert reached >= compute_decision_metrics(scores > 0, targets)[metric] - 1e-12
    head, config = torch.nn.Linear(3, 3).double(), BertConfig()
    with torch.no_grad():
        head.weight.copy_(torch.eye(3))
        head.bias.zero_()
        rest = tuned.fold_into(head, config)
        # Apart from where a logit is the offset, to the last digit.
        near = np.abs(scores - np.array(tuned.offsets)) < 1e-9
        assert ((head(logits).numpy() > 0) == decided)[~near].all()
    assert rest == Thresholds() == Thresholds.from_config(config)


FORMS = ("names", "ids", "multi_hot", "columns", "delimited", "delimited_ids")
plain = names.map(clean_name).filter(lambda name: name and not set(name) & set(";\x00[]{}()<>"))
"""Names that a delimited cell can hold: brackets would make it a list."""


@fewer
@given(st.lists(plain, min_size=2, max_size=5, unique=True), st.data())
@pytest.mark.parametrize("form", FORMS)
def test_labels_survive_a_round_trip_through_every_form(
    tmp_path: Path, form: str, labels: list[str], data: st.DataObject
) -> None:
    sets = data.draw(
        st.lists(st.lists(st.sampled_from(labels), unique=True), min_size=1, max_size=5)
    )
    if not any(sets):
        sets[0] = labels[:1]
    ids = [[labels.index(name) for name in row] for row in sets]
    flags = [[int(name in row) for name in labels] for row in sets]
    columns = {"text": ["a"] * len(sets)}
    kind: dict[str, Any] = {"form": form, "names": tuple(labels)}
    if form == "columns":
        names = [f"{index}: {name}" for index, name in enumerate(labels)]
        columns |= {name: [row[at] for row in flags] for at, name in enumerate(names)}  # type: ignore[misc]
        kind = {"form": form, "columns": tuple(names)}
        sets = [[names[index] for index in row] for row in ids]
    elif form == "delimited":
        columns["labels"] = [";".join(row) for row in sets]
        kind |= {"delimiter": ";", "missing": "no_label", "words": "label"}
    elif form == "delimited_ids":
        columns["labels"] = [";".join(map(str, row)) for row in ids]
        kind |= {"delimiter": ";", "form": "ids", "missing": "no_label"}
    else:
        columns["labels"] = {"names": sets, "ids": ids, "multi_hot": flags}[form]  # type: ignore[assignment]
    for path in _written(tmp_path, columns, text_only=form in ("columns", *FORMS[4:])):
        _, found = LabelColumns(**kind).read(read_file(path), str(path))
        assert [set(row or ()) for row in found] == [set(row) for row in sets], path
        assert all(set((row or {}).values()) <= {1.0} for row in found)


def _written(folder: Path, columns: dict[str, Any], *, text_only: bool) -> list[Path]:
    """The table as JSON Lines and Parquet, and as CSV where all of it is text or a number."""
    paths = [folder / "d.jsonl", folder / "d.parquet", folder / "d.csv"]
    cells = list(zip(*columns.values(), strict=True))
    lines = [json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in cells]
    paths[0].write_text("".join(lines))
    pyarrow.parquet.write_table(pa.table(columns), paths[1])
    with paths[2].open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([list(columns), *cells])
    return paths if text_only else paths[:2]


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "label_column": words,
    "label_delimiter": words | st.sampled_from([";", ",", "\n", "\t", "null", "yes", ": ", "#"]),
    "text_column": st.sampled_from(
        ["no", "null", "1", "1e5", "[a", "a: b", "- x", "&a", "*a", "é"]
    ),
    "label_columns": st.lists(words.filter(lambda w: w and w[0] != "-"), min_size=1, max_size=3),
    "learning_rate": st.floats(1e-8, 1.0),
    "seed": st.integers(0, 2**32 - 1),
    "validation_size": st.floats(0.01, 0.99),
    "dropout": st.none() | st.floats(0, 0.99),
    "use_peft": st.booleans(),
    "max_train_samples": st.none() | st.integers(1, 10**9),
    "bf16": st.just(False),
    "lr_scheduler_kwargs": st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), min_size=1),
}


@fewer
@given(st.fixed_dictionaries({}, optional=VALUES))
def test_configurations_survive_a_round_trip(tmp_path: Path, values: dict[str, Any]) -> None:
    argv = []
    for name, value in values.items():
        if isinstance(value, list):
            argv += [f"--{name}", *value]
        elif value is not None:
            argv.append(f"--{name}={json.dumps(value) if isinstance(value, dict) else value}")
    first = parse_arguments([*argv, "--output_dir=out"])
    (tmp_path / "c.yaml").write_text(render_config(first), encoding="utf-8")
    again = parse_arguments([str(tmp_path / "c.yaml")])
    for part in ("model", "data", "training"):
        one, other = getattr(first, part), getattr(again, part)
        for spec in dataclasses.fields(one):
            if spec.name not in UNSAVED_OPTIONS:
                assert getattr(one, spec.name) == getattr(other, spec.name), spec.name
    for name, value in values.items():
        if value is not None:
            parts = (again.model, again.data, again.training)
            assert value in [getattr(part, name, None) for part in parts]


@fewer
@given(st.text(st.sampled_from("ab:{}[]&*!-?|>'\"#%@`, \n01e.~<\\yesno\x00\u2028é"), max_size=60))
def test_any_text_is_a_configuration_or_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    message = "c.yaml"
    try:
        parse_arguments([str(tmp_path / "c.yaml")])
    except InputError as error:
        message = str(error)
    assert "c.yaml" in message
    assert len(message.splitlines()) == 1

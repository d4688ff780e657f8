"""YAML and command line: one conversion and one check; the command line takes precedence."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from zlpr_hf import InputError
from zlpr_hf.workflows.argument_checks import check_config
from zlpr_hf.workflows.arguments import (
    ARGUMENTS,
    parse_arguments,
    render_all_options,
    render_config,
)
from zlpr_hf.workflows.option_words import (
    ALIASES,
    OPTIONS_OF_OTHER_TOOLS,
    RENAMED_OPTIONS,
    option_names,
)

REPOSITORY = Path(__file__).parents[2]


def config(tmp_path: Path, text: str) -> str:
    (tmp_path / "c.yaml").write_text(text)
    return str(tmp_path / "c.yaml")


def test_command_line_overrides_the_file_and_scientific_notation_is_a_number(
    tmp_path: Path,
) -> None:
    text = "learning_rate: 1e-4\nseed: 3\nlabel_columns: [a, b]\nbf16: false\neval_strategy: no\n"
    path = config(tmp_path, text)
    parsed = parse_arguments([path, "--seed", "5"])
    data, training = parsed.data, parsed.training
    assert training.learning_rate == 1e-4
    assert training.effective_head_learning_rate == pytest.approx(1e-3)
    assert training.seed == 5
    assert training.bf16 is False
    assert training.eval_strategy == "no"
    assert data.label_columns == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "learnin_rate: 1\n",
            r"c\.yaml: unknown option 'learnin_rate'.*\"learning_rate\"",
        ),
        ("- a\n", "expected lines of 'name: value'"),
        ("a: [\n", "not a YAML file"),
        ("max_length: long\n", "--max_length: invalid int value: 'long'"),
        ("eval_strategy: sometimes\n", "eval_strategy: invalid"),
    ],
)
def test_invalid_configuration_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_arguments([config(tmp_path, text)])
    assert "\n" not in str(caught.value)


def test_missing_file_and_abbreviated_option_are_refused() -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        parse_arguments(["none.yaml"])
    with pytest.raises(InputError, match="unknown option 'learning'"):
        parse_arguments(["--learning", "1"])


def test_saved_configuration_parses_to_the_same_values(tmp_path: Path) -> None:
    path = config(tmp_path, "learning_rate: 1e-4\nlabel_columns: [a, b]\nlabel_delimiter: ';'\n")
    first = parse_arguments([path, "--seed", "7", "--eval_strategy", "epoch"])
    (tmp_path / "saved.yaml").write_text(render_config(first), encoding="utf-8")
    again = parse_arguments([str(tmp_path / "saved.yaml")])
    assert (first.model, first.data) == (again.model, again.data)
    for name in ("learning_rate", "seed", "eval_strategy", "effective_head_learning_rate", "bf16"):
        assert getattr(first.training, name) == getattr(again.training, name)


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda p: p.name
)
def test_recipe_parses_and_begins_with_a_description(path: Path) -> None:
    parse_arguments([str(path), "--bf16", "false"])
    assert path.read_text().startswith("# ")


def test_full_help_groups_its_options_in_one_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = render_all_options()
    for heading in (
        "model:",
        "data:",
        "training (of transformers' TrainingArguments):",
        "example:",
    ):
        assert heading in answer
    assert (
        answer.index("--pooling") < answer.index("--dataset_name") < answer.index("--learning_rate")
    )
    listed = re.findall(r"^  --([\w-]+)", answer, re.MULTILINE)
    assert sorted(listed) == sorted(option_names())
    assert max(map(len, answer.splitlines())) <= 80
    words = " ".join(answer.split())
    assert "{auto,first,mean}" in words
    assert "(default: None)" not in words
    assert re.search(r"--learning_rate X [^-]*\(default: auto\)", words)
    assert re.search(r"--early_stopping_patience N [^-]*\(default: 3\)", words)
    assert "evens them out across processes. (default: group_by_length)" in words


def test_names_from_source_files_are_those_of_the_dataclasses() -> None:
    fields = {spec.name for kind in ARGUMENTS for spec in dataclasses.fields(kind) if spec.init}
    assert option_names() == fields


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("--device=cuda", '"use_cpu"?'),
        ("--threshold=0.3", '"tune_thresholds"?'),
        (__file__, "the data file goes first: zlpr train FILE"),
    ],
)
def test_option_name_of_another_tool_gets_a_suggestion(word: str, hint: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_arguments(["--output_dir=out", word])
    assert str(refusal.value).endswith(hint)


def test_names_of_other_tools_and_dashes_are_accepted(tmp_path: Path) -> None:
    path = config(tmp_path, "epochs: 3\nmodel_name: some/encoder\n")
    words = ["--lr", "1e-3", "--batch_size=4", "--max-seq-length", "32", "--overwrite"]
    parsed = parse_arguments([path, *words])
    assert parsed.training.num_train_epochs == 3
    assert parsed.training.learning_rate == 1e-3
    assert parsed.training.per_device_train_batch_size == 4
    assert parsed.model.model_name_or_path == "some/encoder"
    assert parsed.model.max_length == 32
    assert parsed.data.overwrite_output_dir is True


@pytest.mark.parametrize("table", [ALIASES, OPTIONS_OF_OTHER_TOOLS, RENAMED_OPTIONS])
def test_alternative_names_lead_to_existing_options(table: dict[str, str]) -> None:
    names = {spec.name for kind in ARGUMENTS for spec in dataclasses.fields(kind)}
    assert set(table.values()) <= names
    assert not set(table) & names


def test_renamed_options_are_accepted_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = config(tmp_path, "yardsticks: false\n")
    for argv in ([path], ["--yardsticks=false"], ["--yardsticks", "false"], ["--no_yardsticks"]):
        caplog.clear()
        assert parse_arguments(argv).model.baselines is False
        assert "baselines" in caplog.records[0].getMessage()
    assert parse_arguments([path, "--baselines=true"]).model.baselines is True


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("model", {"pooling": "max"}, "pooling: expected one of auto, first, mean, got 'max'"),
        ("model", {"dropout": 1.0}, "dropout: expected 0 to below 1, got 1"),
        ("model", {"dropout": float("nan")}, "dropout: expected 0 to below 1, got nan"),
        ("model", {"lora_rank": 0}, "lora_rank: expected 1 or more, got 0"),
        ("data", {"label_form": "nmaes"}, "label_form: expected one of auto, names"),
        ("data", {"max_train_samples": 0}, "max_train_samples: expected 1 or more, got 0"),
    ],
)
def test_invalid_value_set_in_python_is_refused(
    part: str, changes: dict[str, Any], message: str
) -> None:
    parsed = parse_arguments([])
    check_config(parsed)
    wrong = dataclasses.replace(getattr(parsed, part), **changes)
    with pytest.raises(InputError, match=message):
        check_config(dataclasses.replace(parsed, **{part: wrong}))


def test_yaml_scalar_keeps_its_text_or_is_refused(tmp_path: Path) -> None:
    text = "text_column: no\nlabel_column: 007\nlabel_columns: [on, 1, 2020-01-01]\n"
    data = parse_arguments([config(tmp_path, text)]).data
    assert data.text_column == "no"
    assert data.label_column == "007"
    assert data.label_columns == ["on", "1", "2020-01-01"]
    for text in ("text_column: 1.10", "label_columns: [1.10]", "label_column: true"):
        with pytest.raises(InputError, match="put it in quotes"):
            parse_arguments([config(tmp_path, text)])


def test_very_long_option_name_is_unknown() -> None:
    """No file can have such a long name either."""
    with pytest.raises(InputError, match="unknown option 'xxx"):
        parse_arguments(["--" + "x" * 5000, "1"])


def test_rate_of_the_head_follows_the_rate_of_a_saved_configuration(tmp_path: Path) -> None:
    saved = render_config(parse_arguments(["--learning_rate=1e-4"]))
    (tmp_path / "saved.yaml").write_text(saved)
    again = parse_arguments([str(tmp_path / "saved.yaml"), "--learning_rate=1e-3"])
    assert again.training.effective_head_learning_rate == pytest.approx(1e-2)
    fixed = parse_arguments(["--learning_rate=1e-4", "--head_learning_rate=3e-3"])
    (tmp_path / "fixed.yaml").write_text(render_config(fixed))
    kept = parse_arguments([str(tmp_path / "fixed.yaml"), "--learning_rate=1e-3"])
    assert kept.training.effective_head_learning_rate == pytest.approx(3e-3)


def test_a_data_file_in_place_of_the_configuration_is_named(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("text,labels\n")
    with pytest.raises(InputError, match="zlpr train .*reviews.csv"):
        parse_arguments([str(path)])


def test_switches_can_be_turned_off() -> None:
    assert parse_arguments(["--no_baselines"]).model.baselines is False


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--text_column", "TITLE", "ABSTRACT"], "text_pair_column"),
        (["--text_column=TITLE", "ABSTRACT"], "text_pair_column"),
        (["--label_column", "a", "b", "c"], "label_columns"),
    ],
)
def test_several_names_for_one_column_lead_to_the_option_for_them(
    words: list[str], option: str
) -> None:
    with pytest.raises(InputError, match=rf"expected one column, got also .* into {option}"):
        parse_arguments([*words, "--seed", "1"])

"""The audit of a run: suspects with their files and lines, masked copies, and training on them."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.builders import make_colour_rows, save_encoder
from tests.runs import FAST, run
from zlpr_hf.choices import DOUBTFUL_PROBABILITY
from zlpr_hf.cli.main import main
from zlpr_hf.errors import InputError
from zlpr_hf.metrics.cell_errors import find_cell_errors
from zlpr_hf.reports.audit import AUDIT_FILE, CSV_COLUMNS, PAGE_FILE, SUSPECTS_FILE
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.audit import audit_run, compare_runs
from zlpr_hf.workflows.cross_fit import StoredLogits, save_out_of_fold
from zlpr_hf.workflows.load_data import load_data, load_own_data
from zlpr_hf.workflows.masked_copy import MASKED_CONFIG_FILE

LABELS = ("price", "quality", "=cmd()")
WRONG_ROW = 7


def write_run(folder: Path, *, columns: bool = False, rows: int = 120) -> Path:
    """Write data, and the files of a run whose logits contradict one tag of one training row."""
    generator = np.random.default_rng(0)
    truth = generator.random((rows, 3)) < 0.4
    data = folder / "data.csv"
    with data.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "labels"] if not columns else ["text", *LABELS])
        for row, tags in enumerate(truth):
            names = ";".join(name for name, tag in zip(LABELS, tags, strict=True) if tag)
            cells = [names] if not columns else [0.75 if tag else 0 for tag in tags]
            writer.writerow([f"<b>text</b> number {row}", *cells])
    output = folder / "run"
    output.mkdir()
    form = {"label_columns": list(LABELS)} if columns else {"label_delimiter": ";"}
    config = {"train_file": str(data), "missing_labels": "no_label", "folds": 0, **form}
    config |= {"output_dir": str(output), "model_name_or_path": "none"}
    if columns:
        config["missing_labels"] = "unjudged"
    (output / "train_config.yaml").write_text(json.dumps(config), encoding="utf-8")
    (output / "results.json").write_text("{}", encoding="utf-8")
    targets = load_data(parse_arguments([str(output / "train_config.yaml")]).data).targets("train")
    logits = np.where(targets >= 0.5, 7.0, -7.0) + generator.normal(0, 0.5, targets.shape)
    logits[WRONG_ROW] *= [-1, 1, 1]
    save_logits(output, logits, targets)
    return output


def save_logits(output: Path, logits: Any, targets: Any) -> None:
    folds = np.arange(len(logits)) % 5
    np.savez(
        output / "out_of_fold.npz",
        logits=logits.astype(np.float32),
        targets=targets,
        folds=folds,
    )


def read_suspects(folder: Path) -> list[dict[str, str]]:
    with (folder / SUSPECTS_FILE).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_planted_cell_comes_first_with_file_and_line(tmp_path: Path) -> None:
    output = write_run(tmp_path)
    found, folder = audit_run(output)
    data = load_own_data(str(output), parse_arguments([str(output / "train_config.yaml")]).data)
    first = read_suspects(folder)[0]
    assert tuple(first) == CSV_COLUMNS
    (text,) = data.texts("train")[WRONG_ROW]
    line = int(first["line"])
    assert (tmp_path / "data.csv").read_text().splitlines()[line - 1].startswith(text)
    assert first["file"].endswith("data.csv")
    place = data.label_space.label2id["=cmd()"]
    assert (first["text"], first["label"]) == (text, "'=cmd()" if place == 0 else "price")
    tagged = data.targets("train")[WRONG_ROW, 0] == 1
    assert first["kind"] == ("superfluous" if tagged else "missing")
    assert found.suspects[0].row == WRONG_ROW
    assert found.suspects[0].masked
    probabilities = [float(row["probability"]) for row in read_suspects(folder)]
    assert sum(each > DOUBTFUL_PROBABILITY for each in probabilities) == found.masked


def test_json_counts_and_no_texts(tmp_path: Path) -> None:
    found, folder = audit_run(write_run(tmp_path))
    content = json.loads((folder / AUDIT_FILE).read_text(encoding="utf-8"))
    assert content["suspects"] == len(found.suspects) == len(read_suspects(folder))
    assert content["rows"] == len(np.load(folder.parent / "out_of_fold.npz")["logits"])
    assert content["folds"] == 5
    assert {each["label"] for each in content["labels"]} == set(LABELS)
    assert "number" not in json.dumps(content)


def test_page_is_escaped_and_loads_nothing(tmp_path: Path) -> None:
    _, folder = audit_run(write_run(tmp_path))
    page = (folder / PAGE_FILE).read_text(encoding="utf-8")
    assert "&lt;b&gt;text&lt;/b&gt; number" in page
    assert "<b>text" not in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_summary_fits_into_80_columns(tmp_path: Path) -> None:
    found, _ = audit_run(write_run(tmp_path))
    assert max(map(len, found.render(Path("out/a/audit")).splitlines())) <= 80


@pytest.mark.parametrize("columns", [False, True])
def test_masked_copy_changes_the_doubtful_cells_only(tmp_path: Path, columns: bool) -> None:
    output = write_run(tmp_path, columns=columns)
    found, folder = audit_run(output, mask=True)
    original = load_own_data(str(output), parse_arguments([str(output / "train_config.yaml")]).data)
    copy = load_data(parse_arguments([str(folder / "masked" / MASKED_CONFIG_FILE)]).data)
    order = [copy.label_space.label2id[name] for name in original.label_space.names]
    for split in original.splits:
        assert copy.texts(split) == original.texts(split)
        before, after = original.targets(split), copy.targets(split)[:, order]
        if split == "train":
            hidden = np.isnan(after) & ~np.isnan(before)
            chosen = {(each.row, each.label) for each in found.suspects if each.masked}
            names = original.label_space.names
            assert {(row, names[label]) for row, label in np.argwhere(hidden).tolist()} == chosen
            assert 1 <= len(chosen) == found.masked
            before = np.where(hidden, np.nan, before)
        np.testing.assert_array_equal(after, before)


def test_lower_limit_lists_and_masks_more_cells(tmp_path: Path) -> None:
    output = write_run(tmp_path)
    with np.load(output / "out_of_fold.npz") as stored:
        logits, targets = stored["logits"], stored["targets"]
    row = next(row for row in np.flatnonzero((targets == 0).all(1)) if row != WRONG_ROW)
    logits[row, 1] = 0.5
    save_logits(output, logits, targets)
    chance = find_cell_errors(logits, targets).probabilities[row, 1]
    assert 0.01 < chance < 0.2
    for above, listed in ((0.2, False), (chance / 2, True)):
        found, _ = audit_run(output, mask=True, mask_above=above)
        assert (row in {each.row for each in found.suspects}) == listed
        assert found.masked == len(found.suspects)
        assert found.masked == sum(each.missing + each.superfluous for each in found.labels)


def test_near_duplicates_with_other_labels_are_listed(tmp_path: Path) -> None:
    output = write_run(tmp_path)
    data = tmp_path / "data.csv"
    text = "This parcel came very late and the seller ignored my letters"
    rows = [f"{text},price", f"{text}!,quality"]
    data.write_text("\n".join([data.read_text().rstrip("\n"), *rows, ""]), encoding="utf-8")
    arguments = parse_arguments([str(output / "train_config.yaml")]).data
    arguments.test_size = arguments.validation_size = 0.05
    (output / "train_config.yaml").write_text(
        json.dumps(
            json.loads((output / "train_config.yaml").read_text())
            | {"test_size": 0.05, "validation_size": 0.05}
        )
    )
    loaded = load_data(arguments)
    texts = [each[0] for each in loaded.texts("train")]
    assert text in texts
    assert f"{text}!" in texts
    targets = loaded.targets("train")
    save_logits(output, np.where(targets == 1, 7.0, -7.0), targets)
    found, _ = audit_run(output)
    (pair,) = found.duplicates
    assert {pair.labels[0], pair.labels[1]} == {("price",), ("quality",)}
    listed = [each for each in found.suspects if each.text.startswith(text)]
    assert {each.label for each in listed} == {"price", "quality"}


def write_rated_run(data: Path, lines: list[str], **options: Any) -> Path:
    """Write a run on this data, whose logits agree with all tags."""
    output = write_run(data.parent)
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = json.loads((output / "train_config.yaml").read_text())
    config |= {"train_file": str(data), "join_rows": True, "folds": 5, **options}
    (output / "train_config.yaml").write_text(json.dumps(config))
    loaded = load_data(parse_arguments([str(output / "train_config.yaml")]).data)
    targets = loaded.targets("train")
    save_logits(output, np.where(targets == 1, 7.0, -7.0), targets)
    return output


@pytest.mark.parametrize(
    "form",
    [{"label_delimiter": ";"}, {"label_delimiter": None}],
    ids=["several labels", "one label in each row"],
)
def test_raters_who_differ_are_counted(form: dict[str, Any], tmp_path: Path) -> None:
    rows = ["text,labels,annotator"]
    for row in range(60):
        rows += [f"text number {row},price,{name}" for name in ("ann", "ben", "cem")]
    rows[3] = "text number 0,quality,cem"
    # ann gives text 1 two tags, in two rows. The last row names no rater and does not count.
    rows += ["text number 1,quality,ann", "text number 1,quality,"]
    output = write_rated_run(tmp_path / "data.csv", rows, **form)
    found, _ = audit_run(output)
    assert {(each.text, each.label): (each.yes, each.total) for each in found.rater_cells} == {
        ("text number 0", "price"): (2, 3),
        ("text number 0", "quality"): (1, 3),
        ("text number 1", "quality"): (1, 3),
    }
    assert found.raters["cem"] > found.raters["ann"] > found.raters["ben"]


def test_responses_in_one_cell_name_no_rater(tmp_path: Path) -> None:
    responses = [["price"], ["quality"]]
    rows = [
        {"text": f"text {row}", "annotator": "ann", "labels": responses,
         "labels.status": ["submitted"] * 2}
        for row in range(40)
    ]  # fmt: skip
    lines = [json.dumps(row) for row in rows]
    output = write_rated_run(tmp_path / "data.jsonl", lines, label_delimiter=None)
    found, _ = audit_run(output)
    assert not found.rater_cells


def test_changed_data_is_refused(tmp_path: Path) -> None:
    output = write_run(tmp_path)
    data = tmp_path / "data.csv"
    data.write_text(data.read_text().replace("price", "quality"), encoding="utf-8")
    with pytest.raises(InputError, match="changed"):
        audit_run(output)
    assert not (output / "audit").exists()


def test_changed_text_is_refused(command: list[str], tmp_path: Path) -> None:
    source = Path(next(word for word in command if word.startswith("--train_file")).split("=")[1])
    data = tmp_path / "rows.jsonl"
    data.write_text(source.read_text())
    words = [*command, f"--train_file={data}", "--folds=2", "--num_train_epochs=1"]
    run(words, tmp_path / "run")
    audit_run(tmp_path / "run")
    first, *others = data.read_text().splitlines()
    changed = json.loads(first)
    changed["text"] += " again"
    data.write_text("\n".join([json.dumps(changed), *others]))
    with pytest.raises(InputError, match="changed"):
        audit_run(tmp_path / "run")


def test_finished_run_without_folds_is_not_audited_by_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = write_run(tmp_path)
    (output / "out_of_fold.npz").unlink()
    words = ["audit", str(tmp_path / "data.csv"), f"--output_dir={output}"]
    words += ["--label_delimiter=;", "--missing_labels=no_label"]
    assert main(words) == 2
    assert "--overwrite_output_dir true" in capsys.readouterr().err
    assert main([*words, "--folds", "0"]) == 2
    assert "--folds 0" in capsys.readouterr().err


def test_comparison_without_test_rows_uses_offsets_of_other_folds(
    command: list[str], tmp_path: Path
) -> None:
    words = [*command, "--folds=2", "--num_train_epochs=1"]
    run(words, tmp_path / "run")
    run(words, tmp_path / "other")
    stored = StoredLogits.load(tmp_path / "run")
    arguments = parse_arguments([str(tmp_path / "run" / "train_config.yaml")]).data
    data = load_own_data(str(tmp_path / "run"), arguments)
    decisions = stored.targets >= 0.5  # right everywhere, unlike the logits
    save_out_of_fold(
        tmp_path / "other", stored.logits, stored.targets, stored.folds, decisions=decisions
    )
    audited, _ = audit_run(tmp_path / "run")
    assert not audited.has_test_rows
    found = compare_runs(tmp_path / "run", tmp_path / "other", data)
    before = f1_score(stored.targets >= 0.5, stored.decisions, average="micro")
    assert found["f1_micro"].difference == pytest.approx(1 - before)
    save_out_of_fold(tmp_path / "other", stored.logits, stored.targets, stored.folds)
    with pytest.raises(InputError, match="earlier releases"):
        compare_runs(tmp_path / "run", tmp_path / "other", data)


@pytest.mark.parametrize("content", [None, b"broken"])
def test_run_without_out_of_fold_logits_is_one_line(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    output = write_run(tmp_path)
    (output / "out_of_fold.npz").unlink()
    if content is not None:
        (output / "out_of_fold.npz").write_bytes(content)
    assert main(["audit", str(output)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("error: ")
    assert "out_of_fold.npz" in line


def test_unfinished_runs_and_models_without_training_name_a_way_on(
    finished: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = shutil.copyfile(finished[0] / "train_config.yaml", run / "train_config.yaml")
    assert main(["audit", str(run)]) == 2
    assert f"zlpr train {config} --resume_from_checkpoint true" in capsys.readouterr().err
    model = Path(shutil.copytree(finished[0], tmp_path / "model"))
    (model / "train_config.yaml").unlink()
    assert main(["audit", str(model)]) == 2
    assert "name the data: zlpr audit DATA" in capsys.readouterr().err


def test_training_options_of_a_finished_run_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = write_run(tmp_path)
    assert main(["audit", str(output), "--learning_rate", "1"]) == 2
    assert "--learning_rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"), [([], "--retrain"), (["--mask_above=0.5"], "--retrain --mask_above 0.5")]
)
def test_next_command_keeps_the_limit(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = write_run(tmp_path)
    assert main(["audit", str(output), *words]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f" audit {output} {expected}")


def test_training_on_the_masked_copy_is_compared_on_the_test_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_encoder(tmp_path / "encoder")
    rows = make_colour_rows()
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    output = tmp_path / "run"
    words = [f"--train_file={tmp_path / 'rows.jsonl'}", *FAST, "--num_train_epochs=1"]
    run([*words, f"--model_name_or_path={tmp_path / 'encoder'}", "--folds=0"], output)
    data = load_own_data(str(output), parse_arguments([str(output / "train_config.yaml")]).data)
    targets = data.targets("train")
    logits = np.where(targets == 1, 7.0, -7.0)
    logits[WRONG_ROW] *= -1
    save_logits(output, logits, targets)
    assert main(["audit", str(output), "--retrain"]) == 0
    content = json.loads((output / "audit" / AUDIT_FILE).read_text(encoding="utf-8"))
    assert set(content["differences"]) >= {"f1_micro", "f1_macro"}
    assert content["masked"] >= 3
    assert (tmp_path / "run-masked" / "results.json").is_file()
    shown = capsys.readouterr().out
    assert "masked minus original, same test rows" in shown
    assert f"evaluate {output}-masked" in shown.splitlines()[-1]

"""train.py --streaming: the same run without the training rows in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.runs import check_refused, run
from zlpr_hf.data.streaming.batches import StreamedRows
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def streamed(
    command: list[str],
    colour_rows: list[dict[str, object]],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[str]:
    """Options of a streaming run that takes seconds: 80 rows to train on."""
    folder = tmp_path_factory.mktemp("split")
    splits = {"train": colour_rows[:80], "validation": colour_rows[80:100]}
    splits["test"] = colour_rows[100:]
    files = []
    for split, rows in splits.items():
        path = folder / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files.append(f"--{split}_file={path}")
    return [*command, *files, "--streaming=true", "--streaming_buffer=30"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_streamed_run_counts_the_same_data_and_learns(streamed: list[str], tmp_path: Path) -> None:
    found = run(streamed, tmp_path / "streamed")
    held = run([*streamed, "--streaming=false"], tmp_path / "held", "--num_train_epochs=1")
    assert found.training["steps"] == 12 * held.training["steps"] == 120
    profiles = {
        name: [
            getattr(report.profile.splits[split], name) for split in ("train", "validation", "test")
        ]
        for report in (found, held)
        for name in (
            "rows",
            "cardinality",
            "density",
            "empty_rows",
            "unknown_cells",
            "truncated",
            "unjudged_rows",
        )
    }
    for name, values in profiles.items():
        assert values == [getattr(split, name) for split in found.profile.splits.values()], name
    train = [report.profile.splits["train"].label_counts for report in (found, held)]
    assert train[0] == train[1]
    assert list(train[0]) == list(train[1])
    assert found.profile.shared_texts == held.profile.shared_texts
    assert found.test.keys() == held.test.keys() - {"TF-IDF + linear SVM"}
    frequent = "most frequent label set"
    assert found.test[frequent] == held.test[frequent]
    assert found.validation.keys() == held.validation.keys()
    model = next(reversed(found.test))
    assert found.test[model].keys() == held.test[next(reversed(held.test))].keys()
    assert found.test[model]["f1_micro"] > 0.8
    assert "streaming: true" in (tmp_path / "streamed" / "train_config.yaml").read_text()


@pytest.mark.slow
def test_resumed_streamed_run_has_identical_weights(
    streamed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*streamed, "--num_train_epochs=3", "--dataloader_num_workers=1"]
    run(options, tmp_path / "whole")
    read = StreamedRows.__iter__
    left = 1

    def cut(self: StreamedRows) -> Iterator[dict[str, Any]]:
        nonlocal left
        for number, row in enumerate(read(self)):
            if self.epoch == 1 and left and number == 72:  # checkpoints are at steps 10 and 15
                left -= 1
                raise MemoryError
            yield row

    monkeypatch.setattr(StreamedRows, "__iter__", cut)
    with pytest.raises(MemoryError):
        run([*streamed, "--num_train_epochs=3"], tmp_path / "cut")
    assert (tmp_path / "cut" / "checkpoint-15").is_dir()
    report = run(
        [*streamed, "--num_train_epochs=3"], tmp_path / "cut", "--resume_from_checkpoint=true"
    )
    assert report.training["resumed_from"] == "checkpoint-15"
    whole, cut_weights = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut_weights[name]) for name in whole)


@pytest.mark.slow
def test_nonfinite_step_is_one_line(streamed: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"step \d+: .*rows unknown: they are stre"):
        run(streamed, tmp_path / "out", "--learning_rate=1e6", "--head_learning_rate=1e6")


def test_streamed_training_rows_have_a_fingerprint(streamed: list[str], tmp_path: Path) -> None:
    arguments = parse_arguments([*streamed, f"--output_dir={tmp_path}"]).data
    first, again = load_data(arguments).fingerprints(), load_data(arguments).fingerprints()
    assert set(first) == {"train", "validation", "test"}
    assert first == again
    path = Path(str(arguments.train_file))
    changed = tmp_path / path.name
    changed.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    other = load_data(replace(arguments, train_file=str(changed))).fingerprints()
    assert [name for name in first if first[name] != other[name]] == ["train"]


@pytest.mark.slow
def test_two_processes_take_the_same_steps_as_one(streamed: list[str], tmp_path: Path) -> None:
    same = ["--dropout=0", "--contrastive_alpha=0"]
    options = [*streamed, "--num_train_epochs=2", *same, "--save_strategy=no"]
    run(options, tmp_path / "one")
    more = [f"--output_dir={tmp_path / 'two'}", "--per_device_train_batch_size=4"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py"]
    found = subprocess.run(
        [sys.executable, *launch, *options, *more, "--ddp_backend=gloo"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=150,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        # The same to all keys changes no attention: the gradient of this bias is rounding alone,
        # which Adam makes steps of.
        if not name.endswith("key.bias"):
            torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4)


PEAK = """
import sys
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.data.streaming.batches import StreamedRows
from zlpr_hf.workflows.load_data import load_data
train, held, flag = sys.argv[1:]
data = load_data(DataArguments(
    train_file=train, validation_file=held, test_file=held, label_delimiter=";",
    streaming=flag == "streaming",
))
if flag == "streaming":
    ids = data.label_space.label2id
    rows = StreamedRows(data.stream, ids, count=data.scan.rows, seed=0, buffer=1000)
    assert sum(1 for row in rows) == len(rows)
# getrusage would include the size of the process that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    held = tmp_path / "held.csv"
    held.write_text("text,labels\nred,red;green;blue\nblue,blue\n")

    def peak(rows: int, flag: str) -> int:
        """Peak of the resident size in MiB, of all rows counted and read once."""
        path = tmp_path / f"{rows}.csv"
        line = "red sky and green grass,red;green;blue\n"
        path.write_text("text,labels\n" + "".join(f"{number} {line}" for number in range(rows)))
        found = subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(held), flag],
            cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=150,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return int(found.stdout.split()[-1]) // 1024

    little = peak(10_000, "streaming")
    assert peak(60_000, "streaming") - little < 15
    assert peak(60_000, "held") - little > 45


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--loss=powerset", "streaming: cannot be combined with loss powerset"),
        ("--group_column=author", "streaming: cannot be combined with group_column"),
        ("--max_train_samples=5", "streaming: cannot be combined with max_train_samples"),
        ("--streaming_buffer=0", "streaming_buffer: expected 1 or more, got 0"),
        ("--dataset_name=cwe", "streaming: cannot be combined with the built-in corpus cwe"),
        ("--label_column=label", "no column 'label' for the labels"),
    ],
)
def test_options_that_need_all_rows_are_refused(
    option: str,
    message: str,
    streamed: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_refused([*streamed, option], tmp_path / "out", message, capsys)

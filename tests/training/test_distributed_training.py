"""Two processes match one: gradients, weights, metrics, files; only one of them prints."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
from safetensors.torch import load_file
from torch.distributed.fsdp import StateDictType

from tests.runs import REPOSITORY, TORCHRUN, launch, run
from tests.several_processes import CASES, EVALUATED, LABELS, make_rows, make_trainer, run_case
from zlpr_hf import ZLPRLoss
from zlpr_hf.cli.main import main
from zlpr_hf.training.dataloaders import SharedBatchSampler

CONFIGS = REPOSITORY / "configs" / "accelerate"
TWO = [TORCHRUN, "--nproc_per_node=2"]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 11, 16])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_shares_are_the_batches_of_one_process(rows: int, processes: int, drop_last: bool) -> None:
    order = list(range(100, 100 + rows))
    whole = [order[start : start + 4 * processes] for start in range(0, rows, 4 * processes)]
    if drop_last:
        whole = [batch for batch in whole if len(batch) == 4 * processes]
    samplers = [
        SharedBatchSampler(order, 4, drop_last, num_processes=processes, process_index=index)
        for index in range(processes)
    ]
    shares = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(whole)] * processes
    for step, batch in enumerate(whole):
        taken = [row for share in shares for row in share[step]]
        spare = len(taken) - len(batch)
        assert set(taken) == set(batch)
        assert max(len(share[step]) for share in shares) <= 4
        ends = [sampler.ends_without_a_row for sampler in samplers]
        assert spare == (sum(ends) if step == len(whole) - 1 else 0)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of the main process for all cases, on two processes started once."""
    folder = tmp_path_factory.mktemp("two")
    started = launch(*TWO, "-m", "tests.several_processes", str(folder))
    assert started.returncode == 0, started.stderr
    found: dict[str, Any] = torch.load(folder / "process-0.pt", weights_only=False)
    other = torch.load(folder / "process-1.pt", weights_only=False)
    for name in CASES:
        torch.testing.assert_close(other[name], found[name], atol=0, rtol=0, equal_nan=True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_match_one(name: str, two: dict[str, Any], tmp_path: Path) -> None:
    one = run_case(CASES[name], tmp_path, 1)
    assert len(one["gradients"]) == len(two[name]["gradients"]) > 0
    torch.testing.assert_close(two[name], one, atol=1e-6, rtol=1e-5, equal_nan=True)
    assert max(gradient.abs().max() for gradient in one["gradients"][0].values()) > 1e-2


@pytest.mark.slow
def test_loss_of_evaluation_is_the_mean_over_rows(two: dict[str, Any]) -> None:
    targets = torch.tensor(make_rows(EVALUATED, 1)["flags"][:])
    assert targets.shape == (EVALUATED, LABELS)
    expected = ZLPRLoss()(torch.from_numpy(two["uneven"]["predictions"]), targets)
    assert two["uneven"]["metrics"]["eval_loss"] == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
def test_resuming_in_the_middle_of_an_epoch(sampling: str, two: dict[str, Any]) -> None:
    whole, resumed = two[f"resumed {sampling}"]
    torch.testing.assert_close(resumed, whole, atol=0, rtol=0)


def files_of(folder: Path) -> set[str]:
    """Without the states of random numbers, of which every process has its own."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if not path.name.startswith("rng_state")}


@pytest.mark.slow
def test_a_launched_run_is_that_of_one_process(command: list[str], tmp_path: Path) -> None:
    more = [
        "--dropout=0", "--contrastive_alpha=0",  # which compares the rows of one process
        "--num_train_epochs=2", "--tune_thresholds=global", "--optim=sgd",
        "--learning_rate=1e-3", "--train_sampling_strategy=random",
        "--max_length=6", "--long_texts=mean",  # windows are shared as well
    ]  # fmt: skip
    config = ["--config_file", "configs/accelerate/cpu.yaml", "--main_process_port", "0"]
    shared, alone = tmp_path / "two", tmp_path / "one"
    started = launch(
        "accelerate.commands.launch", *config, "--tee=3", "train.py", *command, *more,
        f"--output_dir={shared}", "--per_device_train_batch_size=4",
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    run(command, alone, *more)
    two, one = (json.loads((folder / "results.json").read_text()) for folder in (shared, alone))
    assert two["training"]["processes"] == 2
    assert two["training"]["long_texts"] == one["training"]["long_texts"]
    assert two["training"]["long_texts"]["longer"]["test"] > 10
    for name in ("steps", "train_loss"):
        assert two["training"][name] == pytest.approx(one["training"][name], rel=1e-6)
    assert two["validation"] == pytest.approx(one["validation"], rel=1e-5, nan_ok=True)
    offsets = [results["thresholds"]["offsets"] for results in (two, one)]
    assert offsets[0] == pytest.approx(offsets[1], rel=1e-5)
    assert two["test"].keys() == one["test"].keys()
    for name, row in one["test"].items():
        assert two["test"][name] == pytest.approx(row, rel=1e-5, nan_ok=True), name
    weights = [load_file(folder / "model.safetensors") for folder in (shared, alone)]
    torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-5)
    assert files_of(shared) == files_of(alone)
    lines = (started.stdout + started.stderr).splitlines()
    assert any(line.startswith("[default0]:saved to ") for line in lines)
    assert [line for line in lines if line.startswith("[default1]:")] == []


@pytest.mark.slow
def test_an_error_in_one_process_ends_all(command: list[str], tmp_path: Path) -> None:
    """The main process cannot write its page; the other one waits for it, but not for ever."""
    (tmp_path / "report.html").mkdir()
    started = launch(
        *TWO, "train.py", *command, f"--output_dir={tmp_path}", "--num_train_epochs=1",
        "--save_strategy=no",
    )  # fmt: skip
    assert started.returncode != 0
    assert "IsADirectoryError" in started.stderr


@pytest.mark.slow
def test_wrong_input_is_reported_once(command: list[str], tmp_path: Path) -> None:
    started = launch(
        *TWO, "train.py", *command, f"--output_dir={tmp_path}", "--train_file=none.csv"
    )
    assert started.returncode != 0
    assert started.stderr.count("error: ") == 1
    assert "none.csv" in started.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "machines", "kind"),
    [
        ("cpu", 1, DistributedType.MULTI_GPU),
        ("ddp", 1, DistributedType.MULTI_GPU),
        ("multi_node", 2, DistributedType.MULTI_GPU),
        ("fsdp", 1, DistributedType.FSDP),
        ("fsdp_multi_node", 2, DistributedType.FSDP),
    ],
)
def test_configurations_of_accelerate(name: str, machines: int, kind: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    config = load_config_from_file(str(path))  # refuses keys that it does not know
    assert config.distributed_type == kind
    assert config.num_machines == machines
    assert config.num_processes == {1: 2 if name == "cpu" else 8, 2: 16}[machines]
    assert config.use_cpu == (name == "cpu")
    assert f"--config_file configs/accelerate/{name}.yaml" in path.read_text()


def test_every_configuration_of_accelerate_is_checked() -> None:
    names = {path.stem for path in CONFIGS.glob("*")}
    assert names == {"cpu", "ddp", "multi_node", "fsdp", "fsdp_multi_node"}


@pytest.mark.parametrize("name", ["fsdp", "fsdp_multi_node"])
def test_fsdp_spreads_layers_and_saves_a_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate splits the embedding by itself; no other unit may hold it."""
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    for key, value in config.fsdp_config.items():  # as accelerate launch hands them on
        monkeypatch.setenv(
            key.upper(), str(value).lower() if isinstance(value, bool) else str(value)
        )
    plugin = FullyShardedDataParallelPlugin()
    trainer = make_trainer(CASES["even"], tmp_path, 1)
    trainer.accelerator = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin))
    trainer._keep_embeddings_whole()
    is_unit = fsdp2_prepare_auto_wrap_policy(plugin, trainer.model)
    units = [type(module).__name__ for module in trainer.model.modules() if is_unit(module)]
    assert units == ["BertLayer", "BertLayer"]
    assert plugin.fsdp_version == 2
    assert plugin.state_dict_type == StateDictType.FULL_STATE_DICT


@pytest.mark.parametrize("name", ["evaluate", "export", "push", "demo", "tune"])
def test_commands_of_one_process_refuse_several(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert main([name, "model"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: zlpr {name}: expected one process, got 2")

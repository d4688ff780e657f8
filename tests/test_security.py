"""Remote code, pickles, archives and entities are refused; tokens are never written."""

import ast
import io
import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zlpr_hf
from tests.runs import run
from zlpr_hf import Classifier, InputError, LabelSpace, load_pipeline
from zlpr_hf.cli.main import main
from zlpr_hf.data.corpora import read_cwe, read_reuters21578
from zlpr_hf.models.loading import load_model
from zlpr_hf.models.tokenizer import load_tokenizer
from zlpr_hf.training.distillation import Teacher
from zlpr_hf.workflows.arguments import parse_arguments, render_config

PACKAGE = Path(zlpr_hf.__file__).parent
TOKEN = "hf_" + "Qx7" * 12
SPACE = LabelSpace(("red", "green", "blue"))
CODE = """
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification

Path({marker!r}).write_text("ran")

class OwnConfig(BertConfig):
    model_type = "own"

class OwnModel(BertForSequenceClassification):
    config_class = OwnConfig
"""


class Touch:
    """A pickle that creates a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that only foreign code creates."""
    return tmp_path / "marker"


@pytest.fixture
def remote_code(
    finished: tuple[Path, Any], tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A classifier whose class is in its folder; questions on the terminal fail."""

    def asked(prompt: str = "") -> str:
        raise AssertionError(f"asked on the terminal: {prompt}")

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder = tmp_path / "remote_code"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.OwnModel"}
    config |= {"model_type": "own", "auto_map": classes}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(CODE.format(marker=str(marker)))
    return folder


def test_remote_code_runs_only_with_trust_remote_code(
    remote_code: Path, marker: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = remote_code.parent / "out"
    train = ["train", *command, f"--model_name_or_path={remote_code}", f"--output_dir={output}"]
    for argv in (train, *([name, str(remote_code)] for name in ("predict", "evaluate"))):
        assert main(argv) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: model ")
        assert "contains custom code" in line
        assert "trust_remote_code" in line
    for load in (load_pipeline, load_tokenizer, Classifier.load):
        with pytest.raises(InputError, match="trust_remote_code"):
            load(str(remote_code))
    with pytest.raises(InputError, match="trust_remote_code"):
        Teacher.load(str(remote_code), SPACE)
    assert not output.exists()
    assert not marker.exists()
    classifier = Classifier.load(str(remote_code), trust_remote_code=True)
    assert type(classifier.model).__name__ == "OwnModel"
    assert marker.read_text() == "ran"


def test_permission_for_remote_code_is_never_saved(remote_code: Path, tmp_path: Path) -> None:
    arguments = parse_arguments(
        [f"--model_name_or_path={remote_code}", "--trust_remote_code=true", "--output_dir=out",
         "--train_file=rows.csv"]
    )  # fmt: skip
    assert arguments.model.trust_remote_code
    assert "trust_remote_code" not in render_config(arguments)
    model = load_model(str(remote_code), SPACE, trust_remote_code=True)
    model.save_pretrained(tmp_path / "saved")
    assert "trust_remote_code" not in (tmp_path / "saved" / "config.json").read_text()


def test_checkpoint_of_a_stock_model_refers_to_no_code(finished: tuple[Path, Any]) -> None:
    for path in finished[0].rglob("*config.json"):
        assert "auto_map" not in path.read_text()
        assert "trust_remote_code" not in path.read_text()
    assert not list(finished[0].rglob("*.py"))


def test_pickled_weights_are_refused(
    finished: tuple[Path, Any], tmp_path: Path, marker: Path
) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for content in (weights, Touch(marker)):
        torch.save(content, folder / "pytorch_model.bin")
        for load in (Classifier.load, lambda name: load_model(name, SPACE),
                     lambda name: Teacher.load(name, SPACE)):  # fmt: skip
            with pytest.raises(InputError, match="safetensors only: a pickle") as refused:
                load(str(folder))
            assert "\n" not in str(refused.value)
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(finished[0]), "r": 1}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    torch.save(Touch(marker), folder / "adapter_model.bin")
    with pytest.raises(InputError, match="a pickle such as adapter_model.bin can run code"):
        Classifier.load(str(folder))
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_checkpoint_with_pickled_code_is_not_resumed(
    name: str, finished: tuple[Path, Any], command: list[str], tmp_path: Path, marker: Path
) -> None:
    source = min(finished[0].glob("checkpoint-*"))
    checkpoint = tmp_path / source.name
    shutil.copytree(source, checkpoint)
    assert (checkpoint / name).is_file()
    torch.save(Touch(marker), checkpoint / name)
    with pytest.raises(InputError, match="pickled objects other than tensors") as refused:
        run(command, tmp_path / "out", f"--resume_from_checkpoint={checkpoint}")
    assert "\n" not in str(refused.value)
    assert not marker.exists()


def test_package_never_reads_a_pickle_or_extracts_an_archive() -> None:
    forbidden = {"torch.load", "pickle.load", "pickle.loads", "eval", "exec", "os.system"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            options = {each.arg: ast.unparse(each.value) for each in node.keywords}
            assert name not in forbidden, path
            assert not name.endswith((".extractall", ".extract", "joblib.load")), path
            assert "allow_pickle" not in options, path
            assert options.get("shell", "False") == "False", path
            if name == "yaml.load":
                assert options["Loader"] == "yaml.BaseLoader", path
            if name.startswith("Auto") and name.endswith(".from_pretrained"):
                assert {"trust_remote_code", None} & set(options), (path, name)
                if name.startswith("AutoModel"):
                    assert options["use_safetensors"] == "True", path


@pytest.mark.parametrize("option", ["", "label_descriptions_file"])
def test_yaml_creates_no_objects(
    option: str, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:  # fmt: skip
    path = tmp_path / "evil.yaml"
    path.write_text(f"red: !!python/object/apply:os.mkdir ['{marker}']\n")
    argv = [f"--{option}={path}"] if option else []
    output = f"--output_dir={tmp_path / 'out'}"
    assert main(["train", *([] if option else [str(path)]), *command, *argv, output]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "could not determine a constructor" in errors[-1]
    assert main(["compare", str(path)]) == 2
    assert not marker.exists()


STORY = b'<REUTERS TOPICS="YES" LEWISSPLIT="%s"><TOPICS><D>oil</D></TOPICS><BODY>x</BODY></REUTERS>'


def archive(path: Path, *members: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for name, split in (("one.sgm", b"TRAIN"), ("two.sgm", b"TEST")):
            info = tarfile.TarInfo(name)
            info.size = len(STORY % split)
            tar.addfile(info, io.BytesIO(STORY % split))
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size) if member.size else None)
    return str(path)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize("name", ["../outside.sgm", "/tmp/zlpr-outside.sgm", "a/../../outside.sgm"])
def test_archive_members_are_never_written(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    path = archive(folder / "reuters21578.tar.gz", member(name, size=10))
    assert set(read_reuters21578(path).splits) == {"train", "test"}
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [Path(path)]
    assert not Path("/tmp/zlpr-outside.sgm").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
@pytest.mark.parametrize("link", ["/etc/passwd", "loop.sgm", "nowhere"])
def test_links_and_devices_in_an_archive_are_refused(
    kind: bytes, link: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "x.tar.gz", member("loop.sgm", kind, link))
    with pytest.raises(InputError, match="loop.sgm is not a regular file"):
        read_reuters21578(path)


def test_archive_with_a_huge_member_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zlpr_hf.data.corpora.MAX_MEMBER_BYTES", 1_000_000)
    path = archive(tmp_path / "x.tar.gz", member("zz.sgm", size=2_000_000))
    assert Path(path).stat().st_size < 10_000
    with pytest.raises(InputError, match="zz.sgm has 2,000,000 bytes, expected up to 1,000,000"):
        read_reuters21578(path)


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY a "x"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY b SYSTEM "file:///etc/passwd">',
        '<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p; <!ENTITY b "">',
        "<!ELEMENT c ANY>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_entities_is_refused(declared: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "cwec_evil.xml"
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE c [{declared}]><c>&b;</c>'
    path.write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match="it declares a document type"):
        read_cwe(str(path))


def written(folder: Path) -> str:
    return "\n".join(
        path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.slow
def test_token_appears_in_no_file_and_no_output(
    command: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = tmp_path / "run"
    quick = ["--num_train_epochs=1", f"--hub_token={TOKEN}", f"--output_dir={folder}"]
    assert main(["train", *command, *quick]) == 0
    assert (folder / "checkpoint-5").is_dir()
    assert "model.safetensors" in os.listdir(folder)
    assert TOKEN not in written(tmp_path)
    assert not list(folder.rglob("training_args.bin"))
    found = capfd.readouterr()
    assert TOKEN not in found.out + found.err


@pytest.mark.parametrize("given", [["--hub_token", TOKEN], [f"--hub_token={TOKEN}"]])
@pytest.mark.parametrize("name", ["train", "compare"])
def test_resume_command_contains_no_token(
    given: list[str],
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    Path("plan.yaml").write_text("seed: 1\n")
    monkeypatch.setattr("zlpr_hf.workflows.arguments.parse_arguments", interrupted)
    monkeypatch.setattr("zlpr_hf.workflows.comparison.plan.read_plan", interrupted)
    assert main([name, "plan.yaml", *given, "--seed", "7"]) == 130
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "Qx7" not in line
    assert "--hub_token" not in line
    assert "plan.yaml --seed 7" in line


def test_user_and_password_are_removed_from_addresses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "http://me:Qx7Secret@127.0.0.1:9/reuters21578.tar.gz"
    argv = ["--dataset_name=reuters21578", f"--data_dir={address}", f"--output_dir={tmp_path}/o"]
    assert "Qx7" not in render_config(parse_arguments(argv))
    assert main(["train", *argv]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "http://127.0.0.1:9/reuters21578.tar.gz: could not be downloaded" in line
    assert "Qx7" not in line
    assert TOKEN not in str(InputError(f"x: illegal header Bearer {TOKEN}, {TOKEN}"))


def test_the_malicious_pickle_works_when_read(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Touch(tmp_path / "made")))
    assert (tmp_path / "made").exists()

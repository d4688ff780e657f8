"""The files of examples/: containers, an endpoint and a job; checked without Docker or the Hub."""

import json
import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.command_lines import REPOSITORY, check_words, options_of
from zlpr_hf import load_pipeline

EXAMPLES = REPOSITORY / "examples"
DOCKERFILES = sorted((EXAMPLES / "docker").iterdir())
EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word, rest) for word, _, rest in (x.partition(" ") for x in joined.splitlines()) if word
    ]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_container_serves_as_another_user_than_root(path: Path) -> None:
    found = instructions(path)
    names = [name for name, _ in found]
    assert {name for name, _ in found} <= {
        "FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT",
    }  # fmt: skip
    arguments = dict(found)  # the last of each kind
    assert int(arguments["USER"]) > 0
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))
    words = json.loads(arguments["ENTRYPOINT"])
    assert words[:3] == ["zlpr", "serve", "/model"]
    assert {word for word in words if word.startswith("--")} <= options_of("serve")
    (port,) = re.findall(r"--port', '(\d+)", str(words))
    assert arguments["EXPOSE"] == port
    health = json.loads(arguments["HEALTHCHECK"].partition("CMD ")[2])
    assert f":{port}/health" in health[-1]
    compile(health[-1], path.name, "exec")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_container_copies_files_and_extras_that_exist(path: Path) -> None:
    for name, rest in instructions(path):
        if name == "COPY" and "--from" not in rest:
            for word in rest.split()[:-1]:
                assert (REPOSITORY / word).exists(), word
        for group in re.findall(r"\.\[([\w,]+)\]", rest if name == "RUN" else ""):
            assert set(group.split(",")) <= set(EXTRAS)
    # The commands at the top, but for Docker's own.
    for line in re.findall(r"^#   (.+)", path.read_text(), re.MULTILINE):
        words = shlex.split(line)
        check_words(words)
        image = next(place for place, word in enumerate(words) if word.startswith("zlpr-serve"))
        assert {word for word in words[image:] if word.startswith("--")} <= options_of("serve")


def test_endpoint_answers_as_the_pipeline(finished: tuple[Path, Any]) -> None:
    handler = runpy.run_path(str(EXAMPLES / "handler.py"))["EndpointHandler"](str(finished[0]))
    classify = load_pipeline(finished[0])
    texts = ["red sky", "the green sea", ""]
    assert handler({"inputs": "red sky"}) == classify("red sky")
    assert handler({"inputs": texts}) == classify(texts)
    request = {"inputs": texts, "parameters": {"threshold": 0.1, "top_k": 1}}
    assert handler(request) == classify(texts, threshold=0.1, top_k=1)


def test_job_declares_its_packages_and_trains(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = EXAMPLES / "train_job.py"
    block = re.search(r"^# /// script\n(.*?)^# ///$", path.read_text(), re.MULTILINE | re.DOTALL)
    assert block
    declared = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE))
    (package,) = declared["dependencies"]
    extras = re.search(r"\[(.+)\]", package)
    assert extras
    assert set(extras[1].split(",")) <= set(EXTRAS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), *command, "--num_train_epochs=1"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0
    assert load_pipeline(tmp_path / "out" / "job")("red sky", threshold=0)

"""Push of a trained model to the Hugging Face Hub, in one commit and without local files."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoUrl
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
)

from zlpr_hf.errors import InputError
from zlpr_hf.files.paths import shorten_path
from zlpr_hf.files.yaml_mapping import read_yaml_mapping, render_yaml
from zlpr_hf.models.paths import is_local
from zlpr_hf.workflows.output_dir import CARD_FILES, CONFIG_FILE, PROFILE_FILE, RESULTS_FILE
from zlpr_hf.zlpr_config import ZLPRConfig

logger = logging.getLogger(__name__)

REFUSALS = {
    401: "the Hub accepts no token (401); set HF_TOKEN to a token with the role write, or log in "
    "with: hf auth login",
    403: "the token cannot write there (403); it needs the role write and access to OWNER",
    404: "no such repository on the Hub (404)",
}
MESSAGE = "Model, its numbers and its card"
TORCH_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "adapter_model.safetensors",
)
OTHER_FORMS = ("adapter_config.json", "model.onnx", "model.onnx.data", "export.json")
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "bpe.codes",
    "tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model",
)  # fmt: skip
# Without report.html: it quotes texts of the test split, which may be private.
RECORDS = (*CARD_FILES, RESULTS_FILE, PROFILE_FILE, CONFIG_FILE)


def check_access(repo_id: str, *, private: bool = False, token: str | None = None) -> str:
    """Check that a model can be pushed, create its repository, and return its full name."""
    try:
        return _open_repository(HfApi(token=token), repo_id, private).repo_id
    except Exception as error:  # errors of the client and of its HTTP library
        raise InputError(f"{repo_id}: {_reason(error)}") from error


def push_folder(
    folder: Path | str,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = MESSAGE,
    command: Sequence[str] = ("zlpr", "push"),
) -> RepoUrl:
    """Push a trained model to the Hub: weights, tokenizer, card and numbers, in one commit.

    Checkpoints, pickles, the report and logits are not sent. Local paths are cut to their last
    part, and the card loads the model by its name on the Hub.

    Args:
        folder: Folder of the model.
        repo_id: ``NAME`` or ``OWNER/NAME``; created if it does not exist.
        private: Create the repository as private.
        token: Token for the Hub; None for ``HF_TOKEN`` or the stored login.
        revision: Branch, created if it does not exist; None for ``main``.
        commit_message: Message of the commit.
        command: The user's command, repeated in the error message.

    Returns:
        URL of the repository; its ``repo_id`` is the full name.

    Raises:
        InputError: If the folder holds no model, or the Hub refused it; the message ends with the
            command to push again.

    Example:
        >>> from zlpr_hf import InputError
        >>> try:
        ...     print(push_folder("out/quickstart", "me/tactics", private=True))
        ... except InputError as error:  # no network, no token or no permission
        ...     print("not pushed")
        not pushed
    """
    folder = Path(folder)
    files = find_files(folder)
    if note := _read_entry(folder).render_bias():
        logger.warning("%s", note)
    again = [*command, str(folder), repo_id]
    again += ["--private"] * private
    again += ["--revision", revision] if revision else []
    again += ["--message", commit_message] if commit_message != MESSAGE else []
    try:
        api = HfApi(token=token)
        url = _open_repository(api, repo_id, private)
        name = url.repo_id
        if revision:
            api.create_branch(name, branch=revision, exist_ok=True)
        operations = [CommitOperationAdd(file.name, _content(file, name)) for file in files]
        api.create_commit(
            name,
            [*operations, *_stale_files(api, name, revision, files)],
            commit_message=commit_message,
            revision=revision,
        )
    except Exception as error:  # errors of the client, its HTTP library and hf_xet
        raise InputError(
            f"{repo_id}: {_reason(error)}; the model was kept in {folder}; push it again with: "
            f"{shlex.join(again)}"
        ) from error
    return url


def find_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that are pushed; refuse an incomplete model."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: expected a folder with a model, found no config.json")
    names = ("config.json", *TORCH_WEIGHTS, *OTHER_FORMS, *TOKENIZER, *RECORDS)
    found = sorted(path for path in folder.iterdir() if path.is_file() and _matches(path, names))
    if not any(_matches(path, (*TORCH_WEIGHTS, "model.onnx")) for path in found):
        raise InputError(
            f"{folder}: expected weights (model.safetensors, or an adapter), found none"
        )
    if not any(_matches(path, TOKENIZER) for path in found):
        raise InputError(f"{folder}: expected a tokenizer (tokenizer.json), found none")
    for index in (path for path in found if path.name == "model.safetensors.index.json"):
        parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(parts - {path.name for path in found})
        if missing:
            raise InputError(f"{folder}: {index.name} lists {missing[0]}, which is missing")
    adapter = folder / "adapter_config.json"
    if adapter in found:
        base = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
        if shorten_path(base) != base or is_local(base):
            raise InputError(
                f"{folder}: the adapter needs the local encoder {base}; train with peft_save "
                "merged, or from an encoder on the Hub"
            )
    return found


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)


def _open_repository(api: HfApi, repo_id: str, private: bool) -> RepoUrl:
    # None leaves the choice to the settings of the owner.
    url = api.create_repo(repo_id, private=private or None, exist_ok=True)
    # A repository that exists is returned to all who can read it.
    api.auth_check(url.repo_id, write=True)
    if private and not api.model_info(url.repo_id).private:
        raise InputError("the repository exists and is public; make it private on the Hub first")
    return url


def _stale_files(
    api: HfApi, name: str, revision: str | None, files: Sequence[Path]
) -> Iterator[CommitOperationDelete]:
    """Delete weights in another format, which would still be loaded."""
    if any(_matches(path, TORCH_WEIGHTS) for path in files):
        kept = {path.name for path in files}
        for path in api.list_repo_files(name, revision=revision):
            if path not in kept and _matches(Path(path), (*TORCH_WEIGHTS, *OTHER_FORMS)):
                yield CommitOperationDelete(path)


def _content(path: Path, name: str) -> Path | bytes:
    """Return a file as it is pushed: unchanged, or as text without local names."""
    if path.name == CARD_FILES[0]:
        return _card_content(path, name)
    if path.name == CONFIG_FILE:
        return render_yaml(
            _without_local_names(read_yaml_mapping(path, "a configuration"))
        ).encode()
    if path.name in (RESULTS_FILE, "export.json"):
        values = _without_local_names(json.loads(path.read_text(encoding="utf-8")))
        return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()
    return path


def _card_content(path: Path, name: str) -> bytes:
    from zlpr_hf.reports.model_card import rename_in_card  # loads torch, which --help does not need

    stored = _read_entry(path.parent)
    card = rename_in_card(
        path.read_text(encoding="utf-8"),
        name,
        adapter=(path.parent / "adapter_config.json").is_file(),
        label_sets=bool(stored.label_sets),
        head_bias=stored.head_bias is not None,
    )
    return card.encode()


def _read_entry(folder: Path) -> ZLPRConfig:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return ZLPRConfig.read(SimpleNamespace(**config))


def _without_local_names(values: dict[str, Any]) -> dict[str, Any]:
    """Cut local paths to their last part, and leave out where this user pushes to."""
    return {
        key: shorten_path(value) if isinstance(value, str) else value
        for key, value in values.items()
        if not key.startswith(("push_to_hub", "hub_"))
    }


def _reason(error: BaseException) -> str:
    """Return the reason of a failed push, in one line and without the token."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    answers = [cause for cause in causes if isinstance(cause, HfHubHTTPError)]
    lost = [cause for cause in causes if isinstance(cause, (HTTPError, ConnectionError))]
    if answers:
        text = _describe_answer(answers[-1])
    elif lost:
        text = f"no connection to the Hub ({lost[-1]})"
    elif isinstance(error, InputError):
        text = str(error)
    elif isinstance(error, HFValidationError):
        text = "expected NAME or OWNER/NAME, of letters, digits, '-', '_' and '.'"
    else:
        text = f"{type(causes[-1]).__name__}: {causes[-1]}"
    return re.sub(r"Bearer \S+|hf_\w+", "(token)", " ".join(text.split()))


def _describe_answer(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    if status in REFUSALS:
        return REFUSALS[status]
    if status >= 500:
        return f"the Hub failed ({status}); try again later"
    return f"the Hub refused it ({status}): {error.server_message or error}"

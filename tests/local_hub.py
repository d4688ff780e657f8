"""A small Hugging Face Hub on loopback, for the real client: repositories, commits, large files."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

LARGE = (".safetensors", ".onnx", ".bin", ".pt", ".npz")
ID = r"^(?:[\w-]+/)?[\w.-]+$"
"""Ids of models and datasets that the Hub accepts in the metadata of a card."""


class RefusedError(Exception):
    """An error response, with the header that tells the client its cause."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Blob:
    content: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """As git calls it; of a large file git holds a pointer, and the client knows its digest."""
        header = b"blob %d\0" % len(self.content)
        return self.sha256 if self.large else hashlib.sha1(header + self.content).hexdigest()


@dataclass
class Repository:
    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, Blob], message: str) -> str:
        seed = f"{branch} {len(self.commits)} {message}"
        oid = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        self.messages.append(message)
        return oid

    def resolve(self, revision: str) -> str:
        oid = self.branches.get(revision, revision)
        if oid not in self.commits:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid


class LocalHub:
    """The server; use it in a ``with`` block and give its ``url`` to clients as ``HF_ENDPOINT``.

    ``tokens`` maps a token to its user and to ``write`` or ``read``; ``requests`` lists the
    requests of clients; ``fail`` makes the next matching requests fail.
    """

    def __init__(self, tokens: dict[str, tuple[str, str]]) -> None:
        self.tokens = tokens
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self._failures: list[tuple[str, int]] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> LocalHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, pattern: str, status: int, times: int = 1) -> None:
        """Answer the next ``times`` requests whose ``METHOD path`` matches with an error."""
        self._failures += [(pattern, status)] * times

    def check_failure(self, request: str) -> None:
        for failure in self._failures:
            if re.search(failure[0], request):
                self._failures.remove(failure)
                raise RefusedError(failure[1], "made to fail")


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the log is ``hub.requests``."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        method = "GET" if self.command == "HEAD" else self.command
        self.hub.requests.append(f"{self.command} {path}")
        try:
            self.hub.check_failure(f"{method} {path}")
            for allowed, pattern, answer in ROUTES:
                if allowed == method and (match := re.fullmatch(pattern, path)):
                    answer(self, *match.groups())
                    return
            self.hub.unknown.append(f"{method} {path}")
            raise RefusedError(404, f"no such address: {path}")
        except RefusedError as error:
            headers = {"X-Error-Message": str(error)}
            headers |= {"X-Error-Code": error.code} if error.code else {}
            self._send({"error": str(error)}, status=error.status, headers=headers)

    def _send(
        self, content: Any, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _user(self, *, write: bool = False) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not token and not write:
            return None
        if token not in self.hub.tokens:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        user, role = self.hub.tokens[token]
        if write and role != "write":
            raise RefusedError(403, "You don't have the required permissions")
        return user

    def _repository(self, name: str, *, write: bool = False) -> Repository:
        user = self._user(write=write)
        found = self.hub.repositories.get(name)
        owner = name.partition("/")[0]
        if found is None or (found.private and user != owner):
            raise RefusedError(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and user != owner:
            raise RefusedError(403, "You don't have the required permissions")
        return found

    def harnesses(self) -> None:
        """The client asks once a day for the names of programs that may be calling it."""
        self._send({"harnesses": {}})

    def create(self) -> None:
        asked = json.loads(self.body)
        user = self._user(write=True)
        owner = asked.get("organization") or user
        name = f"{owner}/{asked['name']}"
        if owner != user:
            raise RefusedError(403, f"You don't have the rights to create a model under {owner}")
        known = name in self.hub.repositories
        if not known:
            made = Repository(private=asked.get("visibility") == "private")
            made.commit("main", {".gitattributes": Blob(b"", large=False)}, "initial commit")
            self.hub.repositories[name] = made
        answer = {"url": f"{self.hub.url}/{name}"} | ({"error": "exists"} if known else {})
        self._send(answer, status=409 if known else 200)

    def check_write(self, name: str) -> None:
        self._repository(name, write=True)
        self._send({})

    def branch(self, name: str, branch: str) -> None:
        repository = self._repository(name, write=True)
        if branch in repository.branches:
            raise RefusedError(409, "Reference already exists")
        repository.branches[branch] = repository.branches["main"]
        self._send({})

    def validate(self) -> None:
        errors = find_card_errors(json.loads(self.body)["content"])
        answer = {"errors": [{"message": error} for error in errors], "warnings": []}
        self._send(answer, status=400 if errors else 200)

    def preupload(self, name: str, revision: str) -> None:
        repository = self._repository(name, write=True)
        there = repository.commits[repository.resolve(revision)]
        files = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": there[each["path"]].oid if each["path"] in there else None,
            }
            for each in json.loads(self.body)["files"]
        ]
        self._send({"files": files})

    def batch(self, name: str) -> None:
        self._repository(name, write=True)
        objects = []
        for each in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/large/{each['oid']}"}}
            known = each["oid"] in self.hub.stored
            objects.append(each if known else each | {"actions": upload})
        self._send({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise RefusedError(422, "the content does not match its digest")
        self.hub.stored[oid] = self.body
        self._send({})

    def commit(self, name: str, revision: str) -> None:
        repository = self._repository(name, write=True)
        files = dict(repository.commits[repository.resolve(revision)])
        message = ""
        for line in self.body.splitlines():
            item = json.loads(line)
            kind, value = item["key"], item["value"]
            if kind == "header":
                message = value["summary"]
            elif kind == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), large=False)
            elif kind == "lfsFile" and value["oid"] in self.hub.stored:
                files[value["path"]] = Blob(self.hub.stored[value["oid"]], large=True)
            elif kind == "deletedFile" and value["path"] in files:
                del files[value["path"]]
            else:
                raise RefusedError(422, f"cannot commit {kind} {value.get('path')}")
        oid = repository.commit(revision, files, message)
        self._send({"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid})

    def info(self, name: str, revision: str | None) -> None:
        repository = self._repository(name)
        oid = repository.resolve(revision or "main")
        siblings = [{"rfilename": path} for path in repository.commits[oid]]
        answer = {"id": name, "sha": oid, "private": repository.private, "siblings": siblings}
        self._send(answer | {"tags": [], "downloads": 0, "likes": 0})

    def tree(self, name: str, revision: str, folder: str | None) -> None:
        repository = self._repository(name)
        if folder:
            raise RefusedError(404, f"{folder} does not exist", "EntryNotFound")
        entries = []
        for path, blob in repository.commits[repository.resolve(revision)].items():
            entry = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.oid}
            large = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": 130}
            entries.append(entry | ({"lfs": large} if blob.large else {}))
        self._send(entries)

    def resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._repository(name)
        oid = repository.resolve(revision)
        blob = repository.commits[oid].get(path)
        if blob is None:
            raise RefusedError(404, f"{path} does not exist", "EntryNotFound")
        headers = {"ETag": f'"{blob.oid}"', "X-Repo-Commit": oid}
        if blob.large:
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(blob.content))}
        self._send(blob.content, headers=headers)


def find_card_errors(content: str) -> list[str]:
    """Return the errors in the metadata of a model card, according to the Hub's specification."""
    match = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", content, flags=re.DOTALL)
    try:
        values = yaml.safe_load(match.group(1)) if match else {}
    except yaml.YAMLError as error:
        return [f"not YAML: {error}"]
    ids = [values["base_model"]] if "base_model" in values else []
    ids += values.get("datasets", [])
    results = [result for model in values.get("model-index", []) for result in model["results"]]
    errors = []
    for result in results:
        ids.append(result["dataset"].get("type", ""))
        if not result["task"].get("type") or not result["dataset"].get("name"):
            errors.append(f'"model-index": no task type or no name of a data set: {result}')
        if any({"type", "value"} - set(metric) for metric in result["metrics"]):
            errors.append(f'"model-index": a metric without type or value: {result}')
    return errors + [f"{name!r} is not valid" for name in ids if not re.fullmatch(ID, name)]


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/agent-harnesses", _Handler.harnesses),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", f"/api/models/{_NAME}/auth-check/write", _Handler.check_write),
    ("POST", f"/api/models/{_NAME}/branch/(.+)", _Handler.branch),
    ("POST", f"/api/models/{_NAME}/preupload/(.+)", _Handler.preupload),
    ("POST", f"/{_NAME}\\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/large/([0-9a-f]{64})", _Handler.upload),
    ("POST", f"/api/models/{_NAME}/commit/(.+)", _Handler.commit),
    ("GET", f"/api/models/{_NAME}(?:/revision/(.+))?", _Handler.info),
    ("GET", f"/api/models/{_NAME}/tree/([^/]+)(?:/(.+))?", _Handler.tree),
    ("GET", f"/{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
]

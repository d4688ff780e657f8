"""``zlpr serve`` as a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

BLOCK = """
import sys
from importlib.abc import MetaPathFinder

BLOCKED = {names!r}

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)

sys.meta_path.insert(0, Block())
from zlpr_hf.cli.main import main
sys.exit(main())
"""


class ServerProcess:
    """A server on a free port; ``log`` has its lines. Packages in ``without`` cannot be imported.

    With several workers only the parent is kept from importing them.
    """

    def __init__(self, folder: Path, model: Path, *options: str, without: tuple[str, ...] = ()):
        self.log = folder / "server.log"
        code = BLOCK.format(names=set(without))
        program = ["-c", code] if without else ["-m", "zlpr_hf.cli"]
        words = [sys.executable, *program, "serve", str(model), "--port=0", "--threads=1", *options]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(words, stdout=stream, stderr=stream)

    def __enter__(self) -> ServerProcess:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            found = re.search(r"http://\S+:(\d+)/docs", self.log.read_text())
            if found:
                self.url = f"http://127.0.0.1:{found[1]}"
                try:
                    assert self.get("/health") == (200, {"status": "ok"})
                except urllib.error.URLError:
                    pass
                else:
                    return self
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        self.process.wait(60)

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and content of a page."""
        return _ask(self.url + path)

    def predict(self, inputs: Any, **parameters: Any) -> tuple[int, Any]:
        """Return status and content of the answer to a request for labels."""
        body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
        return _ask(self.url + "/predict", body)

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line[0] == "{"]


def _ask(url: str, body: bytes | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())

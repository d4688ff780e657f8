"""``zlpr demo``: a page to try a model."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from zlpr_hf import __version__
from zlpr_hf.cli.parser import CommandParser, add_shared, load_classifier
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import is_free, new_folder

APP = '''"""A page to try a model, served by zlpr demo."""

import os
import sys

MODEL = os.environ.get("MODEL", {name!r})
COMMAND = [sys.executable, "-m", "zlpr_hf.cli", "demo", MODEL, "--host=0.0.0.0", "--port=7860"]

os.execv(sys.executable, COMMAND)
'''


def run(argv: list[str], program: Sequence[str]) -> int:
    """Serve the page until it is interrupted, or write it as a Space."""
    parser = CommandParser(
        "zlpr demo",
        description="Serve a page to try a model. Texts stay on this machine.",
        example="zlpr demo out/quickstart",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier, or an exported folder")
    add_shared(parser, "backend", "revision", "trust_remote_code")
    parser.add_argument("--port", type=int, default=7860, help="0 for any free port")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 admits other machines")
    parser.add_argument(
        "--save_space",
        type=Path,
        metavar="FOLDER",
        help="write the page as a Space for the Hub instead of serving it",
    )
    options = parser.parse_args(argv)
    check_gradio()
    if options.save_space and options.revision:
        raise InputError("--revision: a Space reads the main branch; leave out --save_space")
    port = 0 if options.save_space else _find_port(options.host, options.port)
    classifier = load_classifier(options)
    from zlpr_hf.inference.demo_page import LAUNCH, build_demo, read_examples

    # Before gradio is imported, and regardless of the user's environment.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if options.save_space:
        files = save_space(options.model, options.save_space)
        print(f"written to {options.save_space}: {', '.join(files)}")
        for title, line in _next_commands(options.model, options.save_space, program):
            print(f"{title}:\n  {line}")
        return 0
    title = Path(options.model).resolve().name
    examples = read_examples(options.model, revision=options.revision)
    page = build_demo(classifier, title=title, examples=examples)
    _, url, _ = page.launch(
        server_name=options.host, server_port=port, prevent_thread_lock=True, **LAUNCH
    )
    print(f"{options.model}: {url} (Ctrl+C ends it)", flush=True)
    page.block_thread()
    return 0


def check_gradio() -> None:
    """Refuse to start without gradio, before anything slow is imported."""
    if find_spec("gradio") is None:
        raise InputError('zlpr demo requires gradio: pip install "zlpr_hf[demo]"')


def _find_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0, before the model is loaded."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: expected 0 to 65535")
    try:
        with socket.create_server((host, port)) as server:
            found: int = server.getsockname()[1]
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror}") from error
    return found


def save_space(name: str, folder: Path) -> list[str]:
    """Write the page as a Space for the Hub, completely or not at all; return the file names."""
    from huggingface_hub import SpaceCardData

    check_gradio()
    if not is_free(folder):
        raise InputError(f"--save_space {folder}: expected a new or empty folder")
    identity = _hub_id(name)
    card = SpaceCardData(
        title=identity.rpartition("/")[2],
        sdk="gradio",
        sdk_version=version("gradio"),
        python_version="3.12",
        app_file="app.py",
        models=[identity] if identity == name else None,
    )
    files = {
        "app.py": APP.format(name=identity),
        "requirements.txt": f"zlpr_hf[demo]=={__version__}\ntorch\n",
        "README.md": f"---\n{card.to_yaml()}\n---\n\n"
        f"A page to try `{identity}`. For another model, set the variable `MODEL` of this Space.\n",
    }
    try:
        with new_folder(folder) as part:
            for file, content in files.items():
                (part / file).write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--save_space {folder}: {error.strerror}") from error
    return list(files)


def _next_commands(model: str, folder: Path, program: Sequence[str]) -> list[tuple[str, str]]:
    """Return titles and commands that turn the folder into a Space."""
    upload = ["hf", "upload", "YOUR_NAME/YOUR_PAGE", str(folder), ".", "--type", "space"]
    found = [("upload the page", shlex.join(upload))]
    if Path(model).is_dir():
        push = [*program[:-1], "push", model, _hub_id(model)]
        found.insert(0, ("upload the model, then put its name into app.py", shlex.join(push)))
    return found


def _hub_id(name: str) -> str:
    """Return the Hub id for ``app.py``; the owner of a local folder's model is a placeholder."""
    from zlpr_hf.models.paths import resolve_model_path

    local = Path(resolve_model_path(name))
    return f"YOUR_NAME/{local.resolve().name}" if local.is_dir() else name

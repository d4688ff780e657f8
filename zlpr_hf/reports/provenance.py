"""Provenance: machine, code, data and weights of a run."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = (
    "zlpr_hf", "torch", "transformers", "datasets", "accelerate", "evaluate", "scikit-learn",
)  # fmt: skip
PACKAGE_ROOT = Path(__file__).parents[1]
UNCOMMITTED_SUFFIX = "+changes"


def find_versions(*optional: str) -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers.

    Those of ``optional`` packages are left out where they are not installed.
    """
    found = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    for name in optional:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass(frozen=True)
class Provenance:
    """The conditions and the result of a run, besides its configuration and versions.

    ``system`` includes the C library, because exponentials depend on it; sums depend on the
    processor's instruction set and the number of threads. ``revision`` is the Git commit of the
    package, with ``+changes`` if files differ from it. ``data`` holds a fingerprint of the rows per
    split, ``weights`` a SHA-256 per file.
    """

    system: str
    processor: str
    device: str
    threads: int
    revision: str | None
    data: dict[str, str]
    weights: dict[str, str]

    @classmethod
    def find(cls, device: torch.device, data: Mapping[str, str], folder: Path) -> Provenance:
        """Describe this process, and hash the weights that were saved in a folder."""
        gpu = device.type == "cuda"
        return cls(
            system=" ".join([platform.system(), platform.machine(), *platform.libc_ver()]).strip(),
            processor=f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
            device=torch.cuda.get_device_name(device) if gpu else device.type,
            threads=torch.get_num_threads(),
            revision=find_revision(PACKAGE_ROOT),
            data=dict(data),
            weights=hash_weights(folder),
        )


def hash_weights(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of weights, by file name."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def find_revision(source: Path) -> str | None:
    """Return the Git commit of a folder, with ``+changes`` if files of the folder differ from it.

    None without git, and if the folder is not tracked: an installed package may lie inside of
    another repository.
    """
    tracked = _git(source, "ls-files", "--error-unmatch", "__init__.py")
    commit = None if tracked is None else _git(source, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + (UNCOMMITTED_SUFFIX if _git(source, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """Return the name of the processor, or at least its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

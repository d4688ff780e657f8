"""Provenance: what the numbers of a run depend on besides its configuration."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = (
    "zlpr_hf",
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "evaluate",
    "scikit-learn",
)
SOURCE = Path(__file__).parents[1]
UNCOMMITTED_SUFFIX = "+changes"


def find_versions() -> dict[str, str]:
    """Python and the packages that decide the numbers, with their versions."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


@dataclass(frozen=True)
class Provenance:
    """Where a run ran, on what, and what came out; its versions and configuration are kept apart.

    Args:
        system: Operating system, kind of machine, and the C library, of which exponentials are.
        processor: Its name and the instructions that torch uses; sums depend on both.
        device: What trained: ``cpu``, or the name of the accelerator.
        threads: Threads of torch; sums depend on their number.
        revision: Git revision of the package's source, with ``+changes`` where there were
            uncommitted ones; None outside of a checkout.
        data: Split to the fingerprint of its rows; see ``zlpr_hf.data.fingerprint``.
        weights: File of weights to its SHA-256.
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
        """Look at this process, the data and the saved model.

        Args:
            device: What trained.
            data: Split to the fingerprint of its rows.
            folder: Where the weights were saved.
        """
        gpu = device.type == "cuda"
        return cls(
            system=" ".join([platform.system(), platform.machine(), *platform.libc_ver()]).strip(),
            processor=f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
            device=torch.cuda.get_device_name(device) if gpu else device.type,
            threads=torch.get_num_threads(),
            revision=find_revision(SOURCE),
            data=dict(data),
            weights=hash_weights(folder),
        )


def hash_weights(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of weights.

    Args:
        folder: Of a saved model.

    Returns:
        File name to a hexadecimal number.
    """
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def find_revision(source: Path) -> str | None:
    """Git revision of a folder of sources.

    Args:
        source: The folder.

    Returns:
        The commit, followed by ``+changes`` where files of the folder differ from it; None where
        the folder is not under version control (an installed package may lie in somebody's
        repository), or there is no git.
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
    """Name of the processor where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

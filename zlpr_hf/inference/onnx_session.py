"""The files of an exported model and its session in ONNX Runtime; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zlpr_hf.choices import Backend
from zlpr_hf.errors import InputError

ONNX_FILE = "model.onnx"
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
"""Files of a model of torch; with one of them, ``auto`` leaves an exported model aside."""


def uses_onnx(path: str | Path, backend: Backend) -> bool:
    """Whether a model is run by ONNX Runtime: always, never, or if its folder is an export only."""
    folder = Path(path)
    if backend != "auto":
        return backend == "onnxruntime"
    exported = (folder / ONNX_FILE).is_file()
    return exported and not any((folder / name).is_file() for name in WEIGHT_FILES)


def open_session(folder: str | Path, *, threads: int) -> Any:
    """Return the session of a folder of ``zlpr export``.

    Raises:
        InputError: If ONNX Runtime is not installed or the folder holds no exported model.
    """
    path = Path(folder) / ONNX_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no {ONNX_FILE}; create it with: zlpr export {folder}")
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError('backend onnxruntime requires: pip install "zlpr_hf[onnx]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only; they are raised as well
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a model for ONNX Runtime: {reason}") from error

"""OnnxModel: an exported classifier that ONNX Runtime runs, called like a model of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from zlpr_hf.errors import InputError

ONNX_FILE = "model.onnx"


class OnnxModel:
    """A session of ONNX Runtime with the configuration of the model it was exported from.

    Args:
        session: An ``onnxruntime.InferenceSession`` whose first output are the logits.
        config: The model's configuration.
    """

    def __init__(self, session: Any, config: PretrainedConfig) -> None:
        self.session = session
        self.config = config
        self.device = torch.device("cpu")
        self._inputs = {each.name for each in session.get_inputs()}

    @classmethod
    def load(cls, folder: str) -> OnnxModel:
        """Load an exported folder.

        Args:
            folder: As ``zlpr export`` writes it.

        Returns:
            The model, on as many threads as torch uses.

        Raises:
            InputError: If ONNX Runtime is not installed or the folder holds no exported model.
        """
        path = Path(folder) / ONNX_FILE
        if not path.is_file():
            raise InputError(f"{folder}: no {ONNX_FILE} in it; make one with zlpr export {folder}")
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                "backend onnxruntime: not installed; pip install 'zlpr_hf[onnx]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no parent of their own
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: not a model for ONNX Runtime: {reason}") from error
        return cls(session, AutoConfig.from_pretrained(folder))

    def __call__(self, **inputs: Tensor) -> SequenceClassifierOutput:
        """Logits of a batch.

        Args:
            **inputs: The tokenizer's outputs, padded.

        Returns:
            An output with ``logits`` ``(B, L)``.
        """
        arrays = {name: value.numpy() for name, value in inputs.items() if name in self._inputs}
        logits = torch.from_numpy(self.session.run(None, arrays)[0])
        return SequenceClassifierOutput(logits=logits)

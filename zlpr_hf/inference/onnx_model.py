"""OnnxModel: a classifier in ONNX Runtime, called like a model of torch; and the export."""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from zlpr_hf.choices import Quantization
from zlpr_hf.errors import InputError, find_out_of_memory
from zlpr_hf.inference.onnx_session import ONNX_FILE, open_session
from zlpr_hf.models.autocast import without_autocast
from zlpr_hf.models.first_token import first_token_only

BLOCK = 32
"""Weights per int8 scale. Larger blocks save little and change more decisions."""
MAX_FILE_BYTES = 2_000_000_000
"""ONNX files are limited to 2 GiB; larger weights go into a file beside it."""
RUN_MODEL = "run the model itself, with zlpr predict or zlpr serve"

_export_lock = Lock()


class OnnxModel:
    """A session of ONNX Runtime, which returns logits first, and the model's configuration."""

    def __init__(self, session: Any, config: PretrainedConfig, folder: Path) -> None:
        self.session = session
        self.config = config
        self.folder = folder
        self.device = torch.device("cpu")
        self._inputs = {each.name for each in session.get_inputs()}

    @classmethod
    def load(cls, folder: str) -> OnnxModel:
        """Load a folder of ``zlpr export``, with as many threads as torch uses.

        Raises:
            InputError: If ONNX Runtime is not installed or the folder holds no exported model.
        """
        session = open_session(folder, threads=torch.get_num_threads())
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return cls(session, config, Path(folder))

    def __call__(self, **inputs: Tensor) -> SequenceClassifierOutput:
        """Return the logits ``(B, L)`` of padded outputs of the tokenizer."""
        arrays = {name: value.numpy() for name, value in inputs.items() if name in self._inputs}
        logits = torch.from_numpy(self.session.run(None, arrays)[0])
        return SequenceClassifierOutput(logits=logits)

    def fingerprint(self) -> str:
        """Return a hexadecimal digest of the files that hold the weights."""
        content = hashlib.sha256()
        for path in sorted(self.folder.glob(f"{ONNX_FILE}*")):
            with path.open("rb") as stream:
                content.update(hashlib.file_digest(stream, "sha256").digest())
        return content.hexdigest()


def write_onnx(
    model: PreTrainedModel, sample: Mapping[str, Tensor], path: Path, *, quantization: Quantization
) -> None:
    """Write a classifier as an ONNX file that takes batches of any size and length.

    The inputs of the file are those of ``sample``, a small batch, in the same order. ``int8``
    stores the encoder's matrices and word embeddings in eight bits, and the head in float32.

    Raises:
        InputError: If torch cannot export this kind of model.
    """
    import onnx
    from onnx_ir import Shape
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from onnx_ir.serde import serialize_model
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    changed: Any = copy.deepcopy(model)
    changed.to("cpu")
    exporter: Any = OnnxExporter
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}  # a fixed size is an error
    try:
        with (
            _quietly(),
            torch.no_grad(),
            without_autocast(changed),
            first_token_only(changed),
        ):
            if quantization == "int8":
                changed.set_input_embeddings(_ByteEmbedding(changed.get_input_embeddings()))
            program, _ = exporter().export_program(
                _Logits(changed).eval(),
                dict(sample),
                OnnxConfig(dynamic_shapes=dict.fromkeys(sample, axes)),
            )
            for value in program.graph.inputs:
                value.shape = Shape(("batch", "sequence"))
            # The exporter stores the source of each node, with paths of this machine.
            ClearMetadataAndDocStringPass()(program)
            proto = serialize_model(program)
            if quantization == "int8":
                proto = _quantize_matrices(proto)
    except Exception as error:  # those of the exporters share no base class
        if find_out_of_memory(error):
            raise
        raise InputError(
            f"torch cannot export models of type {model.config.model_type}: {_reason(error)}; "
            f"{RUN_MODEL}"
        ) from error
    size = sum(len(each.raw_data) for each in proto.graph.initializer)
    onnx.save(
        proto, path, save_as_external_data=size > MAX_FILE_BYTES, location=f"{path.name}.data"
    )


def _reason(error: Exception) -> str:
    """Return the first line of an exporter's error, or of its cause."""
    text = str(error.__cause__ or error).strip() or type(error).__name__
    return text.splitlines()[0].partition(" : ")[0]  # the node in full follows


def _quantize_matrices(proto: Any) -> Any:
    """Store matrices in eight bits; their inputs are rounded row by row at run time.

    With one scale per tensor, as in ``quantize_dynamic``, large batches would be faster, but the
    logits of a text would depend on its batch, and one decision in a hundred would change.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(proto, bits=8, block_size=BLOCK, accuracy_level=4)
    quantizer.process()
    return quantizer.model.model


class _Logits(nn.Module):
    """A classifier that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        return {"logits": self.model(**inputs).logits}


class _ByteEmbedding(nn.Module):
    """Word embeddings in eight bits, with one scale per word: outliers would set a common one."""

    scale: Tensor
    rounded: Tensor

    def __init__(self, words: nn.Embedding) -> None:
        super().__init__()
        weight = words.weight.detach()
        scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("rounded", (weight / scale).round().to(torch.int8))

    def forward(self, ids: Tensor) -> Tensor:
        return embedding(ids, self.rounded).float() * embedding(ids, self.scale)


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporters' warnings and output; the exported model is checked instead.

    One export at a time: logging, warnings, stdout and stderr belong to the whole process.
    """
    output = io.StringIO()
    with (
        _export_lock,
        warnings.catch_warnings(),
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        root, before = logging.getLogger(), logging.root.manager.disable
        handlers, level = list(root.handlers), root.level
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)
            root.handlers[:] = handlers  # importing ONNX Runtime's quantizer adds a handler
            root.setLevel(level)

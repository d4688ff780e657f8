"""``zlpr export``: a trained model as a folder for ONNX Runtime."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from zlpr_hf.choices import Quantization
from zlpr_hf.cli.check_texts import read_check_texts
from zlpr_hf.cli.parser import CommandParser, add_shared, load_classifier
from zlpr_hf.distributed import announce_loading
from zlpr_hf.errors import InputError


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr export",
        description="Write a model for ONNX Runtime. The export is kept only if it decides as the "
        "model:\non the test split of the data that it was trained on, or on --check_file.",
        example="zlpr export out/quickstart --quantize int8",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier")
    parser.set_defaults(backend="torch")
    choices = get_args(Quantization)
    parser.add_argument(
        "--quantize", default="none", choices=choices, help="int8: under a third of the size"
    )
    parser.add_argument(
        "--output", type=Path, help="new folder (default: MODEL-onnx or MODEL-onnx-int8)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    add_shared(parser, "revision", "trust_remote_code")
    check = parser.add_argument_group("texts to check it on")
    check.add_argument(
        "--check_file", type=Path, help="CSV, TSV, JSON Lines, Parquet, or a text file"
    )
    add_shared(check, "column_names", "quoting", "text_column", "text_pair_column", "batch_size")
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:
    """Export a model and compare it with the original; write nothing if they disagree."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.check_file is not None and not options.check_file.is_file():
        raise InputError(f"{options.check_file}: no such file (--check_file)")
    announce_loading()
    from zlpr_hf.inference.onnx_session import ONNX_FILE
    from zlpr_hf.workflows.export import EXPORT_FILE, check_export, export_onnx

    model = Path(options.model).expanduser()
    source = model if model.is_dir() else None
    folder = options.output or _beside(source, options)
    check_export(folder, source=source, overwrite=options.overwrite)
    texts, _ = read_check_texts(
        options, options.check_file, parser.find_given(argv), option="--check_file"
    )
    export = export_onnx(
        load_classifier(options),
        texts,
        folder,
        source=options.model,
        quantization=options.quantize,
        batch_size=options.batch_size,
    )
    size = sum(path.stat().st_size for path in folder.glob(f"{ONNX_FILE}*"))
    print(export.render())
    print(f"written to {folder}: {ONNX_FILE} ({size / 1e6:.1f} MB), tokenizer, {EXPORT_FILE}")
    print("use it:")
    use = [*program[:-1], "predict", str(folder), "--input", "TEXTS.csv", "--output", "LABELS.csv"]
    print(f"  {shlex.join(use)}")
    print(f"  {shlex.join([*program[:-1], 'serve', str(folder)])}")
    return 0


def _beside(source: Path | None, options: Any) -> Path:
    if source is None:
        raise InputError(f"{options.model}: no such folder; for a model on the Hub, give --output")
    suffix = "-onnx" if options.quantize == "none" else f"-onnx-{options.quantize}"
    whole = source if source.name not in ("", "..") else source.resolve()
    return whole.with_name(whole.name + suffix)

"""``zlpr predict``: label the texts of a file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zlpr_hf.choices import Backend, LongTexts, Precision
from zlpr_hf.cli.parser import CommandParser, add_loading_options
from zlpr_hf.data.row_reader import RowReader, format_of
from zlpr_hf.distributed import Processes, announce_loading
from zlpr_hf.errors import InputError
from zlpr_hf.inference.parted_file import PartedFile
from zlpr_hf.inference.row_writer import RowWriter

if TYPE_CHECKING:
    from zlpr_hf.inference.classifier import Classifier
    from zlpr_hf.inference.label_file import Counts, Labelling


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr predict",
        description="Label the texts of a file: all its columns are kept, predicted_labels and\n"
        "predicted_scores are added. A run that was killed goes on where it was. Started with\n"
        "torchrun --nproc_per_node N -m zlpr_hf.cli predict ... N processes share the file.",
        example="zlpr predict out/quickstart --input texts.csv --output labels.csv",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier, or an exported folder")
    files = parser.add_argument_group("files")
    files.add_argument("--input", default="-", help="csv, tsv, jsonl, parquet or txt; - for stdin")
    files.add_argument("--output", default="-", help="likewise; - for stdout")
    files.add_argument("--input_format", help="csv, tsv, jsonl, parquet or lines (of - : lines)")
    files.add_argument("--output_format", help="likewise (of - : jsonl)")
    files.add_argument("--text_column", default="text", help="column of the text (text)")
    files.add_argument("--text_pair_column", help="column of a second text, for pairs")
    files.add_argument("--label_delimiter", default=";", help="between labels in a cell (;)")
    files.add_argument("--logits", action="store_true", help="add the logits of all labels")
    files.add_argument(
        "--spreadsheet_safe",
        action="store_true",
        help="csv, tsv: an apostrophe in front of cells that a spreadsheet would run",
    )
    files.add_argument("--strict", action="store_true", help="stop at a bad row, write nothing")
    files.add_argument("--overwrite", action="store_true", help="replace an output that is there")
    rule = parser.add_argument_group("labels")
    rule.add_argument("--threshold", type=float, default=0.5, help="smallest score (0.5: logit 0)")
    rule.add_argument("--top_k", type=int, help="at most so many labels")
    rule.add_argument("--min_labels", type=int, help="at least so many labels")
    reading = parser.add_argument_group("reading")
    reading.add_argument(
        "--long_texts",
        default="max",
        choices=get_args(LongTexts),
        help="windows of long texts: largest or mean logit, or cut (max)",
    )
    reading.add_argument("--batch_size", type=int, default=32, help="texts at a time (32)")
    reading.add_argument(
        "--backend", default="auto", choices=get_args(Backend), help="what runs the model (auto)"
    )
    reading.add_argument(
        "--precision",
        default="float32",
        choices=get_args(Precision),
        help="bfloat16: two to three times as fast where the hardware has it, the same decisions "
        "at the boundary, logits within some hundredths, by which near ones may change places in "
        "--top_k and --min_labels (float32)",
    )
    add_loading_options(reading)
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:  # noqa: ARG001
    """Label a file.

    Args:
        argv: As ``zlpr predict --help`` says.
        program: How the user called the command; not needed here.

    Returns:
        0, or 1 if no row could be labelled.

    Raises:
        InputError: If something is wrong with the input; nothing is written then.
    """
    processes = Processes.join()
    with processes.fail_together():
        options = _parser().parse_args(argv)
        task = _prepare(options, processes)
    if options.output == "-":
        from zlpr_hf.inference.label_file import label_stream

        label_stream(task.classifier, task.reader, task.writer, task.how)
        return 0
    started = time.monotonic()
    output, counts = _label(options, task, processes)
    if processes.is_main:
        _log(counts, output, time.monotonic() - started)
    return 1 if 0 < counts.rows == counts.bad else 0


@dataclass(frozen=True)
class _Task:
    """What is to be labelled, by what, and how."""

    classifier: Classifier
    reader: RowReader
    writer: RowWriter
    how: Labelling


def _prepare(options: Any, processes: Processes) -> _Task:
    """Everything that can be wrong before a row is labelled is found here."""
    if processes.count > 1 and "-" in (options.input, options.output):
        raise InputError(
            f"{processes.count} processes label a file together: give --input FILE and "
            "--output FILE, or start a single one for standard input and output"
        )
    input_format = format_of(
        options.input, options.input_format, option="--input_format", otherwise="lines"
    )
    output_format = format_of(
        options.output, options.output_format, option="--output_format", otherwise="jsonl"
    )
    if options.output == "-" and output_format == "parquet":
        raise InputError("parquet cannot be written to standard output")
    reader = RowReader(
        options.input,
        input_format,
        text_column=options.text_column,
        text_pair_column=options.text_pair_column,
    )
    if options.output != "-":
        _check_output(options)
    # What loads torch and transformers comes after what can be wrong without them.
    announce_loading()
    from zlpr_hf.inference.classifier import Classifier
    from zlpr_hf.inference.label_file import Labelling

    how = Labelling(
        threshold=options.threshold,
        top_k=options.top_k,
        min_labels=options.min_labels,
        long_texts=options.long_texts,
        precision=options.precision,
        batch_size=options.batch_size,
        strict=options.strict,
    )
    classifier = Classifier.load(
        options.model,
        backend=options.backend,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
    )
    # Once for nothing, so that options that are out of range are found before anything is written.
    how.check(classifier)
    writer = RowWriter(
        output_format,
        reader.schema,
        classifier.label_space.names,
        logits=options.logits,
        delimiter=options.label_delimiter,
        spreadsheet_safe=options.spreadsheet_safe,
    )
    return _Task(classifier, reader, writer, how)


def _label(options: Any, task: _Task, processes: Processes) -> tuple[PartedFile, Counts]:
    """Label the file, together with the other processes if there are any."""
    from zlpr_hf.inference.label_file import label_file

    path, plan = Path(options.output), _plan(options, task.classifier, task.how)
    done: set[int] = set()
    with processes.fail_together():
        if processes.is_main:
            output = PartedFile(path, plan, overwrite=options.overwrite)
            done = output.open()
    done = processes.gather(done)[0]
    if not processes.is_main:  # the folder and the plan are there now
        output = PartedFile(path, plan, overwrite=options.overwrite)
    try:
        with processes.fail_together():
            counts = label_file(
                task.classifier, task.reader, task.writer, output, task.how, done, processes
            )
    except InputError:  # a bad row with --strict, or an input that breaks off
        output.discard()
        raise
    if processes.is_main:
        output.finish(task.writer.join)
    return output, counts


def _check_output(options: Any) -> None:
    """There must be a folder to write to, and neither the output nor the bad rows be the input."""
    if not Path(options.output).parent.is_dir():
        raise InputError(f"{Path(options.output).parent}: no such folder (--output)")
    if options.input == "-":
        return
    for name in (options.output, f"{options.output}.bad.jsonl"):
        if Path(name).resolve() == Path(options.input).resolve():
            raise InputError(f"{options.input}: writing {options.output} would replace the input")


def _plan(options: Any, classifier: Classifier, how: Labelling) -> dict[str, Any]:
    """What the output depends on: parts are gone on with only where all of it is the same."""
    content: Any = time.time_ns()  # standard input cannot be read again
    if options.input != "-":
        found = os.stat(options.input)
        content = [str(Path(options.input).resolve()), found.st_size, found.st_mtime_ns]
    names = ("output_format", "text_column", "text_pair_column", "label_delimiter")
    plan = {
        "model": classifier.fingerprint(),
        "input": content,
        "logits": options.logits,
        "spreadsheet_safe": options.spreadsheet_safe,
        **{name: getattr(options, name) for name in names},
        **asdict(how),
    }
    del plan["batch_size"]  # so that a run that ran out of memory can go on with smaller ones
    return plan


def _log(counts: Counts, output: PartedFile, seconds: float) -> None:
    rate = (counts.rows - counts.earlier) / max(seconds, 1e-9)
    earlier = f" ({counts.earlier:,} by an earlier run)" if counts.earlier else ""
    print(f"{counts.rows:,} rows{earlier}, {rate:,.0f} a second: {output.path}")
    if counts.bad:
        print(f"{counts.bad:,} of them left out, with the reason: {output.bad_path}")

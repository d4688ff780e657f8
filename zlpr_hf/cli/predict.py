"""``zlpr predict``: label the texts of a file."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zlpr_hf.choices import Precision
from zlpr_hf.cli.data_names import split_texts
from zlpr_hf.cli.parser import (
    CommandParser,
    add_shared,
    count_type,
    file_options,
    load_classifier,
    share_type,
)
from zlpr_hf.cli.remembered import read_remembered, use_remembered
from zlpr_hf.cli.text_column import TEXT_OPTIONS, find_text_column
from zlpr_hf.data.formats import FORMATS, TypedTexts
from zlpr_hf.data.row_file import origin_of
from zlpr_hf.data.row_reader import RowReader, format_of
from zlpr_hf.data.text_streams import STDIN
from zlpr_hf.distributed import Processes
from zlpr_hf.errors import InputError
from zlpr_hf.inference.parted_file import PartedFile
from zlpr_hf.inference.row_writer import RowWriter, TerminalRows

if TYPE_CHECKING:
    from zlpr_hf.inference.classifier import Classifier
    from zlpr_hf.inference.label_file import Counts, LabellingOptions

logger = logging.getLogger(__name__)


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr predict",
        description="Label texts, or those of a file. The output has all columns of the input,\n"
        "predicted_labels and predicted_scores. Columns that are not given are those of the\n"
        "model's training, if the file has them. To resume a killed run, start it again. With\n"
        "torchrun --nproc_per_node N -m zlpr_hf.cli predict ... N processes share the file.",
        example="zlpr predict out/quickstart texts.csv --output labels.csv",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier, or an exported folder")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to label, or one file")
    files = parser.add_argument_group("files")
    add = files.add_argument
    known = "csv, tsv, jsonl, parquet or txt"
    add("--input", default=STDIN, help=f"{known} file (default: -, standard input)")
    add("-o", "--output", default=STDIN, help=f"{known} file (default: -, standard output)")
    add("--input_format", choices=FORMATS, help="format of the input (by suffix; lines for -)")
    add("--output_format", choices=FORMATS, help="format of the output (by suffix; jsonl for -)")
    add_shared(files, "column_names", "quoting", "text_column", "text_pair_column")
    add("--label_delimiter", default=";", help="separator of labels in a cell")
    add("--logits", action="store_true", help="add the logits of all labels")
    add(
        "--spreadsheet_safe",
        action="store_true",
        help="csv, tsv: put an apostrophe before cells that a spreadsheet would run",
    )
    add("--strict", action="store_true", help="stop at the first bad row and write nothing")
    add("--overwrite", action="store_true", help="replace an existing output")
    add = parser.add_argument_group("labels").add_argument
    add(
        "--threshold",
        type=share_type,
        default=0.5,
        help="smallest score of a label (default: 0.5, which is logit 0)",
    )
    add("--top_k", type=count_type(1), help="at most this many labels per text")
    add("--min_labels", type=count_type(0), help="at least this many labels per text")
    reading = parser.add_argument_group("reading")
    add_shared(reading, "long_texts", "batch_size", "backend", "revision", "trust_remote_code")
    reading.add_argument(
        "--precision",
        default="float32",
        choices=get_args(Precision),
        help="bfloat16 is two to three times as fast on hardware that has it; decisions at the "
        "threshold stay the same, logits differ by some hundredths, so that --top_k and "
        "--min_labels may choose another of two close labels",
    )
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:  # noqa: ARG001
    """Label a file, as ``zlpr predict --help`` says; return 1 if no row could be labelled."""
    processes = Processes.join()
    with processes.fail_together():
        parser = _parser()
        options = parser.parse_args(argv)
        given = parser.find_given(argv)
        _name_input(options, given)
        task = _prepare(options, processes, given)
    if options.output == STDIN:
        from zlpr_hf.inference.label_file import label_stream

        label_stream(task.classifier, task.reader, task.writer, task.options)
        return 0
    started = time.monotonic()
    output, counts = _label(options, task, processes)
    if processes.is_main:
        _log(counts, output, time.monotonic() - started)
    return 1 if 0 < counts.rows == counts.bad else 0


@dataclass(frozen=True)
class _Task:
    """Model, input, format of the output, and how to label."""

    classifier: Classifier
    reader: RowReader
    writer: RowWriter
    options: LabellingOptions


def _name_input(options: Any, given: set[str]) -> None:
    """Take a file among the texts as the input."""
    options.texts, file = split_texts(options.texts)
    if "input" in given and (options.texts or file):
        raise InputError(f"--input {options.input}: expected no text or file beside it")
    if options.texts and "output" in given:
        raise InputError("--output: texts are labelled on standard output; for a file, name one")
    options.input = file or options.input


def _prepare(options: Any, processes: Processes, given: set[str]) -> _Task:
    """Check options, input and model before a row is labelled."""
    if processes.count > 1 and STDIN in (options.input, options.output):
        raise InputError(
            f"{processes.count} processes label a file together: give --input FILE and "
            "--output FILE, or start only one for standard input and output"
        )
    input_format = options.input_format or ("lines" if options.input == STDIN else None)
    columns = _find_columns(options, input_format)
    output_format = _check_output(options)
    remembered = read_remembered(options.model, options.revision)
    use_remembered(
        options,
        # Not the delimiter of labels, which is that of the output here.
        {name: remembered[name] for name in TEXT_OPTIONS if name in remembered},
        given=given,
        columns=columns,
        origin=origin_of(options.input),
    )
    is_pair = "text_pair_column" in remembered
    may_look = options.input != STDIN and not is_pair and given.isdisjoint(TEXT_OPTIONS)
    if columns is not None and may_look:
        find_text_column(options, options.input, columns, format=options.input_format)
    reader = RowReader(
        "the command line" if options.texts else options.input,
        input_format,
        option="--input_format",
        text_columns=[name for name in (options.text_column, options.text_pair_column) if name],
        files=file_options(options),
        opened=TypedTexts(options.texts, options.text_column) if options.texts else None,
    )
    classifier = load_classifier(options)
    from zlpr_hf.inference.label_file import LabellingOptions

    known = [each.name for each in fields(LabellingOptions)]
    labelling = LabellingOptions(**{name: getattr(options, name) for name in known})
    labelling.check(classifier)
    names = classifier.label_space.names
    if _is_for_a_reader(options):
        several = options.input != STDIN or len(options.texts) > 1
        text_column = options.text_column if several else None
        terminal = TerminalRows(reader.schema, names, text_column=text_column)
        return _Task(classifier, reader, terminal, labelling)
    writer = RowWriter(
        output_format,
        reader.schema,
        names,
        logits=options.logits,
        delimiter=options.label_delimiter,
        spreadsheet_safe=options.spreadsheet_safe,
    )
    return _Task(classifier, reader, writer, labelling)


def _is_for_a_reader(options: Any) -> bool:
    """Whether rows go to a terminal and no option sets their format."""
    plain = options.output == STDIN and options.output_format is None and not options.logits
    return plain and sys.stdout.isatty()


def _find_columns(options: Any, input_format: str | None) -> list[str] | None:
    """Return the columns of the input before its model is read; None if they are not known."""
    if options.texts:
        return ["text"]
    if options.input == STDIN:  # which cannot be read twice
        return ["text"] if input_format == "lines" else None
    reader = RowReader(
        options.input, input_format, option="--input_format", files=file_options(options)
    )
    return reader.find_columns()


def _label(options: Any, task: _Task, processes: Processes) -> tuple[PartedFile, Counts]:
    """Label the file, together with the other processes if there are any."""
    from zlpr_hf.inference.label_file import label_file

    path, plan = Path(options.output), _plan(options, task)
    done: set[int] = set()
    with processes.fail_together():
        if processes.is_main:
            output = PartedFile(path, plan, overwrite=options.overwrite)
            done = output.open()
    done = processes.gather(done)[0]
    if not processes.is_main:  # the main process has made the folder and the plan by now
        output = PartedFile(path, plan, overwrite=options.overwrite)
    try:
        with processes.fail_together():
            counts = label_file(
                task.classifier, task.reader, task.writer, output, task.options, done, processes
            )
    except InputError:  # a bad row with --strict, or a damaged input
        output.discard()
        raise
    if processes.is_main:
        output.finish(task.writer.join)
    return output, counts


def _check_output(options: Any) -> str:
    """Return the format of the output; refuse a missing folder, and the input as the output."""
    if options.output == STDIN:
        if options.output_format == "parquet":
            raise InputError("Parquet cannot be written to standard output; give --output FILE")
        return options.output_format or "jsonl"
    output_format: str = options.output_format or format_of(
        options.output, option="--output_format"
    )
    if not Path(options.output).parent.is_dir():
        raise InputError(f"{Path(options.output).parent}: no such folder (--output)")
    for name in (options.output, f"{options.output}.bad.jsonl"):
        if options.input != STDIN and Path(name).resolve() == Path(options.input).resolve():
            raise InputError(f"{options.input}: writing {options.output} would replace the input")
    return output_format


def _plan(options: Any, task: _Task) -> dict[str, Any]:
    """Return everything that the output depends on: a run resumes only if all of it is equal."""
    content: Any = time.time_ns()  # standard input cannot be read again
    if options.input != STDIN:
        found = os.stat(options.input)
        content = [str(Path(options.input).resolve()), found.st_size, found.st_mtime_ns]
    names = (
        "output_format", "column_names", "quoting", "text_column", "text_pair_column",
        "label_delimiter", "logits", "spreadsheet_safe",
    )  # fmt: skip
    labelling = asdict(task.options)
    del labelling["batch_size"]  # a run that ran out of memory can resume with smaller batches
    return {
        "model": task.classifier.fingerprint(),
        "input": content,
        **{name: getattr(options, name) for name in names},
        **labelling,
    }


def _log(counts: Counts, output: PartedFile, seconds: float) -> None:
    rate = (counts.rows - counts.earlier) / max(seconds, 1e-9)
    earlier = f" ({counts.earlier:,} by an earlier run)" if counts.earlier else ""
    print(f"{counts.rows:,} rows{earlier}, {rate:,.0f} per second: {output.path}")
    if counts.bad:
        print(f"{counts.bad:,} of them left out, with the reason: {output.bad_path}")

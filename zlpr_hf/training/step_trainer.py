"""StepTrainer: optimizer steps that do not depend on processes, and checkpoints whole or gone."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset
from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from zlpr_hf.data.split_rows import ROW_WEIGHT
from zlpr_hf.data.streaming.batches import StreamedRows
from zlpr_hf.models.head import encoder_parameters, without_adapters
from zlpr_hf.training.best_model import EarlyStopping, is_as_good
from zlpr_hf.training.checkpoints import UNFINISHED_FILE, remove_old_checkpoints
from zlpr_hf.training.dataloaders import (
    EpochLengthGroupedSampler,
    SharedBatchSampler,
    build_streamed_loader,
    share_batches,
)
from zlpr_hf.training.nonfinite import (
    NonFiniteStep,
    diagnose_nonfinite_step,
    find_rows,
    merge_nonfinite_steps,
)
from zlpr_hf.training.weight_averaging import WeightAverage

PADDING_BATCH = "spare"
"""Marks a batch that a process computes only because the others have one."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")

ROW_INPUTS = frozenset(
    ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds", "labels",
     "teacher_logits", ROW_WEIGHT)
)  # fmt: skip
"""Tensors of a batch with one entry per row, for any tokenizer and dataset."""


def columns_of(dataset: Any) -> Collection[str]:
    """Return the names of the values in each row, taken from the first row if need be."""
    names = getattr(dataset, "column_names", None)
    if names is None and isinstance(dataset, (Sequence, Dataset)):
        has_rows = not isinstance(dataset, IterableDataset) and len(dataset) > 0  # type: ignore[arg-type]
        names = dataset[0] if has_rows and isinstance(dataset[0], Mapping) else ()
    return list(names or ())


class StepTrainer(Trainer):
    """Trainer whose step is the mean over its rows, over batches and processes, or is not taken.

    Several processes share the batches that a single one would take; rows of similar length are
    grouped by seed and epoch alone. A step that is not finite ends training with its rows and the
    remedy. A run that is killed leaves checkpoints that are whole or recognised as unfinished. A
    subclass returns ``_share_of_step`` of its loss from ``compute_loss``.
    """

    loss_is_scaled_for_ga = True
    """The loss is divided by the examples of the whole step; a subclass with a loss that is a mean
    over the batch sets this to False, as for ``transformers.Trainer``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False  # else transformers counts label cells as well
        self.row_inputs = ROW_INPUTS.union(
            getattr(self.processing_class, "model_input_names", ()),
            columns_of(self.train_dataset),
        )
        self._keep_embeddings_whole()
        self._batches: list[dict[str, Any]] = []
        self._shared_batches: SharedBatchSampler | None = None
        self.weight_average: WeightAverage | None = None
        if getattr(self.args, "weight_averaging", "none") == "ema":
            self.weight_average = self._average_weights()
        patience = getattr(self.args, "early_stopping_patience", None)
        if patience:
            self.add_callback(EarlyStopping(patience, self._tolerant_rows()))

    def _keep_embeddings_whole(self) -> None:
        """Leave layers around the input embedding out of the units of FSDP2.

        Accelerate makes the embedding a unit of its own; inside another one, as ``BertEmbeddings``
        by default is, it would be split twice, which torch refuses.
        """
        plugin: Any = getattr(self.accelerator.state, "fsdp_plugin", None)
        if plugin is None or plugin.fsdp_version != 2 or plugin.transformer_cls_names_to_wrap:
            return
        model: Any = self.model
        embedding = getattr(model, "get_input_embeddings", lambda: None)()
        around = {type(each).__name__ for each in model.modules() if embedding in each.modules()}
        names = getattr(model, "_no_split_modules", None) or ()
        plugin.transformer_cls_names_to_wrap = [name for name in names if name not in around]

    def _average_weights(self) -> WeightAverage:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                "weight_averaging: expected none with FSDP or DeepSpeed, which split the weights"
            )
        average = WeightAverage()
        self.add_callback(average)
        return average

    def _tolerant_rows(self) -> int:
        """Return the evaluated rows if later checkpoints about as good as the best are kept."""
        tolerant = getattr(self.args, "best_model_rule", "best") == "one_standard_error"
        rows: Any = self.eval_dataset
        is_share = not (self.args.metric_for_best_model or "loss").endswith("loss")
        one_set = isinstance(rows, Sized) and not isinstance(rows, Mapping)
        return len(rows) if tolerant and is_share and one_set else 0

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        # The stock trainer keeps a later checkpoint only if its metric is higher.
        best, rows = self.state.best_metric, self._tolerant_rows()
        name = f"eval_{(self.args.metric_for_best_model or '').removeprefix('eval_')}"
        greater = bool(self.args.greater_is_better)
        if (
            best is not None
            and rows
            and name in metrics
            and is_as_good(metrics[name], best, rows, greater_is_better=greater)
        ):
            self.state.best_metric = None
        found: bool = super()._determine_best_metric(metrics, trial)
        now = self.state.best_metric
        if best is not None and now is not None and (best > now) == greater:
            self.state.best_metric = best
        return found

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as ``Trainer.train`` does, with averaged weights if the arguments ask for them."""
        if self.weight_average is not None:
            resumed = isinstance(resume_from_checkpoint, (str, PathLike))
            self.weight_average.checkpoint = Path(resume_from_checkpoint) if resumed else None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Give the model its averaged weights for a while, if training averages them."""
        return nullcontext() if self.weight_average is None else self.weight_average.in_use()

    def _share_of_step(
        self, total: Tensor, rows: int, num_items_in_batch: Tensor | int | None
    ) -> Any:
        # One, or NaN where the loss is not finite: then neither are its gradients, on any process.
        total = total * (1 + 0 * total.detach())
        if num_items_in_batch is None:
            return total / rows
        # Gradients are averaged over processes, the count is over all of them.
        return total / num_items_in_batch * self.accelerator.num_processes

    def get_train_dataloader(self) -> Any:
        """Return the batches of training; several processes share those that one would take."""
        self._shared_batches = None
        rows: Any = self.train_dataset
        if isinstance(rows, StreamedRows):
            size = self._train_batch_size
            return build_streamed_loader(rows, self.data_collator, size, self.args)
        loader = super().get_train_dataloader()
        self._shared_batches = share_batches(loader)
        return loader

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> Any:
        """Return the batches of one optimizer step, and their examples over all processes.

        A batch without a row of this process is marked. Batches are kept until the next step, for
        the diagnosis of one that is not finite.
        """
        marked = map(self._marked, epoch_iterator)
        self._batches, _ = super().get_batch_samples(marked, num_batches, device)
        if not self._batches or "labels" not in self._batches[0]:
            return self._batches, None
        rows = sum(len(batch["labels"]) for batch in self._batches if PADDING_BATCH not in batch)
        count = self.accelerator.gather(torch.tensor(rows, device=device))
        return self._batches, count.sum()

    def _marked(self, batch: Any) -> Any:
        shared = self._shared_batches
        last = self.accelerator.gradient_state.end_of_dataloader
        if last and shared is not None and shared.ends_without_a_row:
            batch[PADDING_BATCH] = True
        return batch

    def _finalize_training(self, *args: Any) -> Any:
        # The losses since the last log are those of this process alone.
        self._tr_loss = self.accelerator.reduce(self._tr_loss, "mean")
        return super()._finalize_training(*args)  # type: ignore[no-untyped-call]

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        # The only value between backward pass and optimizer step that shows NaN for free.
        norm: Any = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        if norm is None or math.isfinite(norm):
            return norm
        scaler = self.accelerator.scaler
        if scaler is not None and scaler.get_scale() >= 1:
            return norm  # float16 overflowed: the step is skipped, and the next scaled less
        raise FloatingPointError(
            merge_nonfinite_steps(gather_object([self._diagnose_nonfinite_step()])).render()
        )

    def _diagnose_nonfinite_step(self) -> NonFiniteStep:
        loader: Any = self.callback_handler.train_dataloader
        rows = find_rows(loader, self._batches, epoch=self.state.epoch or 0.0)
        dataset: Any = self.train_dataset
        if rows is not None:
            named = "row" in (getattr(dataset, "column_names", None) or ())
            rows = [[dataset[i]["row"] if named else i + 1 for i in batch] for batch in rows]
        model: Any = self.model

        def run(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
            with self.compute_loss_context_manager():
                loss, outputs = self.compute_loss(model, batch, return_outputs=True)
            return loss, outputs.logits

        return diagnose_nonfinite_step(
            [self._prepare_inputs(batch) for batch in self._batches],
            rows,
            run,
            step=self.state.global_step + 1,
            weights=model.parameters(),
            row_inputs=self.row_inputs,
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create the optimizer, with ``head_learning_rate`` for parameters outside the encoder."""
        made_here = self.optimizer is None
        optimizer = super().create_optimizer(model)
        rate = getattr(self.args, "effective_head_learning_rate", None)
        if made_here and rate is not None:
            module: Any = self.accelerator.unwrap_model(model if model is not None else self.model)
            _set_head_rate(optimizer, module, rate)
        return optimizer

    def _set_signature_columns_if_needed(self) -> None:
        # The collator reads columns that the model does not.
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        read = ("label_values", "teacher_logits", ROW_WEIGHT)
        columns += [name for name in read if name not in columns]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # The stock order of grouped lengths cannot be resumed in the middle of an epoch. The
        # dataset passed here has lost its lengths, a column that no model reads.
        dataset: Any = self.train_dataset
        column = self.args.length_column_name
        grouped = self.args.train_sampling_strategy == "group_by_length"
        if not grouped or column not in (getattr(dataset, "column_names", None) or ()):
            return super()._get_train_sampler(train_dataset)
        return EpochLengthGroupedSampler(
            self.args.train_batch_size
            * self.args.gradient_accumulation_steps
            * self.args.world_size,
            lengths=dataset[column],
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
        )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # The stock trainer saves over an older checkpoint file by file, in any order, and
        # removes old ones file by file: a run killed then leaves folders that look whole.
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        unfinished = folder / UNFINISHED_FILE
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            unfinished.touch()
        self.accelerator.wait_for_everyone()
        given, self.args = self.args, copy.copy(self.args)
        self.args.save_total_limit = None  # of the copy: the user's arguments stay as they are
        try:
            with self.averaged_weights():
                super()._save_checkpoint(model, trial)
            if self.weight_average is not None and given.should_save and not given.save_only_model:
                self.weight_average.save_training_weights(folder)
            self.accelerator.wait_for_everyone()  # each process saves its random state
        except Exception:  # a full disk: the older checkpoints are still there
            if given.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self.args = given
        if given.should_save:
            unfinished.unlink()
            best = self.state.best_model_checkpoint
            remove_old_checkpoints(folder.parent, given.save_total_limit, best)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model; beside an adapter also its configuration, which holds the labels.

        An adapter that an earlier run left in the folder goes: it would be loaded in place of a
        whole model.
        """
        super().save_model(output_dir, _internal_call)
        if not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir))
        # A pickle that nothing reads again, with the token for the Hub in it.
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
        if hasattr(self.model, "peft_config"):
            config: Any = self.model.config  # type: ignore[union-attr]
            config.save_pretrained(folder)
        else:
            for name in ADAPTER_FILES:
                (folder / name).unlink(missing_ok=True)


def _set_head_rate(optimizer: torch.optim.Optimizer, model: Any, rate: float) -> None:
    """Move parameters outside the encoder, if the model names one, to groups of their own."""
    model = without_adapters(model)
    if not hasattr(model, "base_model"):
        return
    encoder = encoder_parameters(model)
    for group in list(optimizer.param_groups):
        head = [parameter for parameter in group["params"] if id(parameter) not in encoder]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) in encoder]
        if head:
            optimizer.add_param_group({**group, "params": head, "lr": rate})

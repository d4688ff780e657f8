"""Batches of training where several processes share them, or rows are streamed."""

from __future__ import annotations

from typing import Any

from accelerate.data_loader import BatchSamplerShard, prepare_data_loader
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from zlpr_hf.data.streaming.batches import StreamedRows
from zlpr_hf.training.sampler import SharedBatchSampler


def share_batches(loader: Any) -> SharedBatchSampler | None:
    """Let several processes share the batches that a single one would take.

    What accelerate deals out instead is whole batches, and it fills up the last ones with rows that
    were there before.

    Args:
        loader: A data loader that accelerate has prepared; it is changed.

    Returns:
        What deals out this process' share; None for a single process, or rows without an order.
    """
    shard: Any = getattr(loader, "batch_sampler", None)
    if not isinstance(shard, BatchSamplerShard) or shard.num_processes == 1:
        return None
    inner: Any = shard.batch_sampler
    shared = SharedBatchSampler(
        inner.sampler,
        inner.batch_size,
        inner.drop_last,
        num_processes=shard.num_processes,
        process_index=shard.process_index,
    )
    # It hands on what it is given now, and shows the order to whoever sets the epoch.
    shard.batch_sampler, shard.sampler = shared, inner.sampler
    shard.num_processes, shard.process_index, shard.batch_size = 1, 0, None
    return shared


def build_streamed_loader(
    rows: StreamedRows, collator: Any, batch_size: int, arguments: TrainingArguments
) -> Any:
    """A data loader of rows that are streamed, of which each process reads its own.

    Args:
        rows: This process' share.
        collator: Makes batches.
        batch_size: Rows of a batch.
        arguments: Workers and the like.

    Returns:
        A data loader as accelerate prepares it.
    """
    loader = DataLoader(
        rows,
        batch_size=batch_size,
        collate_fn=collator,
        drop_last=arguments.dataloader_drop_last,
        num_workers=arguments.dataloader_num_workers,
        pin_memory=arguments.dataloader_pin_memory,
        prefetch_factor=arguments.dataloader_prefetch_factor,
        multiprocessing_context=arguments.dataloader_multiprocessing_context,
    )
    # One process: they are shared out already, and accelerate would do so again.
    return prepare_data_loader(
        loader,
        arguments.device,
        num_processes=1,
        process_index=0,
        put_on_device=True,
        dispatch_batches=False,
    )

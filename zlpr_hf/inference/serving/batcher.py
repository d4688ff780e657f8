"""Micro-batching: texts of requests that wait while the model is busy share its next batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zlpr_hf.choices import LongTexts
from zlpr_hf.inference.decision import scored_labels
from zlpr_hf.inference.windows import Texts
from zlpr_hf.thresholds import Thresholds

if TYPE_CHECKING:
    from zlpr_hf.inference.classifier import Classifier
    from zlpr_hf.inference.onnx_classifier import OnnxClassifier

logger = logging.getLogger(__name__)

SORTED_BATCHES = 4
"""Batches that are taken from the queue together, so that texts of similar length share one."""

Answer = list[list[dict[str, Any]]]


class QueueFullError(Exception):
    """The texts of a request do not fit into the queue."""


@dataclass(frozen=True)
class _Job:
    """The texts of a request, its decision rule, and its answer to come."""

    rows: Texts
    rule: Thresholds
    answer: asyncio.Future[Answer]


class Batcher:
    """Answers requests with one thread for the model; requests that come meanwhile are queued.

    A request is computed again alone if the batch that it shares fails, so that no request fails
    because of another one.

    Args:
        classifier: The model.
        batch_size: Texts per batch.
        max_queue: Texts that may wait or be computed at a time.
        long_texts: How long texts are read (default: as stored in the model).
        on_batch: Called with the number of texts that were computed together.
    """

    def __init__(
        self,
        classifier: Classifier | OnnxClassifier,
        *,
        batch_size: int,
        max_queue: int,
        long_texts: LongTexts | None = None,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> None:
        self._classifier = classifier
        self._batch_size = batch_size
        self._max_queue = max_queue
        self._long_texts = long_texts
        self._on_batch = on_batch
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.texts = 0
        """Texts that wait or are computed."""

    async def answer(self, rows: Texts, rule: Thresholds) -> Answer:
        """Return the predicted labels of each text with their scores, best first.

        Raises:
            QueueFullError: If too many texts wait already.
            InputError: If the model has no number for a text.
        """
        if self._task is None or self._task.done():  # done if its event loop has ended
            self._start()
        if self.texts + len(rows) > self._max_queue:
            raise QueueFullError
        job = _Job(rows, rule, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.texts += len(rows)
        self._arrived.set()
        return await job.answer

    def _start(self) -> None:
        """Start with the first request: a mounted application has no lifespan of its own."""
        self._jobs.clear()
        self._arrived = asyncio.Event()
        self.texts = 0
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Stop waiting for requests."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        """Compute the answers of all jobs, until the task is cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="model") as model_thread:
            while True:
                await self._arrived.wait()
                jobs = self._take()
                answers = await loop.run_in_executor(model_thread, self._compute, jobs)
                for job, answer in zip(jobs, answers, strict=True):
                    self.texts -= len(job.rows)
                    if job.answer.done():  # the client has gone
                        continue
                    if isinstance(answer, Exception):
                        job.answer.set_exception(answer)
                    else:
                        job.answer.set_result(answer)

    def _take(self) -> list[_Job]:
        """Take the oldest jobs that fill some batches; pairs are not mixed with single texts."""
        taken = [self._jobs.popleft()]
        texts, columns = len(taken[0].rows), len(taken[0].rows[0])
        while self._jobs and len(self._jobs[0].rows[0]) == columns:
            texts += len(self._jobs[0].rows)
            if texts > self._batch_size * SORTED_BATCHES:
                break
            taken.append(self._jobs.popleft())
        if not self._jobs:
            self._arrived.clear()
        return taken

    def _compute(self, jobs: list[_Job]) -> list[Answer | Exception]:
        """Return the answer of each job, or the reason why it has none."""
        try:
            rows = [row for job in jobs for row in job.rows]
            self._on_batch(len(rows))
            logits = self._classifier.compute_logits(
                rows, batch_size=self._batch_size, long_texts=self._long_texts
            )
            answers: list[Answer | Exception] = []
            start = 0
            for job in jobs:
                part = logits[start : start + len(job.rows)]
                start += len(job.rows)
                predictions = job.rule.apply(part)
                answers.append(scored_labels(part, predictions, self._classifier.label_space))
        except Exception as error:
            if len(jobs) == 1:
                return [error]
            return [answer for job in jobs for answer in self._compute([job])]
        return answers

"""Training with a trainer; errors that a user can fix become an InputError."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

from zlpr_hf.errors import InputError
from zlpr_hf.models.probe import explain_failure
from zlpr_hf.training.progress import close_progress
from zlpr_hf.training.trainer import ZLPRTrainer


def run_training(trainer: ZLPRTrainer, checkpoint: Path | None = None) -> float:
    """Train and return the training loss; errors that a user can fix become an InputError."""
    try:
        resume = None if checkpoint is None else str(checkpoint)
        with explain_failure(trainer.model):
            return float(trainer.train(resume_from_checkpoint=resume).training_loss)
    except Exception as error:
        if isinstance(error, FloatingPointError):
            raise InputError(str(error)) from error
        if isinstance(error, UnpicklingError):
            raise InputError(
                f"{checkpoint}: cannot resume: optimizer.pt, scheduler.pt or rng_state.pth "
                "contains pickled objects other than tensors"
            ) from error
        raise
    finally:
        close_progress(trainer.callback_handler.callbacks)

"""CheckpointTrainer: checkpoints that are whole or gone, and hold nothing that is not needed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from zlpr_hf.training.checkpoints import find_damage, remove_old_checkpoints


class CheckpointTrainer(Trainer):
    """Trainer that can be killed at any moment: what it left behind is a checkpoint, or is not."""

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint that is whole or gone: none of its files is one of an earlier run's."""
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        # The stock trainer removes old ones file by file: one that is cut there looks like another.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        except Exception:  # a full disk: the older ones are still there
            if self.args.should_save and find_damage(folder, only_model=self.args.save_only_model):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            remove_old_checkpoints(folder.parent, limit, self.state.best_model_checkpoint)

    def _save_rng_state(self, output_dir: str) -> None:
        """Save it, and wait: the state that makes the checkpoint whole comes after all of them."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the model; beside an adapter its configuration, which is where the labels are."""
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or str(self.args.output_dir))
        # A pickle that nobody reads again, with the token for the Hub in it.
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
        if hasattr(self.model, "peft_config"):
            config: Any = self.model.config  # type: ignore[union-attr]
            config.save_pretrained(folder)

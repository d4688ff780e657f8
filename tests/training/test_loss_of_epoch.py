"""A loss that changes while it trains knows the epoch, also after a restart."""

from pathlib import Path

from torch import Tensor

from tests.training.builders import arguments, model, rows
from zlpr_hf import SPLCLoss, ZLPRTrainer


class Recorded(SPLCLoss):
    """Keeps the epoch of each forward pass."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.seen = [*getattr(self, "seen", []), self.epoch]
        return super().forward(logits, targets)


def test_trainer_tells_the_loss_its_epoch(tmp_path: Path) -> None:
    settings = {"per_device_train_batch_size": 5, "save_strategy": "epoch"}
    first = Recorded(reduction="none")
    ZLPRTrainer(
        model=model(), args=arguments(tmp_path, **settings), train_dataset=rows(), loss=first
    ).train()
    assert first.seen == [0.0, 0.5, 1.0, 1.5]  # two batches in each epoch

    resumed = Recorded(reduction="none")
    trainer = ZLPRTrainer(
        model=model(), args=arguments(tmp_path, **settings), train_dataset=rows(), loss=resumed
    )
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.seen == [1.0, 1.5]

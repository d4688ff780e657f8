"""What children need, loaded once and not used: nothing here may start a thread."""

import torch
import transformers.trainer  # noqa: F401

import zlpr_hf.commands.compare
import zlpr_hf.commands.export
import zlpr_hf.commands.predict
import zlpr_hf.commands.train
import zlpr_hf.exporting  # noqa: F401

torch.set_num_threads(1)

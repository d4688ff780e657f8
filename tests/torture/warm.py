"""What children need, loaded once and not used: nothing here may start a thread."""

import gc

import onnxruntime  # noqa: F401
import onnxscript  # noqa: F401
import torch
import transformers.models.bert.modeling_bert
import transformers.trainer  # noqa: F401
from tqdm import tqdm

import zlpr_hf.bulk.labelling
import zlpr_hf.commands.compare
import zlpr_hf.commands.export
import zlpr_hf.commands.predict
import zlpr_hf.commands.train
import zlpr_hf.exporting
import zlpr_hf.yardsticks  # noqa: F401

torch.set_num_threads(1)
tqdm.get_lock()  # a semaphore, which a killed child would leave behind
gc.freeze()  # or each child would look through all of it again

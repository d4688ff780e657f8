"""What children need, loaded once and not used: nothing here may start a thread."""

import gc

import onnxruntime  # noqa: F401
import onnxscript  # noqa: F401
import torch
import transformers.models.bert.modeling_bert
import transformers.trainer  # noqa: F401
from tqdm import tqdm

torch.set_num_threads(1)
tqdm.get_lock()  # a semaphore, which a killed child would leave behind
gc.freeze()  # or each child would look through all of it again

# /// script
# requires-python = ">=3.11"
# dependencies = ["zlpr_hf[peft,quickstart] @ git+REPOSITORY_URL"]
# ///
"""Train a model on a rented machine and push it to the Hub; replace REPOSITORY_URL above.

Here:          uv run examples/train_job.py quickstart
On HF Jobs:    hf jobs uv run --flavor t4-small --secrets HF_TOKEN examples/train_job.py \
                   YOUR_NAME/DATA --push_to YOUR_NAME/MODEL

All other options are those of zlpr train.
"""

import sys
from argparse import ArgumentParser

from zlpr_hf.cli.main import main

OUTPUT = "out/job"

parser = ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
parser.add_argument("--push_to", metavar="ID", help="repository on the Hub; private if it is new")
options, training = parser.parse_known_args()
status = main(["train", "--output_dir", OUTPUT, *training])
if status == 0 and options.push_to:
    status = main(["push", OUTPUT, options.push_to, "--private"])
sys.exit(status)

"""``zlpr train``: fine-tune one model and print its numbers and how to use it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from zlpr_hf.arguments import parse_arguments
from zlpr_hf.checkpoints import CONFIG_FILE, PROFILE_FILE, RESULTS_FILE
from zlpr_hf.finetuning import finetune


def run(argv: list[str], program: Sequence[str]) -> int:
    """Fine-tune.

    Args:
        argv: ``[CONFIG.yaml] [--name value ...]``.
        program: How the user called the command, for the commands that are printed.

    Returns:
        0, or 130 if interrupted.

    Raises:
        InputError: If something is wrong with the input.
    """
    try:
        model_args, data_args, training_args = parse_arguments(argv)
        report = finetune(model_args, data_args, training_args)
    except KeyboardInterrupt:
        again = shlex.join([*program, *argv, "--resume_from_checkpoint", "true"])
        print(f"\ninterrupted; to go on: {again}", file=sys.stderr)
        return 130
    if training_args.process_index == 0:
        folder = report.output_dir
        print(f"\n{report.render()}\n")
        print(f"written to {folder}: the model, {RESULTS_FILE}, {PROFILE_FILE}, {CONFIG_FILE}")
        if training_args.loss == "powerset":
            print("use it with stock transformers (the answer with the best score is a label set):")
            options, answer = "truncation=True", "p('type a text here')[0]['label']"
        else:
            print("use it with stock transformers (a label is predicted when its score is > 0.5):")
            options = "top_k=None, truncation=True"
            answer = "[s for s in p(['type a text here'])[0] if s['score'] > 0.5]"
        use = (
            "from transformers import pipeline; "
            f"p = pipeline('text-classification', {folder!r}, {options}); print({answer})"
        )
        print(f"  {shlex.join([sys.executable, '-c', use])}")
    return 0

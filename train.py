"""Fine-tune a multi-label text classifier with ZLPR: python train.py configs/quickstart.yaml"""

import os
import shlex
import sys

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def main(argv: list[str]) -> int:
    from zlpr_hf.arguments import parse_arguments
    from zlpr_hf.checkpoints import CONFIG_FILE, PROFILE_FILE, RESULTS_FILE
    from zlpr_hf.errors import InputError
    from zlpr_hf.finetuning import finetune

    try:
        model_args, data_args, training_args = parse_arguments(argv)
        report = finetune(model_args, data_args, training_args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = shlex.join(
            [sys.executable, *sys.argv[:1], *argv, "--resume_from_checkpoint", "true"]
        )
        print(f"\ninterrupted; to go on: {again}", file=sys.stderr)
        return 130
    if training_args.process_index == 0:
        folder = report.output_dir
        print(f"\n{report.render()}\n")
        print(f"written to {folder}: the model, {RESULTS_FILE}, {PROFILE_FILE}, {CONFIG_FILE}")
        print("use it with stock transformers (a label is predicted when its score is above 0.5):")
        use = (
            "from transformers import pipeline; "
            f"p = pipeline('text-classification', {folder!r}, top_k=None, truncation=True); "
            "print([s for s in p(['type a text here'])[0] if s['score'] > 0.5])"
        )
        print(f"  {shlex.join([sys.executable, '-c', use])}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # while the libraries were still loading
        sys.exit(130)

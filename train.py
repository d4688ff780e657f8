"""Fine-tune a multi-label text classifier with ZLPR: python train.py configs/quickstart.yaml"""

import sys

from zlpr_hf.cli.main import main as zlpr


def main(argv: list[str]) -> int:
    return zlpr(["train", *argv], program=[sys.executable, *sys.argv[:1]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Fine-tune a multi-label text classifier with ZLPR: python train.py configs/quickstart.yaml"""

import sys

from zlpr_hf.cli import train


def main(argv: list[str]) -> int:
    return train(argv, program=[sys.executable, *sys.argv[:1]])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # while the libraries were still loading
        sys.exit(130)

"""Start-up time of the package and of its commands, beside Python and torch alone.

Each command runs in its own process, in turn with the others.

Run: python -m benchmarks.startup
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tqdm.auto import tqdm

from benchmarks.output import save

REPEATS = 15
ZLPR = str(Path(sys.executable).with_name("zlpr"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import zlpr_hf": [sys.executable, "-c", "import zlpr_hf"],
    "zlpr --help": [ZLPR, "--help"],
    "zlpr predict --help": [ZLPR, "predict", "--help"],
    "zlpr train --help": [ZLPR, "train", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
    "import transformers.Trainer": [sys.executable, "-c", "from transformers import Trainer"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in tqdm(range(REPEATS), desc="start"):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    found = {}
    for name, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        found[name] = {"seconds": middle, "low": low, "high": high}
        print(f"{name:<30}{middle:>8.3f} s ({low:.3f} to {high:.3f})")
    save("startup", {"results": found})


if __name__ == "__main__":
    main()

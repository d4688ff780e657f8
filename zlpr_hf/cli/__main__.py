"""Run ``python -m zlpr_hf.cli``, which ``torchrun`` and ``accelerate launch`` need."""

import sys

from zlpr_hf.cli.main import main

sys.exit(main())

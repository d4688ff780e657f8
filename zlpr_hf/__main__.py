"""Run ``python -m zlpr_hf``."""

import sys

from zlpr_hf.cli.main import main

sys.exit(main())

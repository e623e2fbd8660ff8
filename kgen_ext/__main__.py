"""Entry point of `python -m kgen_ext`, which is the command `kgen`."""
from __future__ import annotations

import sys

from kgen_ext.cli import main

if __name__ == "__main__":
    sys.exit(main())

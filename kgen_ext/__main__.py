"""`python -m kgen_ext` is the command `kgen`. Knows only where its main function is."""
from __future__ import annotations

import sys

from kgen_ext.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m minicpm_core.cli` is the `minicpm` command."""

import sys

from minicpm_core.cli import main

if __name__ == "__main__":
    sys.exit(main())

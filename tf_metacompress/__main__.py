"""Runs the command line: `python -m tf_metacompress`."""

import sys

from tf_metacompress.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m gptmock``: the console script under its other name."""

import sys

from gptmock.cli import main

if __name__ == "__main__":
    sys.exit(main())

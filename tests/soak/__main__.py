from __future__ import annotations

import argparse
import asyncio
import sys

from tests.soak import soak

parser = argparse.ArgumentParser(prog="python -m tests.soak", description=soak.__doc__)
parser.add_argument("--seconds", type=float, default=600.0, help="length of each of the two (default: 600)")
sys.exit(asyncio.run(soak.main(parser.parse_args().seconds)))

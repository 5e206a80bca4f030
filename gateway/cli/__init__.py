"""The command line: ``image-gateway``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line on the arguments of this process."""
    from gateway.cli.app import app
    from gateway.cli.consoles import tolerate_any_encoding

    tolerate_any_encoding()
    try:
        app(prog_name="image-gateway")
    except OSError as error:  # of files each command tells itself; what is left is an output that takes no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be flushed at the end would fail again
        sys.exit(f"error: {error.strerror or error}")

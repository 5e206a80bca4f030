"""The command line: ``image-gateway``."""

from __future__ import annotations


def main() -> None:
    """Run the command line on the arguments of this process."""
    from gateway.cli.app import app
    from gateway.cli.consoles import tolerate_any_encoding

    tolerate_any_encoding()
    app(prog_name="image-gateway")

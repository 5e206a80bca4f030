"""``python -m gateway.cli``: the command line where ``image-gateway`` is not on the search path."""

from gateway.cli import main

main()

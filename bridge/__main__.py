"""`python -m bridge` is `plantbridge`."""

from bridge.cli.main import main

main()

"""Allow ``python -m ezaigent``."""

from ezaigent.cli import main

main()

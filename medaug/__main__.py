"""`python -m medaug` is the command line."""

from medaug.cli import main

main()

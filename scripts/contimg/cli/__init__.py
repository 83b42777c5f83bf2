"""The command `contimg`: arguments and exit codes of the tools beside the workflow."""

from contimg.cli.main import main

__all__ = ["main"]

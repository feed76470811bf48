"""The command line: `whyrank`, one module per command."""

from whyrank.cli.app import main

__all__ = ["main"]

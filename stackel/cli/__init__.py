"""The command ``stackel``."""

from stackel.cli.main import app, main

__all__ = ["app", "main"]

"""The command line: `tf-metacompress demo | compress | export | benchmark`."""

from tf_metacompress.cli.main import main

__all__ = ["main"]

"""The command line: `tf-metacompress demo | compress | export | inspect | benchmark | …`."""

from tf_metacompress.cli.main import main

__all__ = ["main"]

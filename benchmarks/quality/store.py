"""One file for each result, written whole or not at all, so that a killed run loses only one."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from tf_metacompress.atomic import write_json


def run_folder(work, plan, fingerprint):
    """The folder of all runs with these settings.

    Args:
        work: Folder of all runs.
        plan: How much of everything.
        fingerprint: Hash of the data.

    Returns:
        A path.
    """
    text = json.dumps({**asdict(plan), "data": fingerprint, "layout": 1}, sort_keys=True)
    return Path(work) / hashlib.sha256(text.encode()).hexdigest()[:12]


class Store:
    """The rows of a run.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def _path(self, case, method):
        return self.folder / case / f"{_slug(method)}.json"

    def find(self, case, method, made_with=""):
        """The row of a case and method, if it is there and was made with the same Φ."""
        path = self._path(case, method)
        if not path.exists():
            return None
        row = json.loads(path.read_text("utf-8"))
        return row if row.get("made_with", "") == made_with else None

    def write(self, case, method, row, made_with=""):
        """Keeps a row."""
        path = self._path(case, method)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**row, "made_with": made_with})


def _slug(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("φ", "phi")).strip("-")

"""The Φ that ships with the package: one file of weights, and a card that says what it learned."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_metacompress import atomic
from tf_metacompress.errors import CorruptFileError, invalid
from tf_metacompress.meta.phi_file import load_phi

FOLDER = Path(__file__).resolve().parent / "data"
PHI, CARD = "phi.npz", "card.json"
LARGEST_BYTES = 500_000
CARD_KEYS = ("summary", "meta_steps", "trained_on", "held_out", "figures", "command", "sha256")


def read_card(folder: str | Path = FOLDER) -> dict[str, Any]:
    """Reads the card of a shipped Φ and checks that it belongs to the file beside it.

    Args:
        folder: Where both lie.

    Returns:
        The card: at least CARD_KEYS.

    Raises:
        CorruptFileError: When one of them is missing, or they do not belong together.
    """
    folder = Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        digest = hashlib.sha256((folder / PHI).read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise CorruptFileError(
            f"The pretrained compressor needs {PHI} and {CARD} ({error}). "
            f"Received: folder={str(folder)!r}. Install the package again."
        ) from error
    missing = [key for key in CARD_KEYS if not isinstance(card, dict) or key not in card]
    if missing:
        raise CorruptFileError(
            f"The card of a pretrained compressor must hold {', '.join(CARD_KEYS)}. "
            f"Received: a card without {', '.join(missing)}. Install the package again."
        )
    if card["sha256"] != digest:
        raise CorruptFileError(
            f"The card must describe the {PHI} beside it, and its checksum is another. "
            f"Received: folder={str(folder)!r}. It was changed or damaged; install the package "
            "again."
        )
    return card


def write_card(folder: str | Path, **entries: Any) -> dict[str, Any]:
    """Writes the card of the Φ that lies in a folder, as phi.npz.

    Args:
        folder: Where `MetaCompressor.save` wrote phi.npz.
        **entries: CARD_KEYS without meta_steps and sha256, which are read from the file; others
            are kept too.

    Returns:
        The card.

    Raises:
        CorruptFileError: When the file is not one of Φ.
        InvalidArgumentError: When an entry is missing, or the file is too large to ship.
    """
    folder = Path(folder)
    _, config = load_phi(folder / PHI)
    content = (folder / PHI).read_bytes()
    if len(content) > LARGEST_BYTES:
        raise invalid(
            f"A shipped Φ must have at most {LARGEST_BYTES:,} bytes.",
            "Use fewer heads or hidden units.",
            size_bytes=len(content),
        )
    own = {
        "meta_steps": config["meta_steps"],
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    card: Mapping[str, Any] = {**entries, **own}
    missing = [key for key in CARD_KEYS if key not in card]
    if missing:
        raise invalid("The card lacks entries.", missing=missing)
    atomic.write_text(folder / CARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    return dict(card)

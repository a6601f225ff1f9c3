"""What a report says of the Φ that proposed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_APART = ("families", "sources", "ratios")


@dataclass(frozen=True, kw_only=True)
class Phi:
    """Which Φ proposed, from its card.

    Attributes:
        summary: What it has learned from.
        meta_steps: Meta-steps that it took.
        sha256: Checksum of its file.
        held_out: What was kept from it while it learned.
    """

    summary: str
    meta_steps: int
    sha256: str
    held_out: Any

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> "Phi":
        """Reads it from the card of a pretrained compressor."""
        return cls(**{field.name: card[field.name] for field in fields(cls)})

    def sentences(self) -> tuple[str, ...]:
        """Says in words which it is, and what was kept from it."""
        which = f"{self.summary} {self.meta_steps} meta-steps, sha256 {self.sha256[:12]}…"
        apart = self.held_out if isinstance(self.held_out, Mapping) else {}
        kept = [f"{key} {', '.join(map(str, apart[key]))}" for key in _APART if apart.get(key)]
        return (which, f"Kept from it while it learned: {'; '.join(kept)}.") if kept else (which,)

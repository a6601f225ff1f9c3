"""What a meta-training run leaves beside its weights: a card for programs and one for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tf_metacompress.atomic import write_text
from tf_metacompress.deploy.machine import this_machine
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.meta.pretrained import CARD, PHI, write_card
from tf_metacompress.pipeline.report import versions
from tf_metacompress.pipeline.zoo import (
    META_TEST_FAMILIES,
    META_TEST_RATIOS,
    META_TEST_SOURCES,
    Entry,
    Record,
)

CARD_FOR_PEOPLE = "card.md"
OUTPUTS = (PHI, CARD, CARD_FOR_PEOPLE)
_ENDS = 20


def write_outcome(
    folder: Path,
    compressor: MetaCompressor,
    *,
    records: Sequence[Record],
    held_out: Sequence[Entry],
    history: Mapping[str, Any],
    settings: Any,
    command: str,
) -> None:
    """Writes phi.npz, card.json and card.md.

    Args:
        folder: Where to.
        compressor: The trained compressor.
        records: Records of all models of the zoo.
        held_out: The models that it was validated on.
        history: Metrics of each meta-step, and the validations.
        settings: A dataclass: how much of everything.
        command: The command that rebuilds it.
    """
    compressor.save(folder / PHI)
    learned = "Fitted to outcomes" if settings.policies_per_task else "Not fitted to outcomes"
    card = write_card(
        folder,
        summary=f"{learned}, meta-trained for {compressor.meta_steps} meta-steps; on the tasks of "
        f"{sum(record.learned for record in records) - len(held_out)} small models.",
        trained_on=_models(records, held_out),
        held_out={
            "families": list(META_TEST_FAMILIES),
            "sources": list(META_TEST_SOURCES),
            "ratios": list(META_TEST_RATIOS),
            "models": [entry.name for entry in held_out],
        },
        figures=_figures(records, history),
        command=command,
        settings=asdict(settings),
        versions=versions(),
        machine=this_machine().to_dict(),
    )
    write_text(folder / CARD_FOR_PEOPLE, _text(card))


def _models(records: Sequence[Record], held_out: Sequence[Entry]) -> dict[str, Any]:
    used = [record for record in records if record.learned and record.entry not in held_out]
    params = [record.num_params for record in used]
    return {
        "models": len(used),
        "did_not_learn": [record.entry.name for record in records if not record.learned],
        "families": sorted({record.entry.family for record in used}),
        "sources": sorted({record.data for record in used}),
        "variants": sorted({record.entry.variant for record in used}),
        "num_params": [min(params), max(params)],
    }


def _figures(records: Sequence[Record], history: Mapping[str, Any]) -> dict[str, Any]:
    steps = history["steps"]
    losses = [step["query_loss"] for step in steps]
    ends = {"first_query_loss": losses[:_ENDS], "last_query_loss": losses[-_ENDS:]}
    return {
        **{name: float(np.mean(end)) for name, end in ends.items() if end},
        "validation": list(history["validation"]),
        "zoo_seconds": round(sum(record.seconds for record in records), 1),
        "meta_training_seconds": round(sum(step["seconds"] for step in steps), 1),
    }


def _ends(figures: Mapping[str, Any]) -> list[str]:
    if "first_query_loss" not in figures:
        return ["- Without meta-steps."]
    first, last = figures["first_query_loss"], figures["last_query_loss"]
    words = f"- Query loss, mean of the first and the last {_ENDS} meta-steps"
    return [f"{words}: {first:.4f}, {last:.4f}."]


def _text(card: Mapping[str, Any]) -> str:
    trained, apart, figures = card["trained_on"], card["held_out"], card["figures"]
    fewest, most = trained["num_params"]
    lines = [
        "# Φ",
        "",
        card["summary"],
        "",
        f"- Models: {trained['models']}, {fewest:,} to {most:,} parameters, of the families "
        f"{', '.join(trained['families'])}; {len(trained['did_not_learn'])} more did not learn.",
        f"- Data: {', '.join(trained['sources'])}; variants {', '.join(trained['variants'])}.",
        f"- Kept apart for judging: families {', '.join(apart['families'])}; sources "
        f"{', '.join(apart['sources'])}; ratios {', '.join(map(str, apart['ratios']))}.",
        *_ends(figures),
        f"- Seconds: {figures['zoo_seconds']:.0f} for the models (summed over workers), "
        f"{figures['meta_training_seconds']:.0f} for the meta-steps.",
        f"- File: {card['size_bytes']:,} bytes, sha256 {card['sha256']}.",
        "",
        "## Validated on models of the training families that it did not learn from",
        "",
        "Mean loss after a short fine-tuning; better and worse: Φ with a support set, beside the",
        "prior.",
        "",
        "| meta-steps | tasks | Φ | Φ with support set | prior | sensitivity | better | worse |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {v['meta_step']} | {v['num_tasks']} | {v['phi_loss']:.4f} | {v['informed_loss']:.4f} "
        f"| {v['prior_loss']:.4f} | {v['sensitivity_loss']:.4f} | {v['better']:.0%} "
        f"| {v['worse']:.0%} |"
        for v in figures["validation"]
    ]
    return "\n".join([*lines, "", "Rebuild it with:", "", f"    {card['command']}", ""])

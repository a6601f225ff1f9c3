"""How each reference model is fine-tuned."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to fine-tune.

    Attributes:
        epochs: Epochs under the policy.
        recovery_epochs: Epochs before that, without a policy, where channels were removed.
        batch_size: Examples a step.
        learning_rate: Where the cosine begins.
        shift: Most pixels, or frames and coefficients, that an example is moved by.
        mirror: Whether examples are mirrored.
        blend: Share of the examples that are mixed with another one.
        temperature: Of the distillation.
        alpha: Share of the float model's answers in the loss; 0 trains on labels only.
        aim: Share of the limit that policies are made for; fine-tuned files are a few percent
            smaller than what is planned from the dense weights.
        quantizer: What rounds the weights, whatever made the policy.
        num_calibration: Training examples whose results give the ranges of the activations; of few
            they are tighter, and outliers saturate.
        packed: Layers whose 4-bit weights take half a byte: "dense" or, smallest and slower, "all".
    """

    epochs: int
    recovery_epochs: int = 0
    batch_size: int = 128
    learning_rate: float = 1e-3
    shift: tuple[int, int] = (3, 3)
    mirror: bool = True
    blend: float = 0.0
    temperature: float = 4.0
    alpha: float = 0.9
    aim: float = 0.985
    quantizer: str = "symmetric"
    num_calibration: int = 512
    packed: str = "dense"


RECIPES = {
    "ResNet-8": Recipe(epochs=4),
    "DS-CNN": Recipe(
        epochs=60, batch_size=100, shift=(4, 0), mirror=False, blend=0.5, recovery_epochs=0
    ),
}

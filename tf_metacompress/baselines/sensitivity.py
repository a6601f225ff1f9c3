"""The sensitivity of each layer on one batch, and the exact allocation on top of it."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tf_metacompress.anatomy import (
    classification_loss,
    describe,
    kernel_arrays,
    select_compressible,
)
from tf_metacompress.baselines.layer_damage import Bench, hessian_damage, measured_damage
from tf_metacompress.errors import check_choice
from tf_metacompress.policy import (
    Action,
    Budget,
    DeviceProfile,
    LayerPlan,
    Policy,
    action_grid,
    allocate,
    check_budget,
    cost_table,
    fitting_sparsity,
)
from tf_metacompress.policy import device as device_profile
from tf_metacompress.tasks.task import check_pair
from tf_metacompress.typing import ArrayPair

_MEASURES = {"loss": measured_damage, "hessian": hessian_damage}


def sensitivity(
    model: keras.Model,
    budget: Budget,
    device: str | DeviceProfile = "android-arm64",
    *,
    support: ArrayPair,
    measure: str = "loss",
    loss: Callable[..., Any] | str | None = None,
    actions: Sequence[Action] | None = None,
) -> Policy:
    """Gives each layer the action that hurts least alone, all together within the budget.

    Paper: Dong et al. 2020, "HAWQ-V2", arXiv:1911.03852, here for sparsity and bits at once.

    Args:
        model: A built Keras 3 model. It is not changed.
        budget: What the compressed model may cost.
        device: Name of a device, or a profile.
        support: One batch of inputs and labels, a few hundred examples.
        measure: "loss", the rise of the loss when one layer alone is compressed; or "hessian", the
            mean trace of the loss's Hessian times the energy of the change.
        loss: Maps labels and predictions to a loss; None for that of the compiled model, or
            cross-entropy.
        actions: What may be done to a layer; None for `action_grid()`.

    Returns:
        A policy within the budget.

    Raises:
        InfeasibleBudgetError: When nothing fits.
        UnsupportedModelError: When the model has nothing to compress.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="head")])
        >>> x, y = np.ones((8, 64), np.float32), np.arange(8)
        >>> sensitivity(model, Budget(size_ratio=0.9), support=(x, y)).name
        'sensitivity'
    """
    check_budget(budget)
    check_choice("measure", measure, tuple(_MEASURES))
    batch = check_pair("support", support)
    layers = describe(model)
    infos = select_compressible(layers)
    profile = device_profile(device)
    grid = action_grid() if actions is None else tuple(actions)
    table = cost_table(
        layers, kernel_arrays(model), device=profile, actions=grid, resources=budget.resources
    )
    given = loss or getattr(model, "loss", None)
    judged = classification_loss(model) if given is None else keras.losses.get(given)
    damage = _MEASURES[measure](Bench(model, infos, batch, judged), grid)
    choice = allocate(
        damage,
        table.cost,
        table.limits(budget),
        mask=table.mask,
        fixed=table.fixed,
        resources=table.resources,
    ).choice
    plans = [
        LayerPlan(info.name, fitting_sparsity(info, grid[index].sparsity), grid[index].weight_bits)
        for info, index in zip(infos, choice, strict=True)
    ]
    provenance = {"device": profile.name, "measure": measure, "examples": len(batch[0])}
    return Policy.from_plans(plans, name="sensitivity", provenance=provenance)

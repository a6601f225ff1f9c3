"""The relaxed choice among actions, its budget met by a solved multiplier."""

import tensorflow as tf

_BISECTIONS = 60
_LARGEST_MULTIPLIER = 1e6


def _probabilities(
    damage: tf.Tensor, cost: tf.Tensor, multiplier: tf.Tensor, temperature: float, mask: tf.Tensor
) -> tf.Tensor:
    logits = -(damage + multiplier * cost) / temperature
    lowest = tf.constant(-1e9, logits.dtype)
    return tf.nn.softmax(tf.where(mask, logits, lowest), axis=-1)


def expected_cost(probabilities: tf.Tensor, cost: tf.Tensor) -> tf.Tensor:
    """Cost of a relaxed choice, summed over layers.

    Args:
        probabilities: Shape (layers, actions).
        cost: Cost of each action, shape (layers, actions).

    Returns:
        Scalar.

    Example:
        >>> float(expected_cost(tf.constant([[0.5, 0.5]]), tf.constant([[1.0, 3.0]])))
        2.0
    """
    return tf.reduce_sum(probabilities * cost)


def _bisect(
    damage: tf.Tensor, cost: tf.Tensor, budget: tf.Tensor, temperature: float, mask: tf.Tensor
) -> tf.Tensor:
    """Multiplier in [0, 1e6] at which the expected cost falls to the budget; no gradient."""

    def excess(multiplier: tf.Tensor) -> tf.Tensor:
        probabilities = _probabilities(damage, cost, multiplier, temperature, mask)
        return expected_cost(probabilities, cost) - budget

    zero = tf.zeros([], damage.dtype)
    top = tf.constant(_LARGEST_MULTIPLIER, damage.dtype)

    def halve(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        middle = tf.where(high > 4.0 * low + 1e-6, tf.sqrt((low + 1e-9) * high), (low + high) / 2.0)
        above = excess(middle) > 0
        return tf.where(above, middle, low), tf.where(above, high, middle)

    low, high = tf.while_loop(
        lambda low, high: True, halve, (zero, top), maximum_iterations=_BISECTIONS
    )
    return tf.where(excess(zero) > 0, (low + high) / 2.0, zero)


def solve_multiplier(
    damage: tf.Tensor,
    cost: tf.Tensor,
    budget: tf.Tensor | float,
    temperature: float,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Solves for the price λ at which the relaxed choice meets the budget.

    λ is found by bisection without a gradient, then carried through two differentiable Newton steps
    from the solution. One step reproduces the first derivative of the implicit function exactly,
    two reproduce the second as well, which second-order meta-gradients need.

    Args:
        damage: Predicted damage of each action, shape (layers, actions), floating.
        cost: Cost of each action, same shape, scaled so that the budget is of order one.
        budget: Scalar limit of the expected cost.
        temperature: Positive softness of the choice.
        mask: Boolean, same shape; False forbids an action. None allows all.

    Returns:
        Scalar λ ≥ 0; zero where the cheapest-damage choice is within the budget already.

    Example:
        >>> damage, cost = tf.constant([[0.0, 1.0]]), tf.constant([[1.0, 0.0]])
        >>> round(float(solve_multiplier(damage, cost, 0.5, temperature=0.1)), 4)
        1.0
    """
    mask = tf.ones_like(damage, tf.bool) if mask is None else mask
    budget = tf.cast(budget, damage.dtype)
    start = _bisect(tf.stop_gradient(damage), cost, budget, temperature, mask)
    active = start > 0
    multiplier = start
    for _ in range(2):
        probabilities = _probabilities(damage, cost, multiplier, temperature, mask)
        mean = tf.reduce_sum(probabilities * cost, axis=-1, keepdims=True)
        slope = -tf.reduce_sum(probabilities * tf.square(cost - mean)) / temperature
        slope = tf.where(active, tf.minimum(slope, -1e-12), -tf.ones_like(slope))
        step = (expected_cost(probabilities, cost) - budget) / slope
        multiplier = multiplier - tf.where(active, step, tf.zeros_like(step))
    return multiplier


def relaxed_choice(
    damage: tf.Tensor,
    cost: tf.Tensor,
    budget: tf.Tensor | float,
    temperature: float,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Softens the knapsack: `softmax(−(damage + λ·cost) / temperature)` over each layer's actions.

    As the temperature falls the choice tends to the Lagrangian solution of the exact allocation.

    Args:
        damage: Predicted damage of each action, shape (layers, actions), floating.
        cost: Cost of each action, same shape, scaled so that the budget is of order one.
        budget: Scalar limit of the expected cost.
        temperature: Positive softness of the choice.
        mask: Boolean, same shape; False forbids an action. None allows all.

    Returns:
        Probabilities, shape (layers, actions); each row sums to one.

    Example:
        >>> damage, cost = tf.constant([[0.0, 1.0]]), tf.constant([[1.0, 0.0]])
        >>> relaxed_choice(damage, cost, 0.25, temperature=0.1).numpy().round(3).tolist()
        [[0.25, 0.75]]
    """
    mask = tf.ones_like(damage, tf.bool) if mask is None else mask
    multiplier = solve_multiplier(damage, cost, budget, temperature, mask)
    return _probabilities(damage, cost, multiplier, temperature, mask)

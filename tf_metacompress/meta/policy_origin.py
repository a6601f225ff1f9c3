"""The budget that a policy was made for, noted in its provenance."""

from tf_metacompress.policy import Budget, Policy

_PREFIX = "budget_"


def budget_provenance(budget: Budget) -> dict[str, float]:
    """Notes a budget as a policy's provenance can hold it.

    Args:
        budget: The budget.

    Returns:
        Limits by name, each with the prefix "budget_".
    """
    return {f"{_PREFIX}{name}": value for name, value in budget.to_dict().items()}


def noted_budget(policy: Policy) -> Budget | None:
    """Reads the budget from a policy's provenance.

    Args:
        policy: A policy.

    Returns:
        The budget, or None when the policy notes none.
    """
    noted = {
        name.removeprefix(_PREFIX): value
        for name, value in policy.provenance.items()
        if name.startswith(_PREFIX)
    }
    return Budget.from_dict(noted) if noted else None

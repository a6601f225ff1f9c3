"""How many channels of each group go, so that a latency is met with little damage.

Paper: Yang et al. 2018, "NetAdapt", arXiv:1804.03230: step by step the group that saves the most
for what it costs, by a table of measured layer latencies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.policy.channel_group import ChannelGroup
from tf_metacompress.policy.format_borders import Latencies, fastest_formats
from tf_metacompress.policy.layer_info import LayerInfo
from tf_metacompress.policy.narrowing import narrowed

_LEAST_DAMAGE = 1e-12

Choice = tuple[int, ...]
"""For each group, the index of its option."""


@dataclass(frozen=True, kw_only=True)
class WidthOptions:
    """What may be removed from one channel group.

    Attributes:
        group: The group.
        removed: Channels that go under each option, ever more; none under the first.
        damage: Damage of each option, 0 for the first.
    """

    group: ChannelGroup
    removed: tuple[tuple[int, ...], ...]
    damage: tuple[float, ...]


class WidthSearch:
    """Latency of a model by the widths of its channel groups.

    Args:
        layer_infos: The compressible layers.
        options: One entry for each channel group.
        latency_of: Milliseconds of a layer as it is described, in integers and in float32; the
            faster counts.
        overhead_ms: What an inference costs beside the layers.
        border_ms: What a change between integers and float32 costs.
    """

    def __init__(
        self,
        layer_infos: Sequence[LayerInfo],
        options: Sequence[WidthOptions],
        latency_of: Callable[[LayerInfo], Latencies],
        overhead_ms: float = 0.0,
        border_ms: float = 0.0,
    ) -> None:
        self.options = tuple(options)
        self._infos = tuple(layer_infos)
        self._latency_of = latency_of
        self._overhead_ms, self._border_ms = overhead_ms, border_ms
        touched = [{member.layer for member in entry.group.members} for entry in self.options]
        self._groups_of = {
            info.name: [number for number, layers in enumerate(touched) if info.name in layers]
            for info in self._infos
        }
        self._known: dict[tuple[str, Choice], Latencies] = {}

    def latency_ms(self, choice: Choice) -> float:
        """Gives the latency of the whole model under a choice."""
        latencies = [self._layer_ms(info, choice) for info in self._infos]
        return self._overhead_ms + fastest_formats(latencies, self._border_ms)[0]

    def _layer_ms(self, info: LayerInfo, choice: Choice) -> Latencies:
        numbers = self._groups_of[info.name]
        key = info.name, tuple(choice[number] for number in numbers)
        if key not in self._known:
            groups = [self.options[number].group for number in numbers]
            removed = [self.options[number].removed[choice[number]] for number in numbers]
            (smaller,) = narrowed([info], groups, removed)
            self._known[key] = self._latency_of(smaller)
        return self._known[key]

    def choose(self, limit_ms: float) -> Choice:
        """Chooses widths that meet a latency.

        Args:
            limit_ms: The latency.

        Returns:
            An option for each group.

        Raises:
            InfeasibleBudgetError: If the narrowest widths do not meet it.
        """
        narrowest = tuple(len(entry.removed) - 1 for entry in self.options)
        least_ms = min(self.latency_ms(narrowest), self.latency_ms((0,) * len(self.options)))
        choice = (0,) * len(self.options)
        while self.latency_ms(choice) > limit_ms:
            better = self._best_step(choice, self.latency_ms(choice) - limit_ms)
            if better is None and choice != narrowest:
                better = narrowest  # only several steps together save anything
            if better is None:
                raise InfeasibleBudgetError(
                    f"The budget cannot be reached: the smallest latency_ms is {least_ms:,.6g}, "
                    "with an eighth of the channels where they can go. "
                    f"Received: latency_ms={limit_ms:,.6g}. Allow at least {least_ms:,.6g}.",
                    smallest={"latency_ms": least_ms},
                )
            choice = better
        return self._given_back(choice, limit_ms)

    def _best_step(self, choice: Choice, excess_ms: float) -> Choice | None:
        """The removal that saves the most of what is too much for the damage it adds."""
        now_ms, best, best_worth = self.latency_ms(choice), None, 0.0
        for number, entry in enumerate(self.options):
            for option in range(choice[number] + 1, len(entry.removed)):
                tried = _with(choice, number, option)
                saved_ms = min(now_ms - self.latency_ms(tried), excess_ms)
                added = entry.damage[option] - entry.damage[choice[number]]
                worth = saved_ms / max(added, _LEAST_DAMAGE)
                if saved_ms > 0.0 and worth > best_worth:
                    best, best_worth = tried, worth
        return best

    def _given_back(self, choice: Choice, limit_ms: float) -> Choice:
        """Lets channels stay that need not go, those of the largest damage first."""
        damages = [entry.damage[o] for entry, o in zip(self.options, choice, strict=True)]
        for number in sorted(range(len(choice)), key=lambda n: -damages[n]):
            for option in range(choice[number]):
                tried = _with(choice, number, option)
                if self.latency_ms(tried) <= limit_ms:
                    choice = tried
                    break
        return choice


def _with(choice: Choice, number: int, option: int) -> Choice:
    return (*choice[:number], option, *choice[number + 1 :])

"""The channels of a model: who makes them, who reads them, which can only go together."""

from tf_metacompress.anatomy.channels.graph import has_graph
from tf_metacompress.anatomy.channels.groups import (
    ChannelGraph,
    Cut,
    channel_groups,
    read_channels,
)

__all__ = ["ChannelGraph", "Cut", "channel_groups", "has_graph", "read_channels"]

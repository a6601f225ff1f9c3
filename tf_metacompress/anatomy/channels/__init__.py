"""The channels of a model: who makes them, who reads them, which can only go together."""

from tf_metacompress.anatomy.channels.graph import has_graph
from tf_metacompress.anatomy.channels.groups import (
    ChannelGraph,
    Cut,
    channel_groups,
    read_channels,
)
from tf_metacompress.anatomy.channels.walk import OUTPUT_REASON

__all__ = ["OUTPUT_REASON", "ChannelGraph", "Cut", "channel_groups", "has_graph", "read_channels"]

"""Learning what to do to each layer: Φ, its adaptation, and its meta-training."""

from tf_metacompress.meta.compressor import Adaptation, MetaCompressor
from tf_metacompress.meta.inner_loop import InnerLoop
from tf_metacompress.meta.maml import MetaState, meta_gradient

__all__ = ["Adaptation", "InnerLoop", "MetaCompressor", "MetaState", "meta_gradient"]

"""First-order MAML: the inner gradients count as constants."""

from tf_metacompress.meta.learners.maml import MAML


class FirstOrderMAML(MAML):
    """MAML without second derivatives: cheaper, and right for any layer.

    Paper: Finn, Abbeel, Levine 2017, arXiv:1703.03400, section 5.2.

    Args:
        model: A built Keras 3 model; see `MetaLearner`.
        options: What MAML++ adds.
        **kwargs: Passed to `MetaLearner`.
    """

    needs_second_order = False

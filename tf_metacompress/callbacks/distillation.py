"""A teacher for the length of one `fit`."""

from typing import Any

import keras
import tensorflow as tf

from tf_metacompress.anatomy import check_keras_model, gives_probabilities
from tf_metacompress.distillation import as_logits, softened_divergence
from tf_metacompress.errors import check_positive, invalid


def _check_outputs(answers: Any, predictions: Any) -> None:
    shapes = [getattr(outputs, "shape", type(outputs)) for outputs in (answers, predictions)]
    if not tf.is_tensor(predictions) or list(shapes[0]) != list(shapes[1]):
        raise invalid(
            "Teacher and model must each have one output, with the same classes.",
            teacher=shapes[0],
            model=shapes[1],
        )


class Distillation(keras.callbacks.Callback):
    """Trains a classifier on what another one answers, beside its own loss, in a plain `fit`.

    The loss becomes (1 − alpha) · own + alpha · T² · KL(teacher ‖ student), both softened by the
    temperature; penalties such as weight decay keep their full weight. Validation and `evaluate`
    report the own loss. Works together with `MetaCompress`, in any order, and with students of
    `compress`. The inputs are shown to the teacher as they come, augmented or unlabelled too: with
    `alpha=1` labels do not matter.

    Paper: Hinton, Vinyals and Dean 2015, arXiv:1503.02531.

    Training that is interrupted leaves the teacher in place; `detach` takes it away.

    Args:
        teacher: A trained classifier with the inputs and classes of the model; it is not changed.
            Pass a copy if it is the model itself that is compressed.
        temperature: Softness of the answers, above 0.
        alpha: Share of the teacher in the loss, in (0, 1].

    Raises:
        ArgumentTypeError: If `teacher` is not a Keras model.
        InvalidArgumentError: If a number is out of range; when training begins, if the model shares
            weights with the teacher or has other outputs.

    Example:
        >>> teacher = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model = keras.models.clone_model(teacher)
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.ones((8, 4), np.float32), np.zeros(8)
        >>> _ = model.fit(x, y, callbacks=[Distillation(teacher)], verbose=0)
    """

    def __init__(self, teacher: keras.Model, temperature: float = 4.0, alpha: float = 0.9) -> None:
        super().__init__()
        check_keras_model(teacher, "teacher")
        self.teacher = teacher
        self.temperature = check_positive("temperature", temperature)
        self.alpha = check_positive("alpha", alpha)
        if self.alpha > 1.0:
            raise invalid("`alpha` must be at most 1.", alpha=alpha)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the teacher into the loss."""
        self._check_not_shared()
        model, teacher = self.model, self.teacher
        own_loss = model.compute_loss
        soft = gives_probabilities(getattr(model, "network", model))
        teacher_soft = gives_probabilities(teacher)

        def compute_loss(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> tf.Tensor:
            own = own_loss(x, y, y_pred, sample_weight, training)
            if not training:
                return own
            answers = teacher(x, training=False)
            _check_outputs(answers, y_pred)
            each = softened_divergence(
                as_logits(answers, probabilities=teacher_soft),
                as_logits(y_pred, probabilities=soft),
                self.temperature,
            )
            if sample_weight is not None:
                each = each * tf.cast(sample_weight, each.dtype)
            penalties = tf.add_n(model.losses) if model.losses else 0.0
            taught = tf.cast(tf.reduce_mean(each), own.dtype)
            return penalties + (1.0 - self.alpha) * (own - penalties) + self.alpha * taught

        model.compute_loss = compute_loss
        model.make_train_function(force=True)

    def _check_not_shared(self) -> None:
        weights = {id(weight) for weight in self.teacher.weights}
        if any(id(weight) in weights for weight in self.model.weights):
            raise invalid(
                "The teacher must not share weights with the model that learns from it.",
                "Give the callback a copy of the teacher.",
                teacher=self.teacher.name,
                model=self.model.name,
            )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the teacher out of the loss."""
        self.detach()

    def detach(self) -> None:
        """Gives the model its own loss back."""
        if "compute_loss" in vars(self.model):
            del self.model.compute_loss
            self.model.make_train_function(force=True)

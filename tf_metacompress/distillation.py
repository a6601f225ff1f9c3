"""The loss of knowledge distillation: how far a student's softened answers are from a teacher's.

Paper: Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network",
arXiv:1503.02531.
"""

import tensorflow as tf

_LEAST_PROBABILITY = 1e-7


def as_logits(outputs: tf.Tensor, *, probabilities: bool) -> tf.Tensor:
    """Gives the outputs of a classifier as logits.

    Args:
        outputs: Logits, or probabilities.
        probabilities: Whether they are probabilities. Their logarithms are logits, up to a constant
            of each example that softmax does not see.

    Returns:
        Logits in float32, or in float64 where the outputs are.
    """
    outputs = tf.convert_to_tensor(outputs)
    if outputs.dtype != tf.float64:
        outputs = tf.cast(outputs, tf.float32)
    return tf.math.log(tf.maximum(outputs, _LEAST_PROBABILITY)) if probabilities else outputs


def softened_divergence(
    teacher_logits: tf.Tensor, student_logits: tf.Tensor, temperature: float
) -> tf.Tensor:
    """Divergence of the student's softened probabilities from the teacher's, times T².

    T² · KL(softmax(teacher / T) ‖ softmax(student / T)); the factor keeps the size of the gradient
    as the temperature changes. Paper: arXiv:1503.02531. No gradient goes to the teacher.

    Args:
        teacher_logits: Shape (..., classes).
        student_logits: The same shape.
        temperature: T, above 0; higher shows more of what the teacher holds for unlikely.

    Returns:
        One number an example, shape (...).

    Example:
        >>> same = tf.constant([[1.0, 3.0]])
        >>> softened_divergence(same, same, temperature=2.0).numpy()
        array([0.], dtype=float32)
    """
    teacher = tf.nn.log_softmax(tf.stop_gradient(teacher_logits) / temperature)
    student = tf.nn.log_softmax(student_logits / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)

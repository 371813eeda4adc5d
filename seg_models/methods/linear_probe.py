"""The linear probe beside a method without labels: what classes can be read from its code."""

import keras
import tensorflow as tf

from network.common import replicas
from network.stego import probes
from network.stego.head import uniform_initializer


class LinearProbe:
  """A linear classifier of codes, of which the codes learn nothing.

  Create it under the distribution strategy's scope.

  Args:
    dim: D of the code.
    num_classes: K.
    seed: int >= 0, of the initial weights (`network.stego.head.uniform_initializer`).
  """

  def __init__(self, dim, num_classes, seed):
    initial = uniform_initializer('linear_probe', dim, seed)
    self.kernel = keras.Variable(
        initial['kernel_initializer']([dim, num_classes]), dtype='float32', name='kernel')
    self.bias = keras.Variable(
        initial['bias_initializer']([num_classes]), dtype='float32', name='bias')

  def variables(self):
    """Name -> Keras variable."""
    return {'linear_probe/kernel': self.kernel, 'linear_probe/bias': self.bias}

  def loss(self, code, labels):
    """Mean cross-entropy over the labelled pixels of all replicas; called in replica context.

    Args:
      code: float [B, h, w, D]; no gradient.
      labels: int32 [B, H, W]; logits are interpolated to their size; labels outside [0, K) do not
        count.

    Returns:
      loss: float32 scalar; the replicas' losses sum to the mean over the joined batch. 0 with zero
        gradient where nothing is labelled.
      metrics: as of `utils.train_step.StepOutput`.
    """
    logits = probes.linear_logits(tf.stop_gradient(code), self.kernel, self.bias)
    total, count = probes.linear_loss(logits, labels)
    loss = tf.math.divide_no_nan(total, replicas.sum_over_replicas(count))
    return loss, {'linear_loss': (total, count)}

  def log_probs(self, code):
    """Log-probabilities of classes: codes [..., D] -> float32 [..., K]."""
    return tf.nn.log_softmax(probes.linear_logits(code, self.kernel, self.bias))

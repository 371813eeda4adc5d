"""Batch normalisation, the same on one device and on several.

Source: Ioffe and Szegedy, ICML 2015; specs/segsort.md, section 2.
"""

import keras
import tensorflow as tf

from network.common import replicas


class BatchNorm(keras.layers.Layer):
  """Batch normalisation over all axes but the last, with TensorFlow's fused kernels.

  Maps float [..., C] to the same shape and dtype. The moving variance is that of the batch itself
  (divided by n, as in the original), not the estimate divided by n - 1 that the fused kernel
  returns. All statistics are float32 under every precision policy; the moving ones take no
  gradient.

  Args:
    decay: of the moving statistics, moving = decay * moving + (1 - decay) * batch.
    epsilon: added to the variance.
    synchronized: the statistics are those of all replicas' inputs joined; these must be equally
      large, and the layer must be called in replica context.
    frozen: moving statistics are used in training too, nothing is updated, and gamma and beta are
      not trained (the original's --use_global_status).
  """

  def __init__(self, decay=0.9997, epsilon=1e-3, synchronized=False, frozen=False, **kwargs):
    super().__init__(**kwargs)
    self.decay = decay
    self.epsilon = epsilon
    self.synchronized = synchronized
    self.frozen = frozen

  def build(self, input_shape):
    # Synchronized statistics are the same on every replica: there is nothing to send once more.
    aggregation = 'none' if self.synchronized else 'mean'

    def weight(name, initializer, trainable):
      return self.add_weight(
          name=name, shape=[input_shape[-1]], dtype='float32', initializer=initializer,
          trainable=trainable, autocast=False, aggregation=aggregation)
    self.gamma = weight('gamma', 'ones', not self.frozen)
    self.beta = weight('beta', 'zeros', not self.frozen)
    self.moving_mean = weight('moving_mean', 'zeros', False)
    self.moving_variance = weight('moving_variance', 'ones', False)

  def compute_output_shape(self, input_shape):
    return input_shape

  def call(self, inputs, training=False):
    if not training or self.frozen:
      return self._normalize(inputs, self.moving_mean, self.moving_variance)
    if self.synchronized and replicas.num_replicas() > 1:
      mean, variance = self._joint_moments(inputs)
      outputs = self._normalize(inputs, mean, variance)
    else:
      outputs, mean, variance = self._fused(inputs)
    self._move(self.moving_mean, mean)
    self._move(self.moving_variance, variance)
    return outputs

  def _fused(self, inputs):
    flat = tf.reshape(inputs, [tf.shape(inputs)[0], -1, 1, inputs.shape[-1]])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=flat, scale=tf.convert_to_tensor(self.gamma), offset=tf.convert_to_tensor(self.beta),
        mean=tf.zeros([0]), variance=tf.zeros([0]), epsilon=self.epsilon, is_training=True)
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    outputs = tf.ensure_shape(tf.reshape(outputs, tf.shape(inputs)), inputs.shape)
    return outputs, mean, variance * ((count - 1.0) / count)

  def _normalize(self, inputs, mean, variance):
    scale = tf.convert_to_tensor(self.gamma) * tf.math.rsqrt(
        tf.convert_to_tensor(variance) + self.epsilon)
    offset = tf.convert_to_tensor(self.beta) - tf.convert_to_tensor(mean) * scale
    return tf.cast(tf.cast(inputs, tf.float32) * scale + offset, inputs.dtype)

  def _joint_moments(self, inputs):
    """Mean and variance of all replicas' inputs, joined from those of each (Chan et al., 1979).

    Of centred values only: E[x^2] - E[x]^2 would lose what a small variance has.
    """
    inputs = tf.cast(inputs, tf.float32)
    moments = tf.nn.moments(inputs, list(range(len(inputs.shape) - 1)))
    means, variances = tf.unstack(replicas.gather_rows(tf.stack(moments)[tf.newaxis]), axis=1)
    mean = tf.reduce_mean(means, 0)
    return mean, tf.reduce_mean(variances + tf.square(means - mean), 0)

  def _move(self, variable, value):
    value = tf.stop_gradient(value)
    variable.assign(self.decay * tf.convert_to_tensor(variable) + (1.0 - self.decay) * value)

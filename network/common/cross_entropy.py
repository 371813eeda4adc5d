"""Cross-entropy of pixels."""

import tensorflow as tf


def cross_entropy(logits, labels, class_weights=None):
  """Softmax cross-entropy, summed over the pixels that count.

  Args:
    logits: float [B, h, w, C]; compared in float32.
    labels: int32 [B, h, w]; pixels outside [0, C) do not count.
    class_weights: None for 1, or float [C], how much a pixel of each class counts.

  Returns:
    total: float32 scalar, the sum of weight * loss over the pixels.
    weight: float32 scalar, the sum of weights; total / weight is the mean. No gradient.
  """
  num_classes = logits.shape[-1]
  counted = (labels >= 0) & (labels < num_classes)
  labels = tf.where(counted, labels, 0)
  weights = tf.cast(counted, tf.float32)
  if class_weights is not None:
    weights *= tf.gather(tf.constant(class_weights, tf.float32), labels)
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
      labels=labels, logits=tf.cast(logits, tf.float32))
  return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)

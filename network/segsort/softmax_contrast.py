"""The unsupervised loss's contrast, for TensorFlow's own kernels.

Each pixel has one positive prototype, its own, and the sum over all prototypes is what it is
compared with, so that nothing has to be masked. XLA needs static shapes:
`network.segsort.blocked_contrast`.

Source: SegSort (Hwang et al., ICCV 2019), section 3.4; specs/segsort.md, section 2.
"""

import tensorflow as tf

from network.segsort.sorted_contrast import (
  PART,
  SAFE_CONCENTRATION,
  log_sum_exp,
  places_of,
)


def softmax_contrast(embedding, own_index, prototypes, valid, concentration):
  """The unsupervised loss of each pixel, see `network.segsort.losses.unsupervised_segsort_loss`.

  Args:
    embedding: float32 [M, D] of unit length.
    own_index: int32 [M] in [0, P); pixels with a negative one, or one that is not valid, do not
      count.
    prototypes: float32 [P, D] of unit length.
    valid: bool [P].
    concentration: kappa, a positive float.

  Returns:
    float32 [M], 0 for pixels that do not count.
  """
  shifted = concentration > SAFE_CONCENTRATION
  order = places_of(valid)
  own_index = tf.where(
      (own_index >= 0) & tf.gather(valid, tf.maximum(own_index, 0)), own_index, -1)
  counted = own_index >= 0
  pixels = places_of(counted)
  own = tf.gather(own_index, pixels)
  count = tf.size(pixels)
  # Where each pixel is among those that count; the last place is for the others.
  slots = tf.where(counted, tf.cumsum(tf.cast(counted, tf.int32)) - 1, count)
  dim = embedding.shape[-1]

  def of_all(values):
    """Values of the pixels that count [n, ...] as values of all [M, ...], 0 for the others."""
    return tf.gather(tf.pad(values, [[0, 1], [0, 0]][:len(values.shape)]), slots)

  def loop(function, total):
    """Calls function(begin, end) -> [n, D + 1] or None, what is added to the total."""
    parts = tf.maximum(-(-count // PART), 1)
    values = tf.TensorArray(
        tf.float32, parts, infer_shape=False, element_shape=[None, dim + 1])

    def step(part, values, total):
      rows, more = function(part * PART, tf.minimum((part + 1) * PART, count))
      return part + 1, values if rows is None else values.write(part, rows), total + more

    _, values, total = tf.while_loop(
        lambda part, *_: part < parts, step, [tf.constant(0), values, total],
        parallel_iterations=1)
    return values, total

  @tf.custom_gradient
  def contrast(embedding, prototypes):
    rows = tf.gather(embedding, pixels)
    columns = concentration * tf.gather(prototypes, order)
    own_columns = concentration * tf.gather(prototypes, own)

    def forward(begin, end):
      part = rows[begin:end]
      logits = tf.matmul(part, columns, transpose_b=True)
      shares = tf.nn.softmax(logits)
      values = [tf.matmul(shares, columns), log_sum_exp(logits, shares, shifted)]
      return tf.concat(values, axis=1), tf.matmul(shares, part, transpose_a=True)

    values, total = loop(forward, tf.zeros_like(columns))
    values = values.concat()
    own_logits = tf.reduce_sum(rows * own_columns, axis=1)
    # An own prototype far ahead of all others: the difference may round below its bound.
    loss = of_all(tf.maximum(values[:, dim] - own_logits, 0.0))
    away = of_all(values[:, :dim] - own_columns)

    def gradient(upstream):
      weights = tf.gather(upstream, pixels)[:, tf.newaxis]

      def backward(begin, end):
        part = rows[begin:end]
        shares = tf.nn.softmax(tf.matmul(part, columns, transpose_b=True))
        return None, tf.matmul(shares, weights[begin:end] * part, transpose_a=True)

      first = tf.reduce_sum(weights[:1])
      for_columns = tf.cond(
          tf.reduce_all(weights == first), lambda: first * total,
          lambda: loop(backward, tf.zeros_like(total))[1])
      others = tf.scatter_nd(order[:, tf.newaxis], for_columns, tf.shape(prototypes))
      towards = tf.math.unsorted_segment_sum(weights * rows, own, tf.shape(prototypes)[0])
      return (upstream[:, tf.newaxis] * away, concentration * (others - towards))

    return loss, gradient

  return contrast(embedding, prototypes)

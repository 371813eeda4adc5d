"""Votes of segments at an image's pixels, from copies of the image at several scales."""

import tensorflow as tf


def _taps(length, target):
  """Where TF1's bilinear sampling takes its values: two places int32 [target], the second's weight.

  See `network.common.layers.resize_bilinear_legacy`.
  """
  positions = tf.range(target, dtype=tf.float32) * (
      tf.cast(length, tf.float32) / tf.cast(target, tf.float32))
  first = tf.minimum(tf.cast(positions, tf.int32), length - 1)
  return first, tf.minimum(first + 1, length - 1), positions - tf.floor(positions)


def add_votes(total, segments, votes):
  """Adds the votes of a scaled copy's segments, brought to the image's size bilinearly.

  It is total + resize_bilinear_legacy(gather(votes, segments), [H, W]). All pixels of a segment
  have the same votes, so that only at the borders of segments there is anything to interpolate.

  Args:
    total: float32 [B, H, W, C].
    segments: int32 [B, h, w] in [0, S).
    votes: float32 [B, S, C].

  Returns:
    float32 [B, H, W, C].
  """
  shape = tf.shape(total)
  batch, number, classes = shape[0], tf.shape(votes)[1], votes.shape[-1]
  votes = tf.reshape(votes, [-1, classes])
  segments = segments + number * tf.range(batch)[:, tf.newaxis, tf.newaxis]
  size = tf.shape(segments)[1:]
  top, bottom, down = _taps(size[0], shape[1])
  left, right, across = _taps(size[1], shape[2])
  corners = [tf.reshape(tf.gather(tf.gather(segments, rows, axis=1), columns, axis=2), [-1])
             for rows in (top, bottom) for columns in (left, right)]
  weights = [rows[:, tf.newaxis] * columns
             for rows in (1.0 - down, down) for columns in (1.0 - across, across)]
  first, *others = corners
  sums = tf.reshape(total, [-1, classes]) + tf.gather(votes, first)

  border = tf.cast(tf.where((others[0] != first) | (others[1] != first) | (others[2] != first)),
                   tf.int32)
  place = border[:, 0] % (shape[1] * shape[2])
  first = tf.gather(votes, tf.gather(first, border[:, 0]))
  change = tf.add_n([
      tf.gather(tf.reshape(weight, [-1]), place)[:, tf.newaxis]
      * (tf.gather(votes, tf.gather(corner, border[:, 0])) - first)
      for corner, weight in zip(others, weights[1:], strict=True)])
  return tf.reshape(tf.tensor_scatter_nd_add(sums, border, change), shape)

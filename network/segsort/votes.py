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
  votes, number_of_all = tf.reshape(votes, [-1, classes]), batch * number
  segments += number * tf.range(batch)[:, tf.newaxis, tf.newaxis]
  size = tf.shape(segments)[1:]
  top, bottom, down = _taps(size[0], shape[1])
  left, right, across = _taps(size[1], shape[2])

  # The places of the copy that do not begin 2x2 equal ones. One number says this and the segment,
  # so that all pixels of the image are looked up once, and those at borders are few.
  below = tf.concat([segments[:, 1:], segments[:, -1:]], axis=1)
  beside = tf.concat([segments[:, :, 1:], segments[:, :, -1:]], axis=2)
  across_below = tf.concat([beside[:, 1:], beside[:, -1:]], axis=1)
  differs = (segments != below) | (segments != beside) | (segments != across_below)
  codes = tf.reshape(tf.where(differs, segments + number_of_all, segments), [-1])
  image = size[0] * size[1] * tf.range(batch)[:, tf.newaxis, tf.newaxis]

  def places(rows, columns):
    return tf.reshape(image + (size[1] * rows)[:, tf.newaxis] + columns, [-1])

  codes = tf.gather(codes, places(top, left))
  border = tf.cast(tf.where(codes >= number_of_all)[:, 0], tf.int32)
  of_image, pixel = border // (shape[1] * shape[2]), border % (shape[1] * shape[2])
  row, column = pixel // shape[2], pixel % shape[2]
  down, across = tf.gather(down, row), tf.gather(across, column)
  flat = tf.reshape(segments, [-1])

  def part(rows, columns, weight):
    place = (of_image * size[0] + tf.gather(rows, row)) * size[1] + tf.gather(columns, column)
    return weight[:, tf.newaxis] * tf.gather(votes, tf.gather(flat, place))

  mixed = tf.add_n([
      part(top, left, (1.0 - down) * (1.0 - across)), part(top, right, (1.0 - down) * across),
      part(bottom, left, down * (1.0 - across)), part(bottom, right, down * across)])
  # Each pixel at a border has votes of its own, behind those of the segments.
  codes = tf.tensor_scatter_nd_update(
      codes, border[:, tf.newaxis], number_of_all + tf.range(tf.size(border)))
  return total + tf.reshape(tf.gather(tf.concat([votes, mixed], axis=0), codes), shape)

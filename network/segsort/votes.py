"""Votes of segments at an image's pixels, from copies of the image at several scales."""

from typing import NamedTuple

import tensorflow as tf


class PixelVotes(NamedTuple):
  """The votes at each pixel of images; few pixels have some that the one before has not.

  rows: float32 [R, C], R at most the number of pixels.
  places: int32 [B, H, W] in [0, R), where each pixel's votes are.
  """
  rows: tf.Tensor
  places: tf.Tensor


def _taps(length, target):
  """Where TF1's bilinear sampling takes its values: two places int32 [target], the second's weight.

  The second place is the first one where it has no weight. See
  `network.common.layers.resize_bilinear_legacy`.
  """
  positions = tf.range(target, dtype=tf.float32) * (
      tf.cast(length, tf.float32) / tf.cast(target, tf.float32))
  first = tf.minimum(tf.cast(positions, tf.int32), length - 1)
  weight = positions - tf.floor(positions)
  return first, tf.where(weight > 0.0, tf.minimum(first + 1, length - 1), first), weight


def _look_up(values, places):
  """What `tf.gather` does, faster where each value is one number: [n], int32 -> like places."""
  return tf.gather_nd(values, places[..., tf.newaxis])


class _Copy:
  """One copy's votes at an image's pixels, which are numbered column by column.

  Args:
    segments, votes: see `sum_votes`.
    height, width: of the image.

  Attributes:
    states: int32 [B * W * H]: the number of the pixel's votes where it lies within equal ones, and
      otherwise `border`.
    border: int32 scalar.
  """

  def __init__(self, segments, votes, height, width):
    batch, number, classes = tf.shape(votes)[0], tf.shape(votes)[1], votes.shape[-1]
    self._votes, self._size = tf.reshape(votes, [-1, classes]), (height, width)
    self._segments = segments + number * tf.range(batch)[:, tf.newaxis, tf.newaxis]
    self._rows = _taps(tf.shape(segments)[1], height)
    self._columns = _taps(tf.shape(segments)[2], width)
    self.border = batch * number

    def sampled(values, taps):
      """Whole lines are taken, which is fast; the single elements of lines would not be."""
      one, other = (tf.gather(values, places, axis=1) for places in taps[:2])
      return tf.where(one == other, one, self.border)

    lines = tf.transpose(sampled(self._segments, self._rows), [0, 2, 1])
    self.states = tf.reshape(sampled(lines, self._columns), [-1])

  def votes_at(self, pixels):
    """Votes float32 [n, C] of pixels int32 [n] of the batch, interpolated at borders."""
    states = _look_up(self.states, pixels)
    at_border = tf.cast(tf.where(states == self.border)[:, 0], tf.int32)
    height, width = self._size
    pixels = tf.gather(pixels, at_border)
    row, line = pixels % height, pixels // height
    column, image = line % width, line // width
    top, bottom, down = (tf.gather(values, row) for values in self._rows)
    left, right, across = (tf.gather(values, column) for values in self._columns)

    def part(row, column, weight):
      segment = tf.gather_nd(self._segments, tf.stack([image, row, column], axis=1))
      return weight[:, tf.newaxis] * tf.gather(self._votes, segment)

    mixed = tf.add_n([
        part(top, left, (1.0 - down) * (1.0 - across)), part(top, right, (1.0 - down) * across),
        part(bottom, left, down * (1.0 - across)), part(bottom, right, down * across)])
    # Each pixel at a border has votes of its own, behind those of the segments.
    states = tf.tensor_scatter_nd_update(
        states, at_border[:, tf.newaxis], self.border + tf.range(tf.size(at_border)))
    return tf.gather(tf.concat([self._votes, mixed], axis=0), states)


def sum_votes(copies, height, width):
  """The sum of the votes of scaled copies' segments, each brought to the image's size bilinearly.

  It is the sum of resize_bilinear_legacy(gather(votes, segments), [height, width]). What a pixel
  has is looked up and added only where it differs from the pixel before: between the borders of
  segments all is the same.

  Args:
    copies: list of (segments int32 [B, h, w] in [0, S), votes float32 [B, S, C]), h, w and S being
      each copy's own.
    height, width: of the image.

  Returns:
    `PixelVotes`.
  """
  batch = tf.shape(copies[0][0])[0]
  copies = [_Copy(*copy, height, width) for copy in copies]

  def differs(copy):
    """Whether pixels, from the second on, need not have the votes of the one before."""
    return (copy.states[1:] != copy.states[:-1]) | (copy.states[1:] == copy.border)

  begins = differs(copies[0])
  for copy in copies[1:]:
    begins |= differs(copy)
  begins = tf.concat([tf.ones([1], tf.bool), begins], axis=0)
  pixels = tf.cast(tf.where(begins)[:, 0], tf.int32)
  places = tf.cumsum(tf.cast(begins, tf.int32)) - 1
  return PixelVotes(
      tf.add_n([copy.votes_at(pixels) for copy in copies]),
      tf.transpose(tf.reshape(places, [batch, width, height]), [0, 2, 1]))

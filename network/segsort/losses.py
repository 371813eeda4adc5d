"""The von Mises-Fisher losses of SegSort, supervised and unsupervised.

Source: SegSort (Hwang et al., ICCV 2019), equations 4 to 6; specs/segsort.md, section 2.

A pixel's embedding meets a set of prototypes. The label of its own one makes some of them positive
and the rest negative, and its loss is

  -log(sum over positives / sum over positives and negatives) of exp(concentration * cosine)

All is computed in log space and in float32, of the prototypes that there are and a part of the
pixels or of the prototypes at a time: [pixels, prototypes] numbers are never held.
"""

from typing import NamedTuple

import tensorflow as tf

from network.segsort.blocked_contrast import blocked_contrast
from network.segsort.compilation import inside_xla
from network.segsort.prototypes import compact
from network.segsort.softmax_contrast import softmax_contrast
from network.segsort.sorted_contrast import class_contrast, group_by_class


class SegSortLoss(NamedTuple):
  """Values of each pixel; the reduction is the caller's, see `mean_over_valid`.

  per_pixel: float32 [M], the loss, 0 where not valid. Carries the gradient.
  valid: float32 [M], 1 for pixels that have a prototype, otherwise 0.
  positive_similarity: float32 [M] in [-1, 1], mean cosine to the positive prototypes, 0 where not
    valid; no gradient.
  negative_similarity: float32 [M] in [-1, 1], mean cosine to the negative prototypes, 0 where
    there is none or not valid; no gradient.
  """
  per_pixel: tf.Tensor
  valid: tf.Tensor
  positive_similarity: tf.Tensor
  negative_similarity: tf.Tensor


def mean_over_valid(values, valid):
  """Mean over the valid pixels: float32 scalar; 0 with zero gradient when there is none."""
  return tf.reduce_sum(values * valid) / tf.maximum(tf.reduce_sum(valid), 1.0)


def supervised_segsort_loss(embedding, own_index, prototypes, labels, valid, concentration,
                            memory=None, block_size=128):
  """The supervised loss: pixels against prototypes of their own and of other classes.

  Positive are the prototypes of the pixel's class but its own; where there is no other one, its
  own. Negative are those of other classes.

  Args:
    embedding: float [M, D] of unit length.
    own_index: int32 [M] in [0, P), the pixel's own prototype, whose label is the pixel's; pixels
      with a negative index do not count.
    prototypes: float [P, D] of unit length; the gradient flows through. They may have been gathered
      from several replicas.
    labels: int32 [P].
    valid: bool [P]; the others do not count, nor do pixels of theirs.
    concentration: kappa, a positive number.
    memory: None, or (prototypes [Q, D], labels [Q], valid [Q]), further prototypes without
      gradient.
    block_size: prototypes that are compared at a time under XLA; changes nothing but memory and
      time.

  Returns:
    `SegSortLoss`.

  Deviates from the original: it subtracts the own prototype's term from the sum over its class and
  takes the log of a ratio, in float32 without a bound, which overflows from concentration 89.
  """
  embedding, prototypes = tf.cast(embedding, tf.float32), tf.cast(prototypes, tf.float32)
  if memory is None:
    memory = tf.zeros_like(prototypes[:0]), labels[:0], valid[:0]
  remembered = tf.stop_gradient(tf.cast(memory[0], tf.float32))
  if not inside_xla():
    groups = group_by_class(own_index, labels, valid, *memory[1:])
    per_pixel = class_contrast(embedding, prototypes, remembered, groups, concentration)
    prototypes, labels = (
        tf.concat([tf.gather(new, groups.order), tf.gather(old, groups.memory_order)], axis=0)
        for new, old in ((prototypes, remembered), (labels, memory[1])))
    means = _means(prototypes, labels, tf.ones_like(labels, tf.bool))[1:]
    rows = tf.gather(embedding, groups.pixels)

    def of_all(values):
      return tf.gather(tf.concat([values, [0.0]], axis=0), groups.slots)

    return SegSortLoss(per_pixel, of_all(tf.ones_like(rows[:, 0])),
                       *(of_all(_mean_cosine(rows, groups.own, mean)) for mean in means))
  prototypes, labels, valid = (
      tf.concat(both, axis=0)
      for both in zip((prototypes, labels, valid), (remembered, *memory[1:]), strict=True))
  # The gradient that comes back is one of rows. A concat would sort those out by tf.where, whose
  # shape is dynamic; a reshape makes it an array.
  prototypes = tf.reshape(prototypes, [-1, prototypes.shape[-1]])
  return _blocked_loss(embedding, own_index, prototypes, labels, valid, concentration, block_size)


def unsupervised_segsort_loss(embedding, own_index, prototypes, valid, concentration,
                              block_size=128):
  """The unsupervised loss: pixels against their own segment and all others of the batch.

  Args:
    embedding: float [M, D] of unit length.
    own_index: int32 [M] in [0, P), the pixel's segment, the only positive one; pixels with a
      negative index (padding) do not count.
    prototypes: float [P, D] of unit length; the gradient flows through.
    valid: bool [P]; the others do not count.
    concentration: kappa, a positive number.
    block_size: prototypes that are compared at a time under XLA; changes nothing but memory and
      time.

  Returns:
    `SegSortLoss`.

  Deviates from the original: padding does not count, where it is a segment of its own there.
  """
  embedding, prototypes = tf.cast(embedding, tf.float32), tf.cast(prototypes, tf.float32)
  if not inside_xla():
    per_pixel = softmax_contrast(embedding, own_index, prototypes, valid, concentration)
    own_index = tf.where(tf.gather(valid, tf.maximum(own_index, 0)), own_index, -1)
    fixed = tf.stop_gradient(tf.where(tf.convert_to_tensor(valid)[:, tf.newaxis], prototypes, 0.0))
    others = tf.reduce_sum(tf.cast(valid, tf.float32)) - 1.0
    negative = tf.math.divide_no_nan(tf.reduce_sum(fixed, axis=0) - fixed, others)
    return _result(embedding, own_index, per_pixel, (fixed, negative))
  labels = tf.range(tf.shape(prototypes)[0])
  return _blocked_loss(embedding, own_index, prototypes, labels, valid, concentration, block_size)


def _blocked_loss(embedding, own_index, prototypes, labels, valid, concentration, block_size):
  """Either loss with static shapes: positive are the prototypes with the label of the own one."""
  # Prototypes that exist come first, so that the blocks after them need not be computed at all.
  size = prototypes.shape[0]
  size = tf.shape(prototypes)[0] if size is None else size
  num_blocks = -(-size // block_size)
  rank, index, filled = compact(valid, num_blocks * block_size)
  prototypes = tf.where(filled[:, tf.newaxis], tf.gather(prototypes, index), 0.0)
  labels = tf.gather(labels, index)
  own_index = tf.where(own_index >= 0, tf.gather(rank, tf.maximum(own_index, 0)), -1)
  alone, *means = _means(prototypes, labels, filled)
  per_pixel = blocked_contrast(concentration, block_size)(
      embedding, prototypes, own_index, tf.gather(alone, tf.maximum(own_index, 0)), labels, filled)
  return _result(embedding, own_index, per_pixel, means)


def _result(embedding, own_index, per_pixel, means):
  """Adds the mean cosines, from the means [S, D] of each prototype's positives and negatives."""
  counted = own_index >= 0
  return SegSortLoss(per_pixel, tf.cast(counted, tf.float32), *(
      tf.where(counted, _mean_cosine(embedding, tf.maximum(own_index, 0), mean), 0.0)
      for mean in means))


def _mean_cosine(embedding, own_index, means):
  return tf.reduce_sum(tf.stop_gradient(embedding) * tf.gather(means, own_index), axis=-1)


def _means(prototypes, labels, filled):
  """What all pixels of a prototype have in common.

  Returns:
    alone: bool [S], the prototype is the only one with its label.
    positive, negative: float32 [S, D], the means of its positive and of its negative prototypes,
      zero where there are none; no gradient.
  """
  prototypes = tf.stop_gradient(prototypes)
  size = tf.size(labels)
  # Labels may be any numbers: equal ones are found by sorting, which needs no bound of them.
  order = tf.argsort(labels)
  sorted_labels = tf.gather(labels, order)
  new = tf.concat([tf.zeros_like(sorted_labels[:1], tf.bool),
                   sorted_labels[1:] != sorted_labels[:-1]], axis=0)
  # The argsort of a permutation inverts it; XLA fails on tf.math.invert_permutation of some.
  groups = tf.gather(tf.cumsum(tf.cast(new, tf.int32)), tf.argsort(order))
  ones = tf.cast(filled, tf.float32)[:, tf.newaxis]

  def of_group(values):
    return tf.gather(tf.math.unsorted_segment_sum(values, groups, size), groups)

  group_sum, group_count = of_group(prototypes), of_group(ones)
  alone = group_count <= 1.0
  positive = tf.where(
      alone, prototypes, tf.math.divide_no_nan(group_sum - prototypes, group_count - 1.0))
  negative = tf.math.divide_no_nan(
      tf.reduce_sum(prototypes, axis=0) - group_sum, tf.reduce_sum(ones) - group_count)
  return alone[:, 0], positive, negative

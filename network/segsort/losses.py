"""The von Mises-Fisher losses of SegSort, supervised and unsupervised.

Source: SegSort (Hwang et al., ICCV 2019), equations 4 to 6; specs/segsort.md, section 2.

A pixel's embedding meets a set of prototypes. The label of its own one makes some of them positive
and the rest negative, and its loss is

  -log(sum over positives / sum over positives and negatives) of exp(concentration * cosine)

All is computed in log space, in float32, and in blocks of prototypes, so that neither memory nor
time is spent on places of the set that hold no prototype.
"""

from typing import NamedTuple

import tensorflow as tf

from network.segsort.prototypes import compact

# Up to this concentration, exp(concentration * (cosine - 1)) of unit vectors is no denormal number.
_SAFE_CONCENTRATION = 40.0
# Lower than every logit, and finite.
_NOTHING = -1e30


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
    block_size: prototypes that are compared at a time; changes nothing but memory and time.

  Returns:
    `SegSortLoss`.

  Deviates from the original: it subtracts the own prototype's term from the sum over its class and
  takes the log of a ratio, in float32 without a bound, which overflows from concentration 89.
  """
  prototypes = tf.cast(prototypes, tf.float32)
  if memory is not None:
    memory_prototypes, memory_labels, memory_valid = memory
    memory_prototypes = tf.stop_gradient(tf.cast(memory_prototypes, tf.float32))
    prototypes = tf.concat([prototypes, memory_prototypes], axis=0)
    # The gradient that comes back is one of rows. A concat would sort those out by tf.where, whose
    # shape is dynamic; a reshape makes it an array.
    prototypes = tf.reshape(prototypes, [-1, prototypes.shape[-1]])
    labels = tf.concat([labels, memory_labels], axis=0)
    valid = tf.concat([valid, memory_valid], axis=0)
  return _loss(embedding, own_index, prototypes, labels, valid, concentration, block_size)


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
    block_size: prototypes that are compared at a time; changes nothing but memory and time.

  Returns:
    `SegSortLoss`.

  Deviates from the original: padding does not count, where it is a segment of its own there.
  """
  labels = tf.range(tf.shape(prototypes)[0])
  return _loss(embedding, own_index, prototypes, labels, valid, concentration, block_size)


def _loss(embedding, own_index, prototypes, labels, valid, concentration, block_size):
  embedding = tf.cast(embedding, tf.float32)
  prototypes = tf.cast(prototypes, tf.float32)
  # Prototypes that exist come first, so that the blocks after them need not be computed at all.
  size = prototypes.shape[0]
  size = tf.shape(prototypes)[0] if size is None else size
  num_blocks = -(-size // block_size)
  rank, index, filled = compact(valid, num_blocks * block_size)
  prototypes = tf.where(filled[:, tf.newaxis], tf.gather(prototypes, index), 0.0)
  labels = tf.gather(labels, index)
  own_index = tf.where(own_index >= 0, tf.gather(rank, tf.maximum(own_index, 0)), -1)
  counted = own_index >= 0

  alone, positive_mean, negative_mean = _means(prototypes, labels, filled)
  own = tf.maximum(own_index, 0)
  alone = tf.gather(alone, own)
  per_pixel = _contrast(concentration, block_size)(
      embedding, prototypes, own_index, alone, labels, filled)

  def mean_cosine(means):
    cosine = tf.reduce_sum(tf.stop_gradient(embedding) * tf.gather(means, own), axis=-1)
    return tf.where(counted, cosine, 0.0)

  return SegSortLoss(per_pixel, tf.cast(counted, tf.float32),
                     mean_cosine(positive_mean), mean_cosine(negative_mean))


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
  new = tf.concat([[False], sorted_labels[1:] != sorted_labels[:-1]], axis=0)
  groups = tf.scatter_nd(order[:, tf.newaxis], tf.cumsum(tf.cast(new, tf.int32)), [size])
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


def _contrast(concentration, block_size):
  """The loss of each pixel, as a function with a gradient of its own.

  Only the two sums of each pixel are kept for the gradient, which computes the similarities anew,
  block by block: [M, P] numbers are never held.
  """
  def compare(embedding, prototypes, own_index, alone, labels, filled, own_labels, block):
    """One block: prototypes [block, D], logits [M, block], which are positive, negative."""
    start = block * block_size
    members = tf.slice(prototypes, [start, 0], [block_size, -1])
    labels = tf.slice(labels, [start], [block_size])
    filled = tf.slice(filled, [start], [block_size])
    logits = concentration * tf.matmul(embedding, members, transpose_b=True)
    same = own_labels[:, tf.newaxis] == labels
    others = own_index[:, tf.newaxis] != start + tf.range(block_size)
    positive = same & (others | alone[:, tf.newaxis]) & filled
    return members, logits, positive, ~same & filled

  def highest_logits(arguments, num_blocks):
    """What is subtracted from positive and from negative logits before exp, each [M, 1] or []."""
    if concentration <= _SAFE_CONCENTRATION:
      # Cosines are at most 1, and exp(-2 * concentration) is still a normal number.
      return tf.constant(float(concentration)), tf.constant(float(concentration))

    def highest(logits, mask):
      return tf.reduce_max(tf.where(mask, logits, _NOTHING), axis=1, keepdims=True)

    def add_block(block, highest_positive, highest_negative):
      _, logits, positive, negative = compare(*arguments, block)
      return (block + 1, tf.maximum(highest_positive, highest(logits, positive)),
              tf.maximum(highest_negative, highest(logits, negative)))

    nothing = tf.fill([tf.shape(arguments[0])[0], 1], _NOTHING)
    return tf.while_loop(lambda block, *_: block < num_blocks, add_block,
                         [tf.constant(0), nothing, nothing])[1:]

  @tf.custom_gradient
  def contrast(embedding, prototypes, own_index, alone, labels, filled):
    own_labels = tf.gather(labels, tf.maximum(own_index, 0))
    arguments = embedding, prototypes, own_index, alone, labels, filled, own_labels
    num_blocks = -(-tf.reduce_sum(tf.cast(filled, tf.int32)) // block_size)
    highest_positive, highest_negative = highest_logits(arguments, num_blocks)

    def terms(block):
      members, logits, positive, negative = compare(*arguments, block)
      values = tf.exp(logits - tf.where(positive, highest_positive, highest_negative))
      return members, values, positive, negative

    def add_to_sums(block, positive_sum, negative_sum):
      _, values, positive, negative = terms(block)
      return (block + 1,
              positive_sum + tf.reduce_sum(tf.where(positive, values, 0.0), 1, keepdims=True),
              negative_sum + tf.reduce_sum(tf.where(negative, values, 0.0), 1, keepdims=True))

    zero = tf.zeros([tf.shape(embedding)[0], 1])
    _, positive_sum, negative_sum = tf.while_loop(
        lambda block, *_: block < num_blocks, add_to_sums, [tf.constant(0), zero, zero])
    # The log of no negatives is minus infinity, which gives no loss.
    gap = (highest_negative + tf.math.log(negative_sum)) - (
        highest_positive + tf.math.log(positive_sum))
    counted = own_index >= 0
    loss = tf.where(counted, tf.nn.softplus(gap[:, 0]), 0.0)

    def gradient(upstream):
      scale = tf.where(
          counted[:, tf.newaxis], concentration * upstream[:, tf.newaxis] * tf.sigmoid(gap), 0.0)
      positive_scale = -tf.math.divide_no_nan(scale, positive_sum)
      negative_scale = tf.math.divide_no_nan(scale, negative_sum)

      def add_to_gradients(block, embedding_gradient, prototypes_gradient):
        members, values, positive, negative = terms(block)
        weights = tf.where(
            positive, positive_scale * values, tf.where(negative, negative_scale * values, 0.0))
        members_gradient = tf.matmul(weights, embedding, transpose_a=True)
        return (block + 1, embedding_gradient + tf.matmul(weights, members),
                tf.tensor_scatter_nd_update(
                    prototypes_gradient, [[block]], members_gradient[tf.newaxis]))

      shape = tf.shape(prototypes)
      blocks = tf.reshape(tf.zeros_like(prototypes), [-1, block_size, shape[1]])
      _, embedding_gradient, prototypes_gradient = tf.while_loop(
          lambda block, *_: block < num_blocks, add_to_gradients,
          [tf.constant(0), tf.zeros_like(embedding), blocks])
      return embedding_gradient, tf.reshape(prototypes_gradient, shape), None, None, None, None

    return loss, gradient

  return contrast

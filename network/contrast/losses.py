"""The pixel contrast loss: anchors drawn to their class and away from all others.

Source: Wang et al., "Exploring Cross-Image Pixel Contrast for Semantic Segmentation", ICCV 2021,
equation 3; specs/contrast.md, sections 1.5 and 1.6.

With s_ij the similarity of anchor i and key j over the temperature, and N_i the logsumexp of s_i
over the keys of other classes, a positive j costs log(exp(s_ij) + exp(N_i)) - s_ij, which is
softplus(N_i - s_ij): other positives are not in the denominator. An anchor's loss is the mean over
its positives, times temperature / base_temperature.
"""

from typing import NamedTuple

import tensorflow as tf

# Lower than every logit, and finite.
_NOTHING = -1e30
# Similarities that are held at a time when anchors are compared with a memory: 32 MiB of float32.
_BLOCK_ENTRIES = 2 ** 23


class ContrastLoss(NamedTuple):
  """Values of each anchor; the reduction is the caller's, see `mean_over_valid`.

  per_anchor: float32 [N] >= 0, 0 where not valid or without a negative. Carries the gradient.
  valid: float32 [N], 1 for anchors that have a positive, otherwise 0.
  positive_similarity: float32 [N], mean inner product with the positives, a cosine for unit
    vectors; 0 where there is none; no gradient.
  negative_similarity: float32 [N], the same with the negatives.
  """
  per_anchor: tf.Tensor
  valid: tf.Tensor
  positive_similarity: tf.Tensor
  negative_similarity: tf.Tensor


def contrast_loss(anchors, labels, valid, *, temperature, base_temperature, keys=None,
                  faithful=False):
  """Contrasts anchors with each other, or with constant keys of a memory.

  Args:
    anchors: float [N, D], as a rule of unit length; not normalised here. Compared in float32. The
      gradient flows through.
    labels: int32 [N], the class.
    valid: bool [N]; the others do not count, as keys neither.
    temperature: above 0.
    base_temperature: above 0, a factor of the loss alone.
    keys: None: the anchors are each other's keys, but none its own. Otherwise (features [K, D],
      labels [K], valid [K]), the only keys, without gradient (`network.contrast.memory.Keys`).
    faithful: with keys, the original's removal of key i from the positives of anchor i, a leftover
      of the loss without memory; see also `network.contrast.memory.released_keys`.

  Returns:
    `ContrastLoss`.

  Raises:
    ValueError: faithful, and fewer keys than anchors, which is an error in the original too.

  Deviates from the original: it computes log(exp(s) + sum of exp) of what is masked by
  multiplication, which is NaN for separated classes at low temperatures, for features without unit
  length and in float16; anchors without a positive are NaN there and not counted here; and a
  memory's key i is not removed from the positives of anchor i.
  """
  anchors = tf.cast(anchors, tf.float32)
  scale = temperature / base_temperature
  rows = tf.range(tf.shape(anchors)[0])
  if keys is None:
    return _compare(anchors, labels, valid, rows, (anchors, labels, valid), temperature, scale)
  features, key_labels, key_valid = keys
  keys = tf.stop_gradient(tf.cast(features, tf.float32)), key_labels, key_valid
  if faithful and features.shape[0] < anchors.shape[0]:
    raise ValueError(f'{features.shape[0]} keys for {anchors.shape[0]} anchors: the original needs '
                     'at least one key an anchor')
  own = rows if faithful else tf.fill(tf.shape(rows), -1)
  return _against_memory(anchors, labels, valid, own, keys, temperature, scale)


def _compare(anchors, labels, valid, own, keys, temperature, scale):
  """All anchors with all keys; key own[i] is no positive of anchor i."""
  features, key_labels, key_valid = keys
  similarity = tf.matmul(anchors, features, transpose_b=True)
  logits = similarity / temperature
  same = labels[:, tf.newaxis] == key_labels
  others = own[:, tf.newaxis] != tf.range(tf.size(key_labels))
  counted = valid[:, tf.newaxis] & key_valid
  positive, negative = same & others & counted, ~same & counted

  # What is masked is replaced before it is used, never multiplied by 0 after.
  highest = tf.stop_gradient(
      tf.reduce_max(tf.where(negative, logits, _NOTHING), axis=1, keepdims=True))
  total = tf.reduce_sum(
      tf.exp(tf.where(negative, logits - highest, _NOTHING)), axis=1, keepdims=True)
  some = total > 0.0
  negatives = highest + tf.math.log(tf.where(some, total, 1.0))
  costs = tf.where(
      positive & some, tf.nn.softplus(tf.where(positive & some, negatives - logits, 0.0)), 0.0)

  def mean(values, mask):
    total = tf.reduce_sum(tf.where(mask, values, 0.0), axis=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(mask, tf.float32), axis=1))

  constant = tf.stop_gradient(similarity)
  return ContrastLoss(
      scale * mean(costs, positive), tf.cast(tf.reduce_any(positive, axis=1), tf.float32),
      mean(constant, positive), mean(constant, negative))


def _against_memory(anchors, labels, valid, own, keys, temperature, scale):
  """`_compare` in blocks of anchors, so that [N, K] numbers are never held.

  Keys are constant, and the loss of an anchor depends on no other anchor: its gradient is made
  together with it, and nothing is kept for later.
  """
  size, num_keys = anchors.shape[0], keys[0].shape[0]
  if num_keys == 0:
    zeros = tf.zeros([size])
    return ContrastLoss(zeros, zeros, zeros, zeros)
  block = max(1, min(size, _BLOCK_ENTRIES // num_keys))
  missing = -size % block

  def cut(values):
    values = tf.pad(values, [[0, missing]] + [[0, 0]] * (len(values.shape) - 1))
    return tf.reshape(values, [-1, block, *values.shape[1:]])

  def join(values):
    return tf.reshape(values, [-1, *values.shape[2:]])[:size]

  def compare_block(inputs):
    anchors = inputs[0]
    with tf.GradientTape() as tape:
      tape.watch(anchors)
      result = _compare(*inputs, keys, temperature, scale)
    return (*result, tape.gradient(result.per_anchor, anchors))

  @tf.custom_gradient
  def losses(anchors):
    blocks = tuple(cut(values) for values in (anchors, labels, valid, own))
    numbers = tf.TensorSpec([block], tf.float32)
    results = tf.map_fn(
        compare_block, blocks, parallel_iterations=1,
        fn_output_signature=(*[numbers] * 4, tf.TensorSpec([block, anchors.shape[1]], tf.float32)))
    *values, gradients = (join(result) for result in results)

    def gradient(upstream, *_):
      return upstream[:, tf.newaxis] * gradients

    return tuple(values), gradient

  return ContrastLoss(*losses(anchors))

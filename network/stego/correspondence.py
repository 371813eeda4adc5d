"""The correspondence loss: codes agree where frozen features do.

Source: STEGO (Hamilton et al., ICLR 2022), section 3.2; specs/stego.md, sections 2.3 and 2.4.
"""

from typing import NamedTuple

import tensorflow as tf

from network.common import replicas
from network.segsort.prototypes import l2_normalize
from network.stego.sampling import bilinear_samples


class Pairs(NamedTuple):
  """All pairs of points of two sides: float32 [..., B, N, M] each.

  loss: of each pair.
  similarity: cosines of the codes.
  feature_similarity: cosines of the features, as they are; no gradient.
  """
  loss: tf.Tensor
  similarity: tf.Tensor
  feature_similarity: tf.Tensor


class Correspondence(NamedTuple):
  """The three kinds of pairs, `Pairs` each: of an image with itself, [B, N, N]; with its partner,
  [B, N, N]; and with random other images, [R, B, N, N]."""
  itself: Pairs
  neighbour: Pairs
  random: Pairs


def centred(similarity):
  """Similarities of each point moved so that their mean is the mean of all points.

  Deviates from the paper, as the original does: there the mean of a point's similarities becomes 0.
  The mean of all replicas' batches is kept, so that shifts are on the scale of raw cosines.

  Args:
    similarity: float32 [..., B, N, M]; every leading index has a mean of its own.

  Returns:
    float32 of the same shape.
  """
  mean = tf.reduce_mean(similarity, [-3, -2, -1], keepdims=True)
  mean = replicas.sum_over_replicas(mean) / replicas.num_replicas()
  return similarity - tf.reduce_mean(similarity, -1, keepdims=True) + mean


def pair_loss(features, other_features, code, other_code, shift, *, pointwise=True,
              zero_clamp=True, stabilize=False):
  """The loss of every point of one side with every point of the other.

  It is -clip(similarity of codes) * (similarity of features - shift).

  Deviates from the original: where a code is zero it has no gradient, in place of 1e10 times the
  pair's.

  Args:
    features: [B, N, C], any length; no gradient reaches them or the others.
    other_features: [B, M, C], or [R, B, M, C] for several draws, each with a mean of its own.
    code: [B, N, D], any length.
    other_code: [B, M, D] or [R, B, M, D]; the gradient flows into both sides.
    shift: b; pairs whose features are more alike than this draw their codes together.
    pointwise: the features' similarities are `centred` first.
    zero_clamp: codes that are less alike than orthogonal count as orthogonal, without gradient.
    stabilize: codes of a cosine above 0.8 count as having 0.8, without gradient.

  Returns:
    `Pairs`.
  """
  def cosines(first, second):
    return tf.matmul(l2_normalize(first), l2_normalize(second), transpose_b=True)

  alike = cosines(tf.stop_gradient(features), tf.stop_gradient(other_features))
  target = centred(alike) if pointwise else alike
  similarity = cosines(code, other_code)
  clipped = similarity
  # Not tf.maximum and tf.minimum: at the bounds the whole gradient passes, as in the original.
  if zero_clamp or stabilize:
    clipped = tf.clip_by_value(
        similarity, 0.0 if zero_clamp else -2.0, 0.8 if stabilize else 2.0)
  return Pairs(-clipped * (target - shift), similarity, alike)


def correspondence_loss(features, partner_features, code, partner_code, points, other_points,
                        pairing, *, self_shift, neighbour_shift, random_shift, **options):
  """The pairs of each image with itself, with its partner and with random others of the batch.

  Args:
    features, partner_features: [B, h, w, C] of the images and of their neighbours; no gradient.
    code, partner_code: [B, h, w, D].
    points: float32 [B, N, 2] in [-1, 1], (x, y), where each image is sampled, on both sides of its
      pairs with itself.
    other_points: float32 [B, N, 2], where its partner is, and all of its random others.
    pairing: int32 [R, B], the place of each image's random others in the batch of all replicas.
    self_shift, neighbour_shift, random_shift: see `pair_loss`.
    **options: of `pair_loss`.

  Returns:
    `Correspondence`. The losses of several replicas are those of one device's parts.
  """
  def sample(maps, where, images=None):
    return bilinear_samples(maps, where, images)

  own_features, own_code = sample(features, points), sample(code, points)
  draws, images = pairing.shape
  others = tf.reshape(pairing, [-1])
  where = tf.tile(other_points, [draws, 1, 1])

  def of_others(maps):
    sampled = sample(replicas.gather_rows(maps), where, others)
    return tf.reshape(sampled, [draws, images, *sampled.shape[1:]])

  return Correspondence(
      pair_loss(own_features, own_features, own_code, own_code, self_shift, **options),
      pair_loss(own_features, sample(partner_features, other_points), own_code,
                sample(partner_code, other_points), neighbour_shift, **options),
      pair_loss(own_features, of_others(features), own_code, of_others(code), random_shift,
                **options))

"""Which pixels become anchors: as many of each class in each image, hard and easy ones.

Source: Wang et al., "Exploring Cross-Image Pixel Contrast for Semantic Segmentation", ICCV 2021,
section 3.3; specs/contrast.md, sections 1.1 to 1.4.

A group is a class in an image. A pixel is hard where the segmentation head mistakes it for another
class, otherwise easy.
"""

from typing import NamedTuple

import tensorflow as tf

from network.common import replicas
from network.common.hashing import hash_numbers
from network.contrast.buckets import fill_buckets
from network.segsort.prototypes import compact


class Anchors(NamedTuple):
  """Anchors of the joined batch of all replicas, the same on each; N = max_samples.

  Row v * num_groups + a is view v of group a; groups are in the order of images and of classes
  within an image, the views of a group are its hard pixels and then its easy ones.

  embedding: float32 [N, D], carries the gradient; zero where not valid.
  labels: int32 [N], the class, any where not valid.
  valid: bool [N], the first num_groups * num_views rows.
  pixels: int32 [N], number of the pixel in the joined batch, row-major; 0 where not valid.
  num_groups: int32 scalar.
  num_views: int32 scalar.
  """
  embedding: tf.Tensor
  labels: tf.Tensor
  valid: tf.Tensor
  pixels: tf.Tensor
  num_groups: tf.Tensor
  num_views: tf.Tensor


def sample_anchors(embedding, labels, prediction, *, num_classes, max_samples, max_views,
                   seed=None, faithful=False):
  """Draws anchors from a batch; called in replica context.

  A group takes part where it has more than `max_views` pixels. All of them give the same number of
  views, as many as `max_samples` allows and at most `max_views`: half of them hard and half easy,
  or fewer of the kind that there are not enough of.

  With one view (max_views=1) a group's anchor is easy wherever the group has an easy pixel: half of
  one view, rounded down, is hard.

  Args:
    embedding: float [B, h, w, D], this replica's part of the batch.
    labels: int32 [B, h, w], sampled at the embedding's own size by
      `network.common.layers.resize_nearest_legacy`; pixels outside [0, num_classes) do not count.
    prediction: int32 [B, h, w], the segmentation head's classes; no gradient.
    num_classes: classes, 0 being one like any other.
    max_samples: N, anchors of the joined batch of all replicas at most.
    max_views: anchors of a group at most.
    seed: int32 [2], stateless; None takes the first pixels in row-major order.
    faithful: the original's rule where there are more groups than half of `max_samples`.

  Returns:
    `Anchors`; none is valid where no group takes part.

  Deviates from the original: of more than max_samples / 2 groups a random choice is kept, so that
  each has two views and with them a positive. There a view has none then (NaN), and more groups
  than `max_samples` are an error; with `faithful` groups are dropped only then. No group at all is
  an error there. `max_samples` is per device there, and nothing is gathered: here a step on several
  replicas draws what one device draws from the joined batch.
  """
  dim = embedding.shape[-1]
  rows = tf.reshape(tf.cast(embedding, tf.float32), [-1, dim])
  images = tf.shape(labels)[0]
  groups_here = images * num_classes
  first_group = replicas.own_offset(groups_here)
  first_pixel = replicas.own_offset(tf.size(labels))

  counted = (labels >= 0) & (labels < num_classes)
  group = tf.range(images)[:, tf.newaxis, tf.newaxis] * num_classes + labels
  kind = tf.cast(labels == prediction, tf.int32)
  buckets = fill_buckets(
      tf.reshape(tf.where(counted, 2 * group + kind, -1), [tf.size(labels)]), 2 * groups_here,
      seed, first_pixel)
  counts = replicas.gather_rows(tf.reshape(buckets.count, [groups_here, 2]))

  # Of too many groups the ones with the lowest chance stay; negative numbers are no pixel's.
  least_views = 1 if faithful else min(2, max_views)
  present = tf.reduce_sum(counts, axis=1) > max_views
  numbers = tf.range(tf.shape(counts)[0])
  chance = tf.cast(numbers, tf.int64) if seed is None else hash_numbers(-1 - numbers, seed)
  place = tf.argsort(tf.argsort(tf.where(present, chance, 2 ** 32), stable=True))
  kept = present & (place < max_samples // least_views)

  _, group_index, _ = compact(kept, max_samples)
  num_groups = tf.reduce_sum(tf.cast(kept, tf.int32))
  divisor = tf.maximum(num_groups, 1)
  num_views = tf.minimum(max_samples // divisor, max_views)

  row = tf.range(max_samples)
  view, group = row // divisor, tf.gather(group_index, row % divisor)
  valid = row < num_groups * num_views
  hard, easy = tf.unstack(tf.gather(counts, group), axis=1)
  num_hard = _num_hard(hard, easy, num_views)
  is_easy = view >= num_hard
  bucket = 2 * (group - first_group) + tf.cast(is_easy, tf.int32)
  mine = valid & (bucket >= 0) & (bucket < 2 * groups_here)
  pixel = buckets.take(tf.where(mine, bucket, 0), tf.where(is_easy, view - num_hard, view))
  embedding = tf.where(mine[:, tf.newaxis], tf.gather(rows, pixel), 0.0)
  return Anchors(
      replicas.sum_over_replicas(embedding), group % num_classes, valid,
      replicas.sum_over_replicas(tf.where(mine, pixel + first_pixel, 0)), num_groups, num_views)


def _num_hard(hard, easy, num_views):
  """How many of a group's views are hard pixels, of which it has `hard` and `easy`: int32 [N]."""
  enough_hard, enough_easy = 2 * hard >= num_views, 2 * easy >= num_views
  return tf.where(
      enough_hard, tf.where(enough_easy, num_views // 2, num_views - easy), hard)

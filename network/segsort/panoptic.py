"""Class and instance of segments by the neighbours of their prototypes.

Source: the panoptic branch of SegSort's original release, which nothing there calls;
specs/segsort.md, sections 1.5 and 3.7.
"""

from typing import NamedTuple

import tensorflow as tf

from network.segsort.prototypes import extract_prototypes, segment_prototypes
from network.segsort.retrieval import nearest_neighbours, vote


class PanopticPrototypes(NamedTuple):
  """Prototypes of one image with class and instance; see `extract_panoptic_prototypes`."""
  prototypes: tf.Tensor
  labels: tf.Tensor
  instances: tf.Tensor
  counts: tf.Tensor
  clusters: tf.Tensor
  pixels: tf.Tensor
  num_instances: tf.Tensor


def extract_panoptic_prototypes(embedding, cluster_ids, labels, instances, *, ignore_label=255,
                                first_instance=0, mode='majority'):
  """Prototypes of one image, labelled with the class and the instance that they are of.

  Args:
    embedding: float [N, D] of unit length, pixels in row-major order.
    cluster_ids: int32 [N], negative for pixels that do not count.
    labels: int32 [N], classes; pixels with `ignore_label` do not count.
    instances: int32 [N], non-negative numbers of the instances of each class in this image, such as
      0 for all pixels of a class without instances.
    ignore_label: int.
    first_instance: number of the image's first instance among all images: the sum of the
      `num_instances` of those before it.
    mode: 'majority' or 'piece', see `extract_prototypes`; what is counted are pairs of class and
      instance, of equally frequent ones the lower class, then the lower instance.

  Returns:
    prototypes: float32 [P, D] of unit length, ordered as in `extract_prototypes`.
    labels: int32 [P], classes.
    instances: int32 [P] in [first_instance, first_instance + num_instances), one number for each
      pair of class and instance in the image.
    counts, clusters, pixels: as in `extract_prototypes`.
    num_instances: int32 scalar, pairs of class and instance among the counted pixels.

  Deviates from the original: instances are numbered through all images; there equal numbers in
  two images become one instance as soon as their prototypes are in one bank.
  """
  counted = (labels != ignore_label) & (cluster_ids >= 0)
  base = tf.cast(tf.reduce_max(tf.concat([instances, [0]], axis=0)), tf.int64) + 1
  pairs = tf.cast(labels, tf.int64) * base + tf.cast(instances, tf.int64)
  present, members = tf.unique(tf.boolean_mask(pairs, counted))
  order = tf.argsort(present)
  present = tf.gather(present, order)
  members = tf.gather(tf.math.invert_permutation(order), members)
  numbers = tf.tensor_scatter_nd_update(
      tf.fill(tf.shape(labels), -1), tf.where(counted), members)
  found = extract_prototypes(embedding, cluster_ids, numbers, ignore_label=-1, mode=mode)
  classes = tf.cast(tf.gather(present, found.labels) // base, tf.int32)
  return PanopticPrototypes(
      found.prototypes, classes, first_instance + found.labels, found.counts, found.clusters,
      found.pixels, tf.size(present))


def vote_semantic_instance(labels, instances, similarity, num_classes, mode='count'):
  """The class that neighbours elect, and among those of this class the most frequent instance.

  Args:
    labels: int32 [Q, k] in [0, num_classes), neighbours by descending similarity.
    instances: int32 [Q, k].
    similarity: float [Q, k].
    num_classes: int.
    mode: how the class is voted for, see `vote`.

  Returns:
    classes: int32 [Q].
    instances: int32 [Q], always one of the elected class; of equally frequent ones that with the
      nearest neighbour, for the numbers of instances mean nothing.
  """
  classes = vote(labels, similarity, num_classes, mode)
  elected = labels == classes[:, tf.newaxis]
  same = (instances[:, :, tf.newaxis] == instances[:, tf.newaxis, :]) & elected[:, tf.newaxis, :]
  support = tf.where(elected, tf.reduce_sum(tf.cast(same, tf.int32), axis=2), -1)
  return classes, tf.gather(instances, tf.argmax(support, axis=1), batch_dims=1)


def predict_semantic_instance(embedding, cluster_ids, num_clusters, bank, bank_labels,
                              bank_instances, k, num_classes, mode='count'):
  """Class and instance of every pixel, by the nearest prototypes of its segment.

  Args:
    embedding: float [N, D] of unit length.
    cluster_ids: int32 [N] in [0, num_clusters), negative for pixels that do not count.
    num_clusters: int.
    bank: float [P, D] of unit length.
    bank_labels, bank_instances: int32 [P], from `extract_panoptic_prototypes`.
    k: neighbours of each segment.
    num_classes: int.
    mode: how the class is voted for, see `vote`.

  Returns:
    classes, instances: two int32 [N], -1 for pixels that do not count.

  Raises:
    ValueError: k is below 1 or larger than the bank.
  """
  prototypes, _ = segment_prototypes(embedding, cluster_ids, num_clusters)
  similarity, index = nearest_neighbours(prototypes, bank, k)
  labels, instances = tf.gather(bank_labels, index), tf.gather(bank_instances, index)
  elected = vote_semantic_instance(labels, instances, similarity, num_classes, mode)
  return tuple(
      tf.where(cluster_ids >= 0, tf.gather(values, tf.maximum(cluster_ids, 0)), -1)
      for values in elected)

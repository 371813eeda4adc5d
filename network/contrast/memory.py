"""The memory: queues of pixels and of regions of each class, constant keys of later batches.

Source: Wang et al., ICCV 2021, section 3.3; specs/contrast.md, sections 1.6 and 1.7.

Whatever enters has been made by the network as it was then; there is no second, slowly moving one.
"""

from typing import NamedTuple

import tensorflow as tf

from network.common import replicas
from network.contrast.buckets import fill_buckets
from network.segsort.prototypes import l2_normalize, segment_prototypes


class Queue(NamedTuple):
  """A ring of unit vectors for each class.

  features: float32 [C, M, D]; the first filled[c] places of class c hold something.
  pointer: int32 [C], the place that is written next.
  filled: int32 [C], from 0 to M.
  """
  features: tf.Tensor
  pointer: tf.Tensor
  filled: tf.Tensor


class Keys(NamedTuple):
  """What anchors are compared with: features [K, D], labels int32 [K], valid bool [K]."""
  features: tf.Tensor
  labels: tf.Tensor
  valid: tf.Tensor


def empty_queue(num_classes, size, dim):
  """A queue of `size` places a class that holds nothing yet.

  Deviates from the original: it starts with random unit vectors, which count as pixels.
  """
  return Queue(
      tf.zeros([num_classes, size, dim]), tf.zeros([num_classes], tf.int32),
      tf.zeros([num_classes], tf.int32))


def enqueue(queue, features, valid):
  """The queue after new rows, each in the place of the oldest of its class.

  Args:
    queue: `Queue`.
    features: float32 [C, R, D], rows of each class in their order; no gradient.
    valid: bool [C, R]; the other rows do not exist. Of more than M the last M stay.

  Returns:
    `Queue` of the same shapes.

  Deviates from the original: a pointer moves by as many places as were written, not by one; what
  does not fit behind it goes on at the first place, not over the last places.
  """
  num_classes, size, dim = queue.features.shape
  count = tf.reduce_sum(tf.cast(valid, tf.int32), axis=1)
  rank = tf.cumsum(tf.cast(valid, tf.int32), axis=1) - 1
  written = valid & (rank >= count[:, tf.newaxis] - size)
  # Rows that are not written go to a place behind all others.
  place = tf.where(written, (queue.pointer[:, tf.newaxis] + rank) % size, size)
  place += (size + 1) * tf.range(num_classes)[:, tf.newaxis]
  ring = tf.reshape(tf.pad(queue.features, [[0, 0], [0, 1], [0, 0]]), [-1, dim])
  ring = tf.tensor_scatter_nd_update(
      ring, tf.reshape(place, [-1, 1]), tf.reshape(tf.stop_gradient(features), [-1, dim]))
  return Queue(
      tf.reshape(ring, [num_classes, size + 1, dim])[:, :size],
      (queue.pointer + count) % size, tf.minimum(queue.filled + count, size))


def keys_of(*queues):
  """All places of queues as one list of `Keys`; K is the sum of their C * M.

  Deviates from the original: class 0 is a class like any other and not left out, and there are no
  zero vectors in its place; places that hold nothing do not count.
  """
  parts = []
  for queue in queues:
    num_classes, size, dim = queue.features.shape
    places = tf.range(size)[tf.newaxis]
    parts.append(Keys(
        tf.reshape(queue.features, [-1, dim]), tf.repeat(tf.range(num_classes), size),
        tf.reshape(places < queue.filled[:, tf.newaxis], [-1])))
  return Keys(*(tf.concat(values, axis=0) for values in zip(*parts, strict=True)))


def released_keys(features):
  """The original's keys for its numbers (`faithful`): class 0's are zero vectors, and come last.

  Args:
    features: float32 [C, S, D], all places of each class, all of them counted.

  Returns:
    `Keys`, K = C * S.
  """
  num_classes, size, dim = features.shape
  features = tf.reshape(tf.concat([features[1:], tf.zeros([1, size, dim])], axis=0), [-1, dim])
  labels = tf.repeat((tf.range(num_classes) + 1) % num_classes, size)
  return Keys(features, labels, tf.ones([num_classes * size], tf.bool))


def region_rows(embedding, labels, num_classes):
  """The mean direction of each class in each image, in the order of the images of all replicas.

  Args:
    embedding: float [B, h, w, D], this replica's part of the batch.
    labels: int32 [B, h, w] at the embedding's own size; pixels outside [0, num_classes) do not
      count.
    num_classes: C.

  Returns:
    features: float32 [C, R, D] of unit length, R being the images of all replicas.
    valid: bool [C, R], the class is in the image.

  Deviates from the original: its labels are sampled at a fixed stride, which need not be the
  embedding's; it leaves class 0 out.
  """
  flat, group, images = _groups(embedding, labels, num_classes)
  means, counts = segment_prototypes(flat, group, images * num_classes)
  return _by_class(means, counts > 0, images, num_classes)


def pixel_rows(embedding, labels, num_classes, count, seed=None):
  """Up to `count` random pixels of each class in each image; otherwise as `region_rows`.

  Args:
    count: K, pixels of a class in an image at most.
    seed: int32 [2], stateless; None takes the first ones in row-major order.

  Returns:
    features: float32 [C, R * K, D] of unit length, and valid: bool [C, R * K].

  Deviates from the original: the pixels are of the class; it takes the pixels at random places
  below the class's number of pixels, of whatever class.
  """
  flat, group, images = _groups(embedding, labels, num_classes)
  buckets = fill_buckets(
      group, images * num_classes, seed, replicas.own_offset(tf.size(group)))
  index = tf.range(count)[tf.newaxis]
  pixels = buckets.take(tf.range(images * num_classes)[:, tf.newaxis], index)
  valid = index < buckets.count[:, tf.newaxis]
  return _by_class(l2_normalize(tf.gather(flat, pixels)), valid, images, num_classes)


def _groups(embedding, labels, num_classes):
  """Embeddings [P, D] without gradient, each pixel's image and class as one id, the images."""
  images = tf.shape(labels)[0]
  group = tf.range(images)[:, tf.newaxis, tf.newaxis] * num_classes + labels
  group = tf.where((labels >= 0) & (labels < num_classes), group, -1)
  flat = tf.stop_gradient(tf.reshape(tf.cast(embedding, tf.float32), [-1, embedding.shape[-1]]))
  return flat, tf.reshape(group, [-1]), images


def _by_class(features, valid, images, num_classes):
  """Rows by image and class, [images * C, ..., D], to rows by class of all replicas' images."""
  dim = features.shape[-1]

  def turn(values, shape):
    values = replicas.gather_rows(tf.reshape(values, [images, num_classes, *shape]))
    return tf.reshape(tf.einsum('bc...->cb...', values), [num_classes, -1, *shape[1:]])

  valid = turn(tf.cast(valid, tf.float32), [-1])
  return turn(features, [-1, dim]), valid > 0

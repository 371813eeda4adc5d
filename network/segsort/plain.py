"""The plain way of doing the same work, as the original's graphs do it: an oracle and a yardstick.

One image after another, one-hot matrix products, every iteration of k-means, exp and the log of a
ratio, similarities to a whole bank at once, and a loop over classes for the votes. Float32, by
TensorFlow's own kernels; meant to be traced by tf.function, as the original ran in graphs. Tests
hold the other modules to it, and `pyscripts/benchmark/benchmark_speed.py` measures them by it.

Unlike the original it numbers images without a bound, and knows no location but the one given.

Source: specs/segsort.md, sections 1 to 3.
"""

import numpy as np
import tensorflow as tf

_CLASSES = 256  # labels are below it; 255 is the ignore label


def _normalize(x):
  return x / tf.norm(x, axis=-1, keepdims=True)


def _prototypes(embedding, ids, number):
  """[N, D], int32 [N] -> [number, D], NaN for ids without a pixel."""
  return _normalize(tf.matmul(tf.one_hot(ids, number), embedding, transpose_a=True))


def kmeans(features, labels, num_clusters, iterations):
  """Spherical k-means of one image: float32 [N, F], int32 [N] -> int32 [N]."""
  for _ in range(iterations):
    centres = _prototypes(features, labels, num_clusters)
    # An empty cluster is NaN, which argmax passes over.
    labels = tf.argmax(
        tf.matmul(features, centres, transpose_b=True), axis=1, output_type=tf.int32)
  return labels


def cluster(embedding, initial, location, num_clusters, iterations):
  """Clusters of one image: unit [N, D], int32 [N] and float32 [N, 2] -> int32 [N]."""
  features = tf.stop_gradient(_normalize(tf.concat([embedding, location], axis=1)))
  return kmeans(features, initial, num_clusters, iterations)


def supervised_loss(embedding, labels, initial, location, memory, *, num_clusters, iterations,
                    concentration, ignore_label=255):
  """Mean supervised loss of a batch, a scalar.

  Args:
    embedding: float32 [B, H, W, D], not normalised, B static.
    labels: int32 [B, H, W] below 256.
    initial: int32 [B, H, W], clusters at the start.
    location: float32 [B, H, W, 2].
    memory: prototypes [Q, D] of unit length and labels [Q].
  """
  unit = _normalize(embedding)
  dim = unit.shape[-1]
  pixels, classes, clusters = [], [], []
  for image in range(unit.shape[0]):
    flat = tf.reshape(labels[image], [-1])
    there = tf.where(flat != ignore_label)[:, 0]
    vectors = tf.gather(tf.reshape(unit[image], [-1, dim]), there)
    found = cluster(
        vectors, tf.gather(tf.reshape(initial[image], [-1]), there),
        tf.gather(tf.reshape(location[image], [-1, 2]), there), num_clusters, iterations)
    pixels.append(vectors)
    classes.append(tf.gather(flat, there))
    clusters.append(found + num_clusters * image)
  pixels, classes, clusters = (tf.concat(x, axis=0) for x in (pixels, classes, clusters))
  keys, ids = tf.unique(classes + _CLASSES * clusters)
  prototypes = tf.concat([_prototypes(pixels, ids, tf.size(keys)), memory[0]], axis=0)
  prototype_classes = tf.concat([keys % _CLASSES, memory[1]], axis=0)

  similarity = tf.exp(concentration * tf.matmul(pixels, prototypes, transpose_b=True))
  own = tf.reduce_sum(similarity * tf.one_hot(ids, tf.size(prototype_classes)), axis=1)
  same = tf.cast(classes[:, tf.newaxis] == prototype_classes, tf.float32)
  positive = tf.reduce_sum(similarity * same, axis=1) - own
  negative = tf.reduce_sum(similarity * (1.0 - same), axis=1)
  positive = tf.where(positive > 0.0, positive, own)
  return tf.reduce_mean(-tf.math.log(positive / (positive + negative)))


def unsupervised_loss(embedding, oversegmentation, *, concentration):
  """Mean unsupervised loss of a batch: float32 [B, H, W, D], int32 [B, H, W] below 256."""
  unit = _normalize(embedding)
  pixels, segments = [], []
  for image in range(unit.shape[0]):
    pixels.append(tf.reshape(unit[image], [-1, unit.shape[-1]]))
    segments.append(tf.reshape(oversegmentation[image], [-1]) + 256 * image)
  pixels, segments = tf.concat(pixels, axis=0), tf.concat(segments, axis=0)
  keys, ids = tf.unique(segments)
  prototypes = _prototypes(pixels, ids, tf.size(keys))
  similarity = tf.exp(concentration * tf.matmul(pixels, prototypes, transpose_b=True))
  own = tf.reduce_sum(similarity * tf.one_hot(ids, tf.size(keys)), axis=1)
  return tf.reduce_mean(-tf.math.log(own / tf.reduce_sum(similarity, axis=1)))


def nearest_neighbours(queries, bank, k):
  """Similarities [Q, k], descending, and places in the bank [Q, k]."""
  return tf.math.top_k(tf.matmul(queries, bank, transpose_b=True), k)


def neighbour_labels(embedding, initial, location, bank, bank_labels, *, num_clusters, iterations,
                     k):
  """Labels of the k nearest prototypes of each cluster, and the clusters of one image.

  Args:
    embedding: float32 [H, W, D], not normalised.
    initial: int32 [H, W].
    location: float32 [H, W, 2].
    bank, bank_labels: float32 [P, D] of unit length, int32 [P].

  Returns:
    int32 [num_clusters, k] and int32 [H, W].
  """
  unit = tf.reshape(_normalize(embedding), [-1, embedding.shape[-1]])
  clusters = cluster(unit, tf.reshape(initial, [-1]), tf.reshape(location, [-1, 2]), num_clusters,
                     iterations)
  prototypes = _prototypes(unit, clusters, num_clusters)
  _, places = nearest_neighbours(prototypes, bank, k)
  return tf.gather(bank_labels, places), tf.reshape(clusters, tf.shape(initial))


def predict(*arguments, num_classes, **options):
  """Labels of one image at one scale, int32 [H, W], of what `neighbour_labels` takes."""
  labels, clusters = neighbour_labels(*arguments, **options)
  counts = tf.reduce_sum(tf.one_hot(labels, num_classes), axis=1)
  return tf.gather(tf.argmax(counts, axis=1, output_type=tf.int32), clusters)


def pixel_labels(*arguments, **options):
  """The k neighbours' labels at each pixel, int32 [k, H, W], of what `neighbour_labels` takes."""
  labels, clusters = neighbour_labels(*arguments, **options)
  return tf.gather(tf.transpose(labels), clusters, axis=1)


def count_votes(labels, num_classes):
  """Votes for each class: NumPy int32 [k, H, W] -> float32 [H, W, num_classes]."""
  votes = np.zeros([*labels.shape[1:], num_classes], np.float32)
  for number in range(num_classes):
    votes[..., number] = np.sum(labels == number, axis=0)
  return votes


def average_votes(copies, size, num_classes):
  """Votes of several copies of an image, averaged at its own size.

  Args:
    copies: list of (labels NumPy int32 [k, h, w], whether the copy is mirrored).
    size: (H, W).

  Returns:
    float32 [H, W, num_classes].
  """
  total = np.zeros([*size, num_classes], np.float32)
  for labels, mirrored in copies:
    votes = count_votes(labels, num_classes)
    votes = votes[:, ::-1] if mirrored else votes
    total += tf.raw_ops.ResizeBilinear(images=votes[np.newaxis], size=size)[0].numpy()
  return total / len(copies)

"""Comparison of SegSort's algorithms with stored outputs of the original implementation.

The file's format is that of segsort.npz: seeded inputs, and what the original computes from them
with concentration 10 and 10 iterations of k-means. Losses and prototypes are to agree within 1e-5
of their scale, gradients within 1e-4, labels exactly.
"""

import functools
import re

import numpy as np
import tensorflow as tf

from network.segsort.clustering import clustering_features, spherical_kmeans
from network.segsort.losses import (
    mean_over_valid,
    supervised_segsort_loss,
    unsupervised_segsort_loss,
)
from network.segsort.pieces import supervised_pieces, unsupervised_pieces
from network.segsort.prototypes import extract_prototypes, l2_normalize, segment_prototypes
from network.segsort.retrieval import nearest_neighbours, vote
from utils.comparison import Comparison, mismatches, relative_error

CONCENTRATION = 10.0
ITERATIONS = 10
IGNORE_LABEL = 255
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4

_INPUTS = re.compile(
    'embedding|semantic_labels|initial_cluster_labels|location_features|oversegmentation|'
    r'bank_features|bank_labels|memory_\d+|memory_labels_\d+')


def compare_segsort(arrays):
  """Computes every quantity of a file of outputs that is known here.

  Args:
    arrays: mapping of names to arrays, as of `np.load`; which names there are is open.

  Returns:
    comparisons: list of `Comparison`, in the order of the file.
    not_compared: dict of the names that are neither inputs nor compared, with the reason.
  """
  case = _Case(arrays)
  comparisons, not_compared = [], {}
  for name in arrays:
    if _INPUTS.fullmatch(name):
      continue
    compare = case.comparison_of(name)
    if compare is None:
      not_compared[name] = 'not known'
      continue
    try:
      comparisons.append(compare(name, np.asarray(arrays[name])))
    except _NotComparable as reason:
      not_compared[name] = str(reason)
  return comparisons, not_compared


class _NotComparable(Exception):
  """A quantity is known, but the file gives nothing to compare it with; the message says why."""


class _Case:
  """The inputs of a file and, computed when first asked for, what follows from them."""

  def __init__(self, arrays):
    self._arrays = arrays

  def comparison_of(self, name):
    """The function (name, expected) -> Comparison for a quantity, None for an unknown name."""
    if match := re.fullmatch('(supervised|unsupervised)_(loss|grad)', name):
      return functools.partial(self._loss, match[1], match[2], False)
    if name == 'supervised_loss_with_memory':
      return functools.partial(self._loss, 'supervised', 'loss', True)
    if match := re.fullmatch(r'knn_prediction_k([1-9]\d*)', name):
      return functools.partial(self._knn_prediction, int(match[1]))
    return {
        'inference_cluster_labels': self._inference_cluster_labels,
        'inference_prototypes': self._inference_prototypes,
        'trained_prototypes': self._trained_prototypes,
        'trained_prototype_labels': self._trained_prototype_labels,
    }.get(name)

  def _input(self, name):
    if name not in self._arrays:
      raise _NotComparable(f'{name} is not in the file')
    return np.asarray(self._arrays[name])

  def _map(self, name):
    """An input of one number a pixel: int32 [B, H, W]."""
    return self._input(name).reshape(self._input('embedding').shape[:3]).astype(np.int32)

  @property
  def _num_clusters(self):
    return int(self._map('initial_cluster_labels').max()) + 1

  def _memory(self):
    numbers = sorted(int(match[1]) for name in self._arrays
                     if (match := re.fullmatch(r'memory_(\d+)', name)))
    if not numbers:
      raise _NotComparable('memory_0 is not in the file')
    prototypes = np.concatenate([self._input(f'memory_{number}') for number in numbers])
    labels = np.concatenate([self._input(f'memory_labels_{number}') for number in numbers])
    return l2_normalize(prototypes), tf.constant(labels, tf.int32), tf.ones(len(labels), tf.bool)

  def _value_and_gradient(self, kind, with_memory):
    embedding = tf.constant(self._input('embedding'), tf.float32)
    memory = self._memory() if with_memory else None
    with tf.GradientTape() as tape:
      tape.watch(embedding)
      if kind == 'supervised':
        labels = self._map('semantic_labels')
        classes = int(labels.max(initial=0, where=labels != IGNORE_LABEL)) + 1
        pieces = supervised_pieces(
            embedding, labels, self._map('initial_cluster_labels'),
            self._input('location_features'), num_clusters=self._num_clusters,
            num_classes=classes, iterations=ITERATIONS, ignore_label=IGNORE_LABEL)
        result = supervised_segsort_loss(
            pieces.embedding, pieces.own_index, pieces.prototypes, pieces.labels, pieces.valid,
            CONCENTRATION, memory)
      else:
        segments = self._map('oversegmentation')
        pieces = unsupervised_pieces(embedding, segments, num_ids=int(segments.max()) + 1)
        result = unsupervised_segsort_loss(
            pieces.embedding, pieces.own_index, pieces.prototypes, pieces.valid, CONCENTRATION)
      loss = mean_over_valid(result.per_pixel, result.valid)
    return loss.numpy(), tape.gradient(loss, embedding).numpy()

  def _loss(self, kind, what, with_memory, name, expected):
    if not np.all(np.isfinite(expected)):
      raise _NotComparable('the original\'s value is not finite')
    loss, gradient = self._value_and_gradient(kind, with_memory)
    if what == 'loss':
      return Comparison(name, relative_error(loss, expected.reshape(())), LOSS_TOLERANCE)
    return Comparison(name, relative_error(gradient, expected), GRADIENT_TOLERANCE)

  def _clusters(self, image, labelled_only):
    """Unit embeddings [N, D] of an image, and their k-means labels [N]."""
    unit = l2_normalize(self._input('embedding')[image])
    features = clustering_features(unit, self._input('location_features')[image])
    valid = None
    if labelled_only:
      valid = self._map('semantic_labels')[image].reshape([1, -1]) != IGNORE_LABEL
    labels = spherical_kmeans(
        tf.reshape(features, [1, -1, features.shape[-1]]),
        self._map('initial_cluster_labels')[image].reshape([1, -1]),
        self._num_clusters, ITERATIONS, valid)
    return tf.reshape(unit, [-1, unit.shape[-1]]), labels[0]

  def _prototypes(self, image):
    return segment_prototypes(*self._clusters(image, False), self._num_clusters)

  def _images(self, function, count):
    """Maps [count, H, W] that a function of the image's number gives, one for each image."""
    embedding = self._input('embedding')
    return np.stack([function(image).numpy().reshape(embedding.shape[1:3])
                     for image in range(min(count, len(embedding)))])

  def _inference_cluster_labels(self, name, expected):
    labels = self._images(lambda image: self._clusters(image, False)[1], len(expected))
    return Comparison(name, mismatches(labels, expected), 0.0)

  def _inference_prototypes(self, name, expected):
    prototypes, counts = (value.numpy() for value in self._prototypes(0))
    empty = np.isnan(expected).all(axis=-1)
    if not np.array_equal(empty, counts == 0):
      return Comparison(name, float('inf'), LOSS_TOLERANCE)
    return Comparison(name, relative_error(prototypes[~empty], expected[~empty]), LOSS_TOLERANCE)

  def _trained(self):
    labels = self._map('semantic_labels')[0].ravel()
    return extract_prototypes(*self._clusters(0, True), labels, ignore_label=IGNORE_LABEL)

  def _trained_prototypes(self, name, expected):
    return Comparison(
        name, relative_error(self._trained().prototypes, expected), LOSS_TOLERANCE)

  def _trained_prototype_labels(self, name, expected):
    return Comparison(name, mismatches(self._trained().labels, expected), 0.0)

  def _knn_prediction(self, k, name, expected):
    bank, labels = self._input('bank_features'), self._input('bank_labels').astype(np.int32)
    if k > len(bank):
      raise _NotComparable(f'the bank has only {len(bank)} prototypes')

    def predict(image):
      similarity, index = nearest_neighbours(self._prototypes(image)[0], bank, k)
      classes = vote(tf.gather(labels, index), similarity, int(labels.max()) + 1)
      return tf.gather(classes, self._clusters(image, False)[1])

    return Comparison(name, mismatches(self._images(predict, len(expected)), expected), 0.0)

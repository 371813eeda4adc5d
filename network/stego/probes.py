"""Probes: what clusters and classes can be read from a code, which they never change.

Source: specs/stego.md, sections 4.1 and 4.2.
"""

import tensorflow as tf

from network.common.cross_entropy import cross_entropy
from network.common.layers import resize_bilinear
from network.segsort.prototypes import l2_normalize


def cluster_similarities(code, centroids):
  """Cosines of codes [..., D] with centroids [K, D], any length: float32 [..., K].

  Zero codes and zero centroids have 0, and no gradient.
  """
  return tf.einsum('...d,kd->...k', l2_normalize(code), l2_normalize(centroids))


def cosines(first, second):
  """Cosine of two vectors [..., D] each: float32 [...]; of a zero vector 0, without gradient."""
  return tf.reduce_sum(l2_normalize(first) * l2_normalize(second), -1)


def cluster_assignment(similarities, alpha=None):
  """How much of each pixel belongs to each cluster.

  Args:
    similarities: float32 [..., K].
    alpha: None for the most similar cluster alone, the first of equals; otherwise the softmax of
      alpha times the similarities.

  Returns:
    float32 [..., K] that sum to 1; with gradient where alpha is given.
  """
  if alpha is None:
    return tf.one_hot(tf.argmax(similarities, -1), similarities.shape[-1])
  return tf.nn.softmax(alpha * similarities)


def cluster_loss(code, centroids, alpha=None):
  """Minus the mean similarity of pixels to their clusters: spherical k-means, by its gradient.

  Args:
    code: float [..., D], any length.
    centroids: float [K, D], any length.
    alpha: see `cluster_assignment`.

  Returns:
    float32 scalar in [-1, 1].
  """
  similarities = cluster_similarities(code, centroids)
  assignment = cluster_assignment(similarities, alpha)
  return -tf.reduce_mean(tf.reduce_sum(assignment * similarities, -1))


def cluster_log_probs(code, centroids, alpha=2.0):
  """Log-probabilities of clusters, log_softmax(alpha * cosine): float32 [..., K]."""
  return tf.nn.log_softmax(alpha * cluster_similarities(code, centroids))


def linear_logits(code, kernel, bias):
  """Logits of classes: codes [..., D], kernel [D, K], bias [K] -> float32 [..., K]."""
  return tf.einsum('...d,dk->...k', tf.cast(code, tf.float32), kernel) + bias


def linear_loss(logits, labels):
  """Cross-entropy at the labels' resolution, to which logits are interpolated (half-pixel centres).

  Deviates from the original: the total and the number of pixels are returned separately, so that a
  batch without any valid label has the loss 0 rather than NaN.

  Args:
    logits: float32 [B, h, w, K].
    labels: int32 [B, H, W]; pixels outside [0, K) do not count.

  Returns:
    total: float32 scalar, the sum over the pixels that count.
    count: float32 scalar, their number. No gradient.
  """
  size = tf.shape(labels)[1:3] if None in labels.shape[1:3] else labels.shape[1:3]
  return cross_entropy(resize_bilinear(logits, size), labels)

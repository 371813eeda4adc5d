"""Classes without labels: the prototypes of a data set grouped by spherical k-means.

Source: SegSort (Hwang et al., ICCV 2019) has prototypes that meet by their cosine, section 3.1;
k-means++ (Arthur and Vassilvitskii, SODA 2007) has the seeds, restarts and weights are usual.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from network.segsort.clustering import spherical_kmeans
from network.segsort.prototypes import segment_prototypes
from network.segsort.retrieval import nearest_neighbours

# Prototypes whose similarities to all centres are held together.
_AT_ONCE = 8192
# Cosines closer to 1 than this are rounding: what they are of cannot be told apart.
_ROUNDING = 1e-6
# Of filling empty groups; one is the rule.
_MOST_ROUNDS = 100


class Clustering(NamedTuple):
  """Groups of prototypes, the heaviest first.

  Attributes:
    centres: float32 [K, D] of unit length.
    labels: int32 [P] in [0, K), the nearest centre of each prototype.
    objective: float, the weighted mean cosine of prototypes and their centres, in [-1, 1].
  """
  centres: np.ndarray
  labels: np.ndarray
  objective: float


def nearest_centres(prototypes, centres):
  """The centre with the greatest cosine to each prototype, the lower number of two equal ones.

  Args:
    prototypes: float [P, D] of unit length.
    centres: float [K, D] of unit length.

  Returns:
    labels: int32 [P] in [0, K).
    similarity: float32 [P], the cosines.
  """
  parts = [nearest_neighbours(prototypes[begin:begin + _AT_ONCE], centres, 1)
           for begin in range(0, max(len(prototypes), 1), _AT_ONCE)]
  similarity, labels = (np.concatenate(values)[:, 0] for values in zip(*parts, strict=True))
  return labels, similarity


def choose_seeds(prototypes, weights, num_classes, rng):
  """Draws prototypes as the first centres (k-means++): one by weight, the next by weight times the
  distance 1 - cosine (half the square of the Euclidean) to the nearest one that was drawn before.

  Args:
    prototypes: float [P, D] of unit length.
    weights: float [P], positive.
    num_classes: K, at most P.
    rng: `numpy.random.Generator`.

  Returns:
    int64 [K], places of K different prototypes, in the order in which they were drawn.
  """
  points = np.asarray(prototypes, np.float64)
  seeds = []
  distance = np.ones(len(points))
  free = np.array(weights, np.float64)
  for _ in range(num_classes):
    # Of copies of a seed the distance is 0, and they are drawn when nothing else is left.
    mass = np.cumsum(free * np.maximum(distance, 1e-12))
    place = np.searchsorted(mass, rng.uniform(0, mass[-1]), side='right')
    place = min(place, np.flatnonzero(free)[-1])  # rounding may reach the very end
    seeds.append(place)
    free[place] = 0
    nearer = 1 - np.einsum('pd,d->p', points, points[place])  # far faster than BLAS on thin ones
    distance = nearer if len(seeds) == 1 else np.minimum(distance, nearer)
  return np.array(seeds)


def refine(prototypes, weights, labels, num_classes, iterations=100):
  """Weighted spherical k-means from initial groups, in which no group stays empty.

  Where one is empty in the end, it takes the prototype that lies worst in its own group, which
  raises the objective too, and k-means goes on.

  Args:
    prototypes: float32 [P, D] of unit length.
    weights: float [P], positive.
    labels: int [P] in [0, num_classes), the groups at the start.
    num_classes: K.
    iterations: of k-means at most, each time.

  Returns:
    `Clustering`; its objective is not below that of the groups at the start.

  Raises:
    ValueError: fewer than K prototypes can be told apart.
  """
  weights = np.asarray(weights, np.float32)
  weights = weights / weights.mean()
  # The length of a prototype changes nothing in which centre is its nearest, but is its weight in
  # the sum that a centre is.
  weighted = tf.constant(prototypes * weights[:, None])
  for _ in range(_MOST_ROUNDS):
    labels = spherical_kmeans(weighted[None], labels[None], num_classes, iterations)[0]
    centres = segment_prototypes(weighted, labels, num_classes)[0].numpy()
    there = np.flatnonzero(centres.any(axis=1))
    # Once more by the centres that are returned, which k-means has moved since.
    labels, similarity = nearest_centres(prototypes, centres[there])
    labels = there[labels]
    empty = np.setdiff1d(np.arange(num_classes), labels)
    if not len(empty):
      break
    # However heavy, what cannot be told from its centre would come back to it.
    apart = np.flatnonzero(similarity <= 1 - _ROUNDING)
    if not len(apart):
      break
    loss = weights[apart] * (1 - similarity[apart])
    worst = apart[np.argsort(-loss, kind='stable')[:len(empty)]]
    labels[worst] = empty[:len(worst)]
  if len(empty):
    raise ValueError(f'only {num_classes - len(empty)} of {len(labels)} prototypes can be told '
                     f'apart, too few for {num_classes} groups')
  order = np.argsort(-np.bincount(labels, weights, num_classes), kind='stable')
  objective = np.average(similarity.astype(np.float64), weights=weights)
  return Clustering(centres[order], np.argsort(order).astype(np.int32)[labels], float(objective))


def cluster_prototypes(prototypes, num_classes, seeds, weights=None, iterations=100):
  """Groups prototypes by spherical k-means, and keeps the best of several attempts.

  What is maximised is the weighted mean cosine of prototypes and the centres of their groups.

  Args:
    prototypes: float [P, D] of unit length, from all images of a data set.
    num_classes: K.
    seeds: iterable of what `numpy.random.default_rng` takes, one for each attempt; the result
      depends on them and on the order of the prototypes.
    weights: float [P], positive, such as the pixels of each segment; or None for equal ones.
    iterations: of k-means at most.

  Returns:
    `Clustering`, groups in descending order of their weight.

  Raises:
    ValueError: K is below 1 or above P, or fewer than K prototypes can be told apart.
  """
  prototypes = np.asarray(prototypes, np.float32)
  count = len(prototypes)
  if not 1 <= num_classes <= count:
    raise ValueError(f'{num_classes} groups of {count} prototypes: choose from 1 to {count}')
  weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
  best = None
  for seed in seeds:
    chosen = choose_seeds(prototypes, weights, num_classes, np.random.default_rng(seed))
    labels, _ = nearest_centres(prototypes, prototypes[chosen])
    found = refine(prototypes, weights, labels, num_classes, iterations)
    if best is None or found.objective > best.objective:
      best = found
  return best

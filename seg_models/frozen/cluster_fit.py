"""Clusters found among the codes of a data set at once, by spherical k-means."""

import numpy as np
import tqdm

from network.segsort.pseudo_classes import cluster_prototypes

_CODES = 40_000  # that are clustered at most
_AT_ONCE = 32


def sample_codes(codes_of, store, seed, most=_CODES):
  """Codes of unit length from all over a data set.

  Args:
    codes_of: function from features float32 [B, h, w, C] to codes [B, h, w, D].
    store: `seg_models.frozen.store.FeatureStore`.
    seed: non-negative int.
    most: at most so many codes; of each view as many, at places that are drawn for it, of a data
      set with more views one of so many views.

  Returns:
    float32 [P, D]; codes of zeros, which have no direction, are left out.
  """
  count = len(store)
  samples = []
  views = np.arange(count)
  if count > most:  # a code of each were too many
    views = np.sort(np.random.default_rng([seed, count]).permutation(count)[:most])
  for begin in tqdm.tqdm(range(0, len(views), _AT_ONCE), desc='codes'):
    indices = views[begin:begin + _AT_ONCE]
    codes = np.asarray(codes_of(store.features(indices)), np.float32)
    codes = codes.reshape(len(indices), -1, codes.shape[-1])
    each = min(codes.shape[1], max(1, most // count))
    for index, rows in zip(indices, codes, strict=True):
      places = np.random.default_rng([seed, index]).permutation(len(rows))[:each]
      samples.append(rows[np.sort(places)])
  samples = np.concatenate(samples)
  norms = np.linalg.norm(samples, axis=1, keepdims=True)
  return samples[norms[:, 0] > 0] / norms[norms[:, 0] > 0]


def fit_clusters(codes_of, store, num_clusters, restarts, seed):
  """Centres that many codes of a data set are near to.

  Args:
    codes_of, store, seed: see `sample_codes`.
    num_clusters: K.
    restarts: attempts, of which the one with the greatest mean cosine of codes and their centres
      is taken: no label is looked at.

  Returns:
    `network.segsort.pseudo_classes.Clustering`, the heaviest cluster first.

  Raises:
    ValueError: fewer than K codes can be told apart.
  """
  samples = sample_codes(codes_of, store, seed)
  attempts = tqdm.tqdm([[seed, attempt] for attempt in range(restarts)], desc='k-means')
  return cluster_prototypes(samples, num_clusters, attempts)

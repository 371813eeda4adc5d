"""Endless batches of frozen features, the same ones in every run."""

import functools
import itertools

import numpy as np
import tensorflow as tf

from utils.background import map_ahead


def check_counts(count, batch_size, num_neighbors=None, most=None):
  """Raises a ValueError if `count` views are too few for batches of `batch_size`.

  Or for `num_neighbors` of each, of which there are `most`, or as many as other views.
  """
  most = count - 1 if most is None else most
  if batch_size > count:
    raise ValueError(f'--batch_size {batch_size}: there are only {count} images or crops; give '
                     'fewer, or more images')
  if num_neighbors is not None and not 1 <= num_neighbors <= most:
    raise ValueError(f'--num_neighbors {num_neighbors}: expected 1 to {most}, the neighbours that '
                     f'each of {count} images or crops has')


def frozen_batches(store, batch_size, seed, first_step=0, *, share=(0, 1), neighbours=None,
                   num_neighbors=0, with_images=False, prefetch=4, device=None):
  """Batches that depend on (seed, step) alone, whichever step a run starts with.

  Each epoch is a permutation by (seed, epoch), of which the last, incomplete batch is left out: no
  view is twice in a batch, where it would be its own negative.

  Args:
    store: `FeatureStore` of N views.
    batch_size: B, at most N; of all parts together.
    seed: non-negative int.
    first_step: the batch to begin with.
    share: (i, n) for the i-th of n equal parts of every batch, of which nothing else is read or
      computed; B below is then batch_size / n.
    neighbours: None, or int [N, k] of `find_neighbours`.
    num_neighbors: a view's partner is one of so many of its nearest neighbours, each as likely;
      at most k.
    with_images: whether batches hold images too.
    prefetch: batches that are made in the background.
    device: TensorFlow device that they are put on there; None for the default one.

  Yields:
    dict of tensors: features float32 [B, h, w, C]; with neighbours partner_features, likewise;
    label int32 [B, H, W], -1 where unknown; index int64 [B], places in `store.views`; with images
    image float32 [B, H, W, 3], RGB minus `MEAN_RGB`.

  Raises:
    ValueError: there are too few views or neighbours; before the first batch.
  """
  count = len(store)
  part, parts = share
  if batch_size % parts:
    raise ValueError(f'--batch_size {batch_size} cannot be divided into {parts} parts')
  own = slice(part * batch_size // parts, (part + 1) * batch_size // parts)
  if neighbours is None:
    check_counts(count, batch_size)
  else:
    check_counts(count, batch_size, num_neighbors, neighbours.shape[1])
  per_epoch = count // batch_size
  order = functools.lru_cache(maxsize=2)(
      lambda epoch: np.random.default_rng([seed, 0, epoch]).permutation(count))

  def make_batch(step):
    epoch, place = divmod(step, per_epoch)
    indices = order(epoch)[place * batch_size:(place + 1) * batch_size][own]
    batch = {'features': store.features(indices), 'label': store.labels(indices),
             'index': indices.astype(np.int64)}
    if neighbours is not None:
      ranks = np.random.default_rng([seed, 1, step]).integers(num_neighbors, size=batch_size)[own]
      batch['partner_features'] = store.features(neighbours[indices, ranks])
    if with_images:
      batch['image'] = store.images(indices)
    with tf.device(device):
      return {name: tf.convert_to_tensor(value) for name, value in batch.items()}

  return map_ahead(make_batch, itertools.count(first_step), prefetch)

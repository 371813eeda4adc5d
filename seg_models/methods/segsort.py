"""SegSort, supervised: pixels sorted towards the segments of their class (ICCV 2019)."""

import dataclasses

import tensorflow as tf

from network.common import replicas
from network.common.layers import resize_nearest_legacy
from network.segsort import clustering, losses, memory, prototypes
from utils.configuration import option
from utils.train_step import StepOutput


@dataclasses.dataclass(frozen=True)
class SegSortConfig:
  """Options of the loss and of the clustering it works on; defaults are the original's."""
  concentration: float = option(10.0, "kappa, how sharply a pixel's neighbours are weighted")
  num_clusters: int = option(5, 'clusters along each axis of the image at the start of k-means')
  kmeans_iterations: int = option(10, 'iterations of spherical k-means at most')
  num_banks: int = option(2, 'batches whose prototypes are remembered')
  location_weight: float = option(1.0, 'weight of the place in the image in the clustering')

  def __post_init__(self):
    if not self.concentration > 0:
      raise ValueError(f'--concentration {self.concentration}: must be above 0')
    if self.num_clusters < 1:
      raise ValueError(f'--num_clusters {self.num_clusters}: must be at least 1')
    for name in ('kmeans_iterations', 'num_banks'):
      if getattr(self, name) < 0:
        raise ValueError(f'--{name} {getattr(self, name)}: must not be negative')


class SegSort:
  """The supervised method: what `utils.train_step` trains and `seg_models.pictures` draws.

  Args:
    model: [B, H, W, 3] -> embedding, not normalised, [B, h, w, D].
    dataset: descriptor (`seg_models.datasets.Dataset`).
    config: `SegSortConfig`.
    batch_size: images of all replicas, for which the memory has room.
    seed: int, of the choice of what is remembered when there is more than room.
  """
  Config = SegSortConfig
  name = 'segsort'

  def __init__(self, model, dataset, config, batch_size, seed):
    self.model = model
    self.dataset = dataset
    self.config = config
    self.batch_size = batch_size
    self.seed = seed

  @staticmethod
  def output_dim(num_classes, embedding_dim):
    """Channels that the network must have."""
    del num_classes
    return embedding_dim

  def initial_state(self):
    """The empty memory; a bank has room for one prototype a cluster, as in the original."""
    config = self.config
    capacity = config.num_clusters ** 2 * self.batch_size
    empty = memory.empty_memory(config.num_banks, capacity, self.model.output_shape[-1])
    return {f'memory_{name}': value.numpy() for name, value in empty._asdict().items()}

  def segments(self, batch, training):
    """Embeds and clusters a batch.

    Returns:
      embedding: float32 [B, h, w, D] of unit length.
      clusters: int32 [B, h * w], -1 in padding; no gradient.
    """
    config = self.config
    embedding = prototypes.l2_normalize(self.model(batch['image'], training=training))
    size = tf.shape(embedding)[1:3]
    location = resize_nearest_legacy(batch['location'], size)
    valid = resize_nearest_legacy(batch['valid'], size)
    initial = clustering.grid_labels_at(
        location, batch['size'][:, tf.newaxis, tf.newaxis], config.num_clusters,
        config.num_clusters)
    features = clustering.clustering_features(
        tf.stop_gradient(embedding), location, config.location_weight)
    count, pixels = embedding.shape[0], size[0] * size[1]
    clusters = clustering.spherical_kmeans(
        tf.reshape(features, [count, pixels, features.shape[-1]]),
        tf.reshape(initial, [count, pixels]), config.num_clusters ** 2, config.kmeans_iterations,
        tf.reshape(valid, [count, pixels]))
    return embedding, clusters

  def loss(self, batch, state, step):
    """Mean supervised loss over the valid pixels of all replicas; see `utils.train_step`.

    Pixels with the ignore label are clustered, as they are at inference, but have no piece.
    """
    config, dataset = self.config, self.dataset
    embedding, clusters = self.segments(batch, training=True)
    labels = resize_nearest_legacy(batch['label'], tf.shape(embedding)[1:3])
    pieces = prototypes.piece_ids(
        clusters, tf.reshape(labels, tf.shape(clusters)), config.num_clusters ** 2,
        dataset.num_classes, dataset.ignore_label)
    flat = tf.reshape(embedding, [-1, embedding.shape[-1]])
    rows = pieces.labels.shape[0]
    local, _ = prototypes.segment_prototypes(flat, pieces.ids, rows)
    everyone = replicas.gather_rows(local)
    all_labels = replicas.gather_rows(pieces.labels)
    all_valid = replicas.gather_rows(tf.cast(pieces.valid, tf.int32)) > 0
    own = tf.where(pieces.ids >= 0, pieces.ids + replicas.own_offset(rows), -1)

    old = memory.Memory(*(state[f'memory_{name}'] for name in memory.Memory._fields))
    result = losses.supervised_segsort_loss(
        flat, own, everyone, all_labels, all_valid, config.concentration,
        memory=memory.flatten(old) if config.num_banks else None)
    weight = tf.reduce_sum(result.valid)
    everywhere = replicas.sum_over_replicas(weight)
    loss = tf.math.divide_no_nan(tf.reduce_sum(result.per_pixel), everywhere)
    new = memory.memory_update(
        old, everyone, all_labels, all_valid, tf.stack([self.seed, step]))
    present = tf.reduce_sum(tf.cast(all_valid, tf.float32))
    metrics = {
        'positive_similarity': (tf.reduce_sum(result.positive_similarity), weight),
        'negative_similarity': (tf.reduce_sum(result.negative_similarity), weight),
        'num_prototypes': (present, tf.constant(1.0)),
        'num_remembered': (
            tf.reduce_sum(tf.cast(old.valid, tf.float32)), tf.constant(1.0))}
    state = {f'memory_{name}': value for name, value in new._asdict().items()}
    return StepOutput(loss, metrics, state)

  def maps(self, batch):
    """What `seg_models.pictures` draws: segments, int32 [B, h, w], and the embedding."""
    embedding, clusters = self.segments(batch, training=False)
    return {'segments': tf.reshape(clusters, tf.shape(embedding)[:3]), 'embedding': embedding}

"""SegSort, supervised: pixels sorted towards the segments of their class (ICCV 2019)."""

import dataclasses

import tensorflow as tf

from network.common import replicas
from network.common.layers import resize_nearest_legacy
from network.segsort import clustering, losses, memory, pieces, prototypes
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
  needs_mask = True
  needs_oversegmentation = False

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

  def _inputs(self, batch, training):
    """The embedding, not normalised, and what the clustering of its cells starts from."""
    clusters = self.config.num_clusters
    embedding = self.model(batch['image'], training=training)
    size = tf.shape(embedding)[1:3]
    location = resize_nearest_legacy(batch['location'], size)
    initial = clustering.grid_labels_at(
        location, batch['size'][:, tf.newaxis, tf.newaxis], clusters, clusters)
    return embedding, initial, location, size

  def loss(self, batch, state, step):
    """Mean supervised loss over the valid pixels of all replicas; see `utils.train_step`."""
    config, dataset = self.config, self.dataset
    embedding, initial, location, size = self._inputs(batch, training=True)
    local = pieces.supervised_pieces(
        embedding, resize_nearest_legacy(batch['label'], size), initial, location,
        num_clusters=config.num_clusters ** 2, num_classes=dataset.num_classes,
        iterations=config.kmeans_iterations, ignore_label=dataset.ignore_label,
        location_weight=config.location_weight)
    rows = local.labels.shape[0]
    everyone = replicas.gather_rows(local.prototypes)
    labels = replicas.gather_rows(local.labels)
    valid = replicas.gather_rows(tf.cast(local.valid, tf.int32)) > 0
    own = tf.where(local.own_index >= 0, local.own_index + replicas.own_offset(rows), -1)

    old = memory.Memory(*(state[f'memory_{name}'] for name in memory.Memory._fields))
    result = losses.supervised_segsort_loss(
        local.embedding, own, everyone, labels, valid, config.concentration,
        memory=memory.flatten(old) if config.num_banks else None)
    weight = tf.reduce_sum(result.valid)
    loss = tf.math.divide_no_nan(
        tf.reduce_sum(result.per_pixel), replicas.sum_over_replicas(weight))
    # After the loss: a batch never finds its own prototypes in the memory.
    new = memory.memory_update(old, everyone, labels, valid, tf.stack([self.seed, step]))
    one = tf.constant(1.0)
    metrics = {
        'positive_similarity': (tf.reduce_sum(result.positive_similarity), weight),
        'negative_similarity': (tf.reduce_sum(result.negative_similarity), weight),
        'num_prototypes': (tf.reduce_sum(tf.cast(valid, tf.float32)), one),
        'num_remembered': (tf.reduce_sum(tf.cast(old.valid, tf.float32)), one)}
    return StepOutput(
        loss, metrics, {f'memory_{name}': value for name, value in new._asdict().items()})

  def maps(self, batch):
    """What `seg_models.pictures` draws: segments, int32 [B, h, w], and the embedding."""
    config = self.config
    embedding, initial, location, size = self._inputs(batch, training=False)
    embedding = prototypes.l2_normalize(embedding)
    features = clustering.clustering_features(embedding, location, config.location_weight)
    count = tf.shape(embedding)[0]
    clusters = clustering.spherical_kmeans(
        tf.reshape(features, [count, -1, features.shape[-1]]), tf.reshape(initial, [count, -1]),
        config.num_clusters ** 2, config.kmeans_iterations,
        tf.reshape(resize_nearest_legacy(batch['valid'], size), [count, -1]))
    return {'segments': tf.reshape(clusters, tf.shape(embedding)[:3]), 'embedding': embedding}

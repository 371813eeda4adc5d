"""SegSort, supervised: pixels sorted towards the segments of their class (ICCV 2019)."""

import dataclasses

import tensorflow as tf

from network.common import replicas
from network.common.layers import resize_nearest_legacy
from network.segsort import clustering, losses, memory, pieces, prototypes
from network.segsort.segments import find_segments
from seg_models.region_config import RegionConfig
from utils.configuration import option
from utils.train_step import StepOutput


@dataclasses.dataclass(frozen=True)
class SegSortConfig(RegionConfig):
  """Options of the loss and of the clustering it works on; defaults are the original's."""
  concentration: float = option(10.0, "kappa, how sharply a pixel's neighbours are weighted")
  num_clusters: int = option(5, 'clusters along each axis of the image at the start of k-means')
  kmeans_iterations: int = option(10, 'iterations of spherical k-means at most')
  num_banks: int = option(2, 'batches whose prototypes are remembered')
  location_weight: float = option(1.0, 'weight of the place in the image in the clustering')

  def __post_init__(self):
    super().__post_init__()
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

  def __init__(self, model, dataset, config, batch_size, seed):
    self.model = model
    self.dataset = dataset
    self.config = config
    self.batch_size = batch_size
    self.seed = seed

  @staticmethod
  def needs_oversegmentation(config):
    """Whether batches must hold oversegmentations."""
    return config.needs_regions

  @staticmethod
  def output_dim(num_classes, embedding_dim):
    """Channels that the network must have."""
    del num_classes
    return embedding_dim

  @staticmethod
  def network(config):
    """Further fields of the network's `ModelConfig`, and the outputs it is built with."""
    del config
    return {}, 'logits'

  def initial_state(self):
    """The empty memory; a bank has room for one prototype a cluster, as in the original.

    Aligned segments may be more. A bank then has room for as many as there are clusters and regions
    together; of more prototypes a random choice is remembered, as ever.
    """
    config = self.config
    room = self._most_clusters + config.align_segments * config.max_regions
    empty = memory.empty_memory(
        config.num_banks, room * self.batch_size, self.model.output_shape[-1])
    return {f'memory_{name}': value.numpy() for name, value in empty._asdict().items()}

  @property
  def _most_clusters(self):
    config = self.config
    from_grid = config.initial_segments == 'grid'
    return config.num_clusters ** 2 if from_grid else config.max_regions

  def _inputs(self, batch, training):
    """The embedding, not normalised, and how its cells are clustered.

    Returns:
      embedding: [B, h, w, D].
      size: int32 [2], h and w.
      location, initial: see `find_segments`.
      options: dict of its other arguments that do not depend on what is counted.
    """
    config = self.config
    embedding = self.model(batch['image'], training=training)
    size = tf.shape(embedding)[1:3]
    location = resize_nearest_legacy(batch['location'], size)
    regions = None
    if config.needs_regions:
      regions = resize_nearest_legacy(batch['oversegmentation'], size)
    initial = regions if config.initial_segments == 'oversegmentation' else (
        clustering.grid_labels_at(
            location, batch['size'][:, tf.newaxis, tf.newaxis], config.num_clusters,
            config.num_clusters))
    options = {
        'num_clusters': self._most_clusters, 'iterations': config.kmeans_iterations,
        'location_weight': config.location_weight,
        'regions': regions if config.align_segments else None,
        'min_piece_share': config.min_piece_share}
    return embedding, size, location, initial, options

  def loss(self, batch, state, step, draw):
    """Mean supervised loss over the valid pixels of all replicas; see `utils.train_step`."""
    config, dataset = self.config, self.dataset
    embedding, size, location, initial, options = self._inputs(batch, training=True)
    local = pieces.supervised_pieces(
        embedding, resize_nearest_legacy(batch['label'], size), initial, location,
        num_classes=dataset.num_classes, ignore_label=dataset.ignore_label, **options)
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
    new = memory.memory_update(old, everyone, labels, valid, tf.stack([self.seed, draw]))
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
    embedding, size, location, initial, options = self._inputs(batch, training=False)
    embedding = prototypes.l2_normalize(embedding)
    valid = resize_nearest_legacy(batch['valid'], size)
    segments = find_segments(embedding, location, initial, valid, **options)
    return {'segments': segments, 'embedding': embedding}

"""SegSort without labels: pixels sorted towards their own region of an oversegmentation."""

import dataclasses

import tensorflow as tf

from network.common import replicas
from network.common.layers import resize_nearest_legacy
from network.segsort import losses, pieces, prototypes
from utils.configuration import option
from utils.train_step import StepOutput


@dataclasses.dataclass(frozen=True)
class SegSortUnsupConfig:
  """Options of the unsupervised loss; defaults are the original's."""
  concentration: float = option(10.0, "kappa, how sharply a pixel's segments are weighted")
  max_regions: int = option(256, 'regions that an oversegmentation may have, of any ids')

  def __post_init__(self):
    if not self.concentration > 0:
      raise ValueError(f'--concentration {self.concentration}: must be above 0')
    if self.max_regions < 1:
      raise ValueError(f'--max_regions {self.max_regions}: must be at least 1')


class SegSortUnsup:
  """The unsupervised method: each pixel against its own region and all others of the batch.

  Deviates from the original: no label file is read, and padding is no region.

  Args:
    model: [B, H, W, 3] -> embedding, not normalised, [B, h, w, D].
    dataset, batch_size, seed: unused here; every method takes them.
    config: `SegSortUnsupConfig`.
  """
  Config = SegSortUnsupConfig
  name = 'segsort_unsup'
  needs_mask = False

  def __init__(self, model, dataset, config, batch_size, seed):
    del dataset, batch_size, seed
    self.model = model
    self.config = config

  @staticmethod
  def needs_oversegmentation(config):
    """Whether batches must hold oversegmentations."""
    del config
    return True

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
    return {}

  def loss(self, batch, state, step, draw):
    """Mean unsupervised loss over the pixels of all replicas; see `utils.train_step`."""
    del step, draw
    embedding = self.model(batch['image'], training=True)
    regions = resize_nearest_legacy(batch['oversegmentation'], tf.shape(embedding)[1:3])
    local = pieces.unsupervised_pieces(embedding, regions, num_ids=self.config.max_regions)
    rows = local.labels.shape[0]
    everyone = replicas.gather_rows(local.prototypes)
    valid = replicas.gather_rows(tf.cast(local.valid, tf.int32)) > 0
    own = tf.where(local.own_index >= 0, local.own_index + replicas.own_offset(rows), -1)
    result = losses.unsupervised_segsort_loss(
        local.embedding, own, everyone, valid, self.config.concentration)
    weight = tf.reduce_sum(result.valid)
    loss = tf.math.divide_no_nan(
        tf.reduce_sum(result.per_pixel), replicas.sum_over_replicas(weight))
    metrics = {
        'positive_similarity': (tf.reduce_sum(result.positive_similarity), weight),
        'negative_similarity': (tf.reduce_sum(result.negative_similarity), weight),
        'num_prototypes': (tf.reduce_sum(tf.cast(valid, tf.float32)), tf.constant(1.0))}
    return StepOutput(loss, metrics, state)

  def maps(self, batch):
    """What `seg_models.pictures` draws: the regions, int32 [B, h, w], and the embedding."""
    embedding = prototypes.l2_normalize(self.model(batch['image'], training=False))
    regions = resize_nearest_legacy(batch['oversegmentation'], tf.shape(embedding)[1:3])
    return {'segments': regions, 'embedding': embedding}

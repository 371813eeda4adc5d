"""Cross-image pixel contrast: a classifier whose features are sorted by class too (ICCV 2021)."""

import tensorflow as tf

from network.common import replicas
from network.common.layers import resize_nearest_legacy
from network.contrast import memory as memories
from network.contrast.losses import contrast_loss
from network.contrast.sampling import sample_anchors
from network.segsort.losses import mean_over_valid
from seg_models.methods.contrast_config import MEMORIES, ContrastConfig
from seg_models.methods.softmax import Softmax, classification_loss
from utils.train_step import StepOutput


class Contrast(Softmax):
  """Cross-entropy, and from some step on the contrast of a projection of the trunk's features.

  With weight 0 it is the cross-entropy alone, of a network without a projection head.

  Deviates from the original: the contrast is not evaluated during the warm-up, where it is
  multiplied by 0 there; on one device it is used as on several, where it is left out there; and
  logits are interpolated as in inference, with corners off corners.

  Args:
    model: [B, H, W, 3] -> dict of the outputs that `network` names.
    dataset: descriptor (`seg_models.datasets.Dataset`).
    config: `ContrastConfig`.
    batch_size: unused here.
    seed: int, of the choice of anchors and of remembered pixels.
  """
  Config = ContrastConfig
  name = 'contrast'

  def __init__(self, model, dataset, config, batch_size, seed):
    super().__init__(model, dataset, config, batch_size, seed)
    self.config = config
    self.seed = seed
    weights = config.class_weights
    if weights is not None and len(weights) != dataset.num_classes:
      raise ValueError(f'--class_weights: {len(weights)} numbers for {dataset.num_classes} classes')

  @staticmethod
  def network(config):
    """Further fields of the network's `ModelConfig`, and the outputs it is built with."""
    outputs = ('logits', 'auxiliary') if config.auxiliary_weight else ('logits',)
    if not config.contrast_weight:
      return {}, outputs
    return ({'projection': config.projection, 'projection_dim': config.projection_dim},
            (*outputs, 'projection'))

  @property
  def _queues(self):
    return MEMORIES[self.config.memory] if self.config.contrast_weight else ()

  def initial_state(self):
    """The empty queues."""
    config = self.config
    empty = memories.empty_queue(
        self.dataset.num_classes, config.memory_size, config.projection_dim)
    return {f'{name}_queue_{part}': value.numpy()
            for name in self._queues for part, value in empty._asdict().items()}

  def loss(self, batch, state, step, draw):
    """Cross-entropy of the joined batch plus weight * contrast; see `utils.train_step`."""
    config = self.config
    outputs = self.model(batch['image'], training=True)
    share = tf.constant(1.0 / replicas.num_replicas())

    def cross_entropy(logits):
      return classification_loss(
          logits, batch['label'], self.dataset.ignore_label,
          full_resolution=config.full_resolution, class_weights=config.class_weights)

    loss, metrics = cross_entropy(outputs['logits'])
    if config.auxiliary_weight or config.contrast_weight:
      metrics['cross_entropy'] = (loss, share)
    if config.auxiliary_weight:
      auxiliary, _ = cross_entropy(outputs['auxiliary'])
      metrics['auxiliary_cross_entropy'] = (auxiliary, share)
      loss += config.auxiliary_weight * auxiliary
    if not config.contrast_weight:
      return StepOutput(loss, metrics, state)
    contrast, more, state = self._contrast(outputs, batch['label'], state, step, draw)
    # Every replica has the contrast of the joined batch: each adds its share.
    loss += config.contrast_weight * contrast / replicas.num_replicas()
    return StepOutput(loss, {**metrics, **more}, state)

  def _contrast(self, outputs, labels, state, step, draw):
    """The contrast of all replicas' images (0 in the warm-up), metrics, and the next state."""
    config, num_classes = self.config, self.dataset.num_classes
    embedding = outputs['projection']
    pixels = embedding.shape[1:3].num_elements()
    if pixels is not None and config.max_views >= pixels:
      raise ValueError(
          f'--max_views {config.max_views}: no class has more pixels than that in a crop, whose '
          f'map has {pixels}, and none would ever have an anchor; give fewer, or larger crops')
    size = tf.shape(embedding)[1:3]
    labels = tf.where(labels == self.dataset.ignore_label, -1, labels)
    labels = resize_nearest_legacy(labels, size)
    prediction = resize_nearest_legacy(tf.argmax(outputs['logits'], -1, tf.int32), size)
    seeds = [tf.stack([self.seed, 2 * draw + i]) for i in (0, 1)]
    # Replicas may not wait for each other inside tf.cond; what they exchange is drawn before it.
    anchors = sample_anchors(
        embedding, labels, prediction, num_classes=num_classes, max_samples=config.max_samples,
        max_views=config.max_views, seed=seeds[0])
    queues = {name: memories.Queue(*(
        state[f'{name}_queue_{part}'] for part in memories.Queue._fields)) for name in self._queues}
    keys = memories.keys_of(*queues.values()) if queues else None

    def evaluate():
      result = contrast_loss(
          anchors.embedding, anchors.labels, anchors.valid, temperature=config.temperature,
          base_temperature=config.base_temperature, keys=keys)
      return tuple(mean_over_valid(values, result.valid) for values in (
          result.per_anchor, result.positive_similarity, result.negative_similarity)) + (
              tf.reduce_sum(result.valid),)

    active = step >= config.warmup_steps
    loss, positive, negative, count = tf.cond(
        active, evaluate, lambda: (tf.constant(0.0),) * 4)
    one = tf.constant(1.0)
    metrics = {
        'contrast_weight': (config.contrast_weight * tf.cast(active, tf.float32), one),
        'contrast_loss': (loss * count, count), 'num_anchors': (count, one),
        'positive_similarity': (positive * count, count),
        'negative_similarity': (negative * count, count)}
    if queues:
      metrics['num_remembered'] = (tf.reduce_sum(tf.cast(keys.valid, tf.float32)), one)
    # After the loss: a batch never finds its own pixels in the memory.
    rows = {'region': lambda: memories.region_rows(embedding, labels, num_classes),
            'pixel': lambda: memories.pixel_rows(
                embedding, labels, num_classes, config.pixel_update_freq, seeds[1])}
    new = {name: memories.enqueue(queue, *rows[name]()) for name, queue in queues.items()}
    return loss, metrics, {f'{name}_queue_{part}': value for name, queue in new.items()
                           for part, value in queue._asdict().items()}

  def maps(self, batch):
    """What `seg_models.pictures` draws: predicted labels, and the embedding where there is one."""
    outputs = self.model(batch['image'], training=False)
    maps = {'prediction': tf.argmax(outputs['logits'], -1, tf.int32)}
    if 'projection' in outputs:
      maps['embedding'] = outputs['projection']
    return maps

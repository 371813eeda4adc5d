"""Cross-image pixel contrast: a classifier whose features are sorted by class too (ICCV 2021)."""

import dataclasses

import tensorflow as tf

from network.common import replicas
from network.common.layers import resize_nearest_legacy
from network.contrast import memory as memories
from network.contrast.losses import contrast_loss
from network.contrast.projection import KINDS
from network.contrast.sampling import sample_anchors
from network.segsort.losses import mean_over_valid
from seg_models.methods.softmax import Softmax, classification_loss
from utils.configuration import option
from utils.train_step import StepOutput

MEMORIES = {'none': (), 'pixel': ('pixel',), 'region': ('region',), 'both': ('region', 'pixel')}


@dataclasses.dataclass(frozen=True)
class ContrastConfig:
  """Options of the contrast; defaults are those of the original's runs on Cityscapes."""
  contrast_weight: float = option(
      0.1, 'weight of the contrast beside the cross-entropy; 0 is the baseline, without a '
      'projection head')
  warmup_steps: int = option(5000, 'first steps, of the cross-entropy alone')
  temperature: float = option(0.1, 'of similarities in the contrast')
  base_temperature: float = option(
      0.07, 'the contrast is scaled by --temperature over this')
  max_samples: int = option(1024, 'anchors a batch at most, of all replicas together')
  max_views: int = option(
      100, 'anchors of a class in an image at most, half of them misclassified pixels; a class of '
      'not more pixels than that has none there')
  projection: str = option(
      'convmlp', 'projection head: one 1x1 convolution, or two', choices=KINDS)
  projection_dim: int = option(256, 'channels of the embedding that is contrasted')
  memory: str = option(
      'none', "what anchors are contrasted with in each other's place: random pixels of earlier "
      "batches, the mean of each class in each image, or both. Off by default: the original's "
      'published gain is of the loss without a memory, it gives no result with one, and its users '
      'found theirs below the baseline', choices=tuple(MEMORIES))
  memory_size: int = option(5000, 'pixels, and means, that are remembered of each class')
  pixel_update_freq: int = option(
      10, 'pixels of a class in an image that are remembered at most')
  full_resolution: bool = option(
      True, "cross-entropy at the images' resolution; otherwise at the network's, for which labels "
      'are sampled, as train_softmax.py does')
  class_weights: tuple[float, ...] | None = option(
      None, 'how much a pixel of each class counts in the cross-entropy; default: all the same')
  auxiliary_weight: float = option(
      0.0, "weight of the cross-entropy of auxiliary logits, of the trunk before its last block or "
      "OCR's soft regions; the original's is 0.4, of DeepLab v3 and OCR")

  def __post_init__(self):
    for name in ('temperature', 'base_temperature', 'max_samples', 'max_views', 'projection_dim',
                 'memory_size', 'pixel_update_freq'):
      if not getattr(self, name) > 0:
        raise ValueError(f'--{name} {getattr(self, name)}: must be above 0')
    for name in ('contrast_weight', 'warmup_steps', 'auxiliary_weight'):
      if getattr(self, name) < 0:
        raise ValueError(f'--{name} {getattr(self, name)}: must not be negative')
    for name, choices in (('memory', MEMORIES), ('projection', KINDS)):
      if getattr(self, name) not in choices:
        raise ValueError(f'--{name} {getattr(self, name)}: one of {", ".join(choices)}')
    if self.class_weights is not None and min(self.class_weights, default=0) < 0:
      raise ValueError(f'--class_weights {self.class_weights}: must not be negative')

  def check_run(self, num_steps):
    """Raises a ValueError where a run of so many steps would never use the contrast."""
    if self.contrast_weight and self.warmup_steps >= num_steps:
      raise ValueError(
          f'--warmup_steps {self.warmup_steps}: the run ends after --num_steps {num_steps}, before '
          'the contrast begins; give fewer (the original: an eighth of the run), or '
          '--contrast_weight 0 for the cross-entropy alone')


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

  def loss(self, batch, state, step):
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
    contrast, more, state = self._contrast(outputs, batch['label'], state, step)
    # Every replica has the contrast of the joined batch: each adds its share.
    loss += config.contrast_weight * contrast / replicas.num_replicas()
    return StepOutput(loss, {**metrics, **more}, state)

  def _contrast(self, outputs, labels, state, step):
    """The contrast of all replicas' images (0 in the warm-up), metrics, and the next state."""
    config, num_classes = self.config, self.dataset.num_classes
    embedding = outputs['projection']
    size = tf.shape(embedding)[1:3]
    labels = tf.where(labels == self.dataset.ignore_label, -1, labels)
    labels = resize_nearest_legacy(labels, size)
    prediction = resize_nearest_legacy(tf.argmax(outputs['logits'], -1, tf.int32), size)
    seeds = [tf.stack([self.seed, 2 * step + i]) for i in (0, 1)]
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

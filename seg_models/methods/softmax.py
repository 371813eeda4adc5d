"""The baseline: the same network, crops and schedule, trained as a per-pixel classifier."""

import dataclasses

import tensorflow as tf

from network.common import replicas
from network.common.cross_entropy import cross_entropy
from network.common.layers import resize_bilinear_legacy, resize_nearest_legacy
from utils.train_step import StepOutput


@dataclasses.dataclass(frozen=True)
class SoftmaxConfig:
  """Softmax cross-entropy has no options of its own."""


def classification_loss(logits, labels, ignore_label, *, full_resolution=False,
                        class_weights=None):
  """Mean cross-entropy over the labelled pixels of all replicas; called in replica context.

  Args:
    logits: float [B, h, w, C].
    labels: int32 [B, H, W].
    ignore_label: of pixels that do not count.
    full_resolution: logits are interpolated to the labels' size (as inference does), where
      otherwise labels are sampled at the logits'.
    class_weights: None for 1, or float [C], how much a pixel of each class counts.

  Returns:
    loss: float32 scalar; the replicas' losses sum to the mean over the joined batch. 0 with zero
      gradient where nothing is labelled.
    metrics: as of `utils.train_step.StepOutput`.
  """
  if full_resolution:
    logits = resize_bilinear_legacy(logits, labels.shape[1:])
  else:
    labels = resize_nearest_legacy(labels, tf.shape(logits)[1:3])
  labels = tf.where(labels == ignore_label, -1, labels)
  total, weight = cross_entropy(logits, labels, class_weights)
  loss = tf.math.divide_no_nan(total, replicas.sum_over_replicas(weight))
  counted = tf.cast((labels >= 0) & (labels < logits.shape[-1]), tf.float32)
  correct = tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32) * counted
  return loss, {'pixel_accuracy': (tf.reduce_sum(correct), tf.reduce_sum(counted))}


class Softmax:
  """Cross-entropy of the logits at the network's resolution against labels sampled there.

  Args:
    model: [B, H, W, 3] -> logits [B, h, w, num_classes].
    dataset: descriptor (`seg_models.datasets.Dataset`).
    config: `SoftmaxConfig`.
    batch_size, seed: unused here; every method takes them.
  """
  Config = SoftmaxConfig
  name = 'softmax'
  needs_mask = True

  def __init__(self, model, dataset, config, batch_size, seed):
    del config, batch_size, seed
    self.model = model
    self.dataset = dataset

  @staticmethod
  def needs_oversegmentation(config):
    """Whether batches must hold oversegmentations."""
    del config
    return False

  @staticmethod
  def output_dim(num_classes, embedding_dim):
    """Channels that the network must have."""
    del embedding_dim
    return num_classes

  @staticmethod
  def network(config):
    """Further fields of the network's `ModelConfig`, and the outputs it is built with."""
    del config
    return {}, 'logits'

  def initial_state(self):
    return {}

  def loss(self, batch, state, step, draw):
    """Mean cross-entropy over the valid pixels of all replicas; see `utils.train_step`."""
    del step, draw
    logits = self.model(batch['image'], training=True)
    loss, metrics = classification_loss(logits, batch['label'], self.dataset.ignore_label)
    return StepOutput(loss, metrics, state)

  def maps(self, batch):
    """What `seg_models.pictures` draws: the predicted labels, int32 [B, h, w]."""
    logits = self.model(batch['image'], training=False)
    return {'prediction': tf.argmax(logits, -1, tf.int32)}

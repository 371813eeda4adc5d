"""The baseline: the same network, crops and schedule, trained as a per-pixel classifier."""

import dataclasses

import tensorflow as tf

from network.common import replicas
from network.common.layers import resize_nearest_legacy
from utils.train_step import StepOutput


@dataclasses.dataclass(frozen=True)
class SoftmaxConfig:
  """Softmax cross-entropy has no options of its own."""


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

  def initial_state(self):
    return {}

  def loss(self, batch, state, step):
    """Mean cross-entropy over the valid pixels of all replicas; see `utils.train_step`."""
    del step
    logits = self.model(batch['image'], training=True)
    labels = resize_nearest_legacy(batch['label'], tf.shape(logits)[1:3])
    valid = labels != self.dataset.ignore_label
    weights = tf.cast(valid, tf.float32)
    per_pixel = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.where(valid, labels, 0), logits=logits) * weights
    count = replicas.sum_over_replicas(tf.reduce_sum(weights))
    loss = tf.math.divide_no_nan(tf.reduce_sum(per_pixel), count)
    correct = tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32) * weights
    metrics = {'pixel_accuracy': (tf.reduce_sum(correct), tf.reduce_sum(weights))}
    return StepOutput(loss, metrics, state)

  def maps(self, batch):
    """What `seg_models.pictures` draws: the predicted labels, int32 [B, h, w]."""
    logits = self.model(batch['image'], training=False)
    return {'prediction': tf.argmax(logits, -1, tf.int32)}

"""The rows of `pyscripts/benchmark/benchmark_speed.py` that are steps on a frozen ViT-S/8."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from seg_models import speed
from seg_models.datasets import dataset_for
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.trunk import TrunkConfig, load_trunk
from utils.train_step import TrainStep
from utils.training import TrainingConfig

SIDE, BACKBONE, CLASSES = 224, 'dino_vits8', 27
# The trunk takes its seconds: a call for each time would be long.
_ROUNDS = 2


def frozen_step(method_name, batch_size):
  """A function of a scale that returns the `speed.Work` of a step: of features that are at hand.

  The plain way is that of the originals: the trunk, which never changes, in every step, once for
  each image that the step is about. Weights are drawn, as times do not depend on them.

  Args:
    method_name: key of `FROZEN_METHODS`.
    batch_size: images a step.
  """
  method_class = FROZEN_METHODS[method_name]

  def build(scale):
    side, count = max(int(SIDE * scale) // 8, 2) * 8, max(int(batch_size * scale), 2)
    trunk = load_trunk(TrunkConfig(BACKBONE, random_backbone=True))
    random = np.random.default_rng(0)
    images = random.integers(0, 256, [count, side, side, 3], np.uint8)
    cells = [count, side // 8, side // 8, trunk.channels]
    batch = {
        'label': tf.constant(random.integers(0, CLASSES, [count, side, side]), tf.int32),
        'index': tf.range(count, dtype=tf.int64)}
    names = ['features']
    config = method_class.Config()
    if hasattr(config, 'num_neighbors'):
      names.append('partner_features')
    drawn = {name: tf.constant(random.normal(size=cells), tf.float32) for name in names}
    method = method_class(
        method_class.build_head(trunk.channels, config, 0),
        dataset_for(None, CLASSES), config, count, 0)
    loop = dataclasses.replace(
        TrainingConfig(), batch_size=count, num_steps=1000, optimizer='adam', power=0.0,
        learning_rate=1e-4, weight_decay=0.0)
    step = TrainStep(
        method, method.variables(), loop, tf.distribute.get_strategy(), method.rate_multipliers())

    def run(features):
      metrics = step([{**batch, **features()}], 0)
      return tf.nest.map_structure(np.asarray, metrics)

    return speed.Work(
        functools.partial(run, lambda: drawn),
        functools.partial(run, lambda: {name: trunk(images) for name in names}),
        notes=lambda times: {'images_per_second': count / times['fast'].seconds,
                             'with_the_trunk': count / times['plain'].seconds},
        rounds=_ROUNDS)
  return build

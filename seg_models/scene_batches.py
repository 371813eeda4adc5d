"""Batches of drawn scenes, for measurements and tests that need no data set."""

import numpy as np
import tensorflow as tf

from seg_models.augmentation import augment
from utils.scenes import VOID, draw_scene

# Rectangles of the oversegmentation, down and across.
GRID = (8, 6)


def scene_batch(step, batch_size, augmentation, dataset, seed=0):
  """One batch as `seg_models.image_reader.training_batches` gives them, of scenes drawn for it.

  Args:
    step: number of the batch; other numbers, other scenes.
    batch_size: B.
    augmentation: `AugmentationConfig`; scenes are drawn in the size of the crops, h x w.
    dataset: descriptor; a class of the scenes that it does not have becomes one that it has.
    seed: non-negative int.

  Returns:
    dict of tensors, see `training_batches`, with an oversegmentation of at most 48 regions, of ids
    from 0 to 47, which cut across objects.
  """
  height, width = augmentation.input_size
  rows = np.arange(height)[:, None] * GRID[0] // height
  columns = np.arange(width) * GRID[1] // width
  regions = (rows * GRID[1] + columns).astype(np.int32)
  examples = []
  for place in range(batch_size):
    random = np.random.default_rng([seed, step, place])
    image, label = draw_scene(random, height, width)
    label = np.where(
        label == VOID, dataset.ignore_label, label.astype(np.int32) % len(dataset.classes))
    maps = {'label': (label, dataset.ignore_label), 'oversegmentation': (regions, -1)}
    examples.append({
        **augment(image, maps, augmentation, random),
        'size': np.array([height, width], np.int32), 'index': np.int64(place)})
  return {name: tf.convert_to_tensor(np.stack([example[name] for example in examples]))
          for name in examples[0]}

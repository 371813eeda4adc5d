"""The parts of `reference_contrast` around the loss: queues and projection heads."""

import keras
import numpy as np
import tensorflow as tf

from network.common.layers import LayerOptions, resize_nearest_legacy
from network.contrast import memory
from network.contrast.projection import projection
from network.segsort.prototypes import l2_normalize
from utils.comparison import Comparison, mismatches, relative_error

_EPSILON = 1e-5  # of batch norm, in the original


class NotComparable(Exception):
  """A quantity is known, but the file gives nothing to compare it with; the message says why."""


def maps_of(x):
  """[B, C, h, w] -> float32 [B, h, w, C]."""
  return np.moveaxis(np.asarray(x, np.float32), 1, -1)


def compare_queues(values):
  """Queues after several batches; see `reference_contrast.compare_contrast`.

  The original's pixel queues, its class 0, and all that it fills by labels of another size than the
  embedding's hold its bugs. Each pixel that is stored here is checked to have its queue's class.

  Args:
    values: seg_q0 and pix_q0 [C, M, D] before, keys<n> [B, D, h, w] and labels<n> [B, H, W] of each
      step, stride, freq (pixels of a class in an image at most), and what came out of it.

  Returns:
    As `compare_contrast`, of this case.
  """
  steps = sorted(name[4:] for name in values if name.startswith('keys') and name[4:].isdigit())
  num_classes, size, dim = values['seg_q0'].shape
  zero = tf.zeros([num_classes], tf.int32)
  regions = memory.Queue(tf.constant(values['seg_q0']), zero, zero)
  pixels = memory.empty_queue(num_classes, size, dim)
  seen = [[] for _ in range(num_classes)]  # unit embeddings of each class
  stored = np.zeros(num_classes, int)
  same_labels = True
  for step in steps:
    keys = tf.constant(maps_of(values[f'keys{step}']))
    labels = tf.constant(values[f'labels{step}'].astype(np.int32))
    stride = int(values['stride'])
    theirs = labels[:, ::stride, ::stride]
    labels = resize_nearest_legacy(labels, keys.shape[1:3])
    same_labels &= mismatches(labels, theirs) == 0
    regions = memory.enqueue(regions, *memory.region_rows(keys, labels, num_classes))
    rows, valid = memory.pixel_rows(keys, labels, num_classes, int(values['freq']))
    pixels = memory.enqueue(pixels, rows, valid)
    stored += valid.numpy().sum(axis=1)
    unit = l2_normalize(keys).numpy()
    for label in range(num_classes):
      seen[label].append(unit[labels.numpy() == label])

  comparisons, not_compared = [], {}
  for name, expected in values.items():
    if name in ('seg_q1', 'seg_ptr1') and same_labels:
      actual = (regions.features if name == 'seg_q1' else regions.pointer).numpy()
      compare, tolerance = (relative_error, 1e-5) if name == 'seg_q1' else (mismatches, 0.0)
      comparisons.append(Comparison(name, compare(actual[1:], expected[1:]), tolerance))
    elif name in ('seg_q1', 'seg_ptr1'):
      not_compared[name] = "the original's labels are not those of the embedding's pixels"
    elif name in ('pix_q1', 'pix_ptr1'):
      not_compared[name] = "the original's pixels need not be of their class, its pointers are off"
  wrong = sum(
      _strangers(pixels.features[label, :int(pixels.filled[label])].numpy(),
                 np.concatenate(seen[label]))
      for label in range(num_classes))
  wrong += mismatches(pixels.filled, np.minimum(stored, size))
  comparisons.append(Comparison('pixels_of_their_class', float(wrong), 0.0))
  return comparisons, not_compared


def _strangers(rows, members):
  """How many rows [n, D] are none of the members [m, D]."""
  if not len(rows):
    return 0
  if not len(members):
    return len(rows)
  distance = np.abs(rows[:, np.newaxis] - members[np.newaxis]).max(axis=-1).min(axis=1)
  return int((distance > 1e-5).sum())


def compare_projection(values):
  """A projection head with given weights; see `reference_contrast.compare_contrast`.

  Args:
    values: x [B, C, h, w], y_train and y_eval [B, dim, h, w], and the original's parameters.

  Returns:
    As `compare_contrast`, of this case.
  """
  inputs = keras.Input([None, None, values['x'].shape[1]])
  kind = 'linear' if 'proj_weight' in values else 'convmlp'
  last = 'proj' if kind == 'linear' else 'proj_2'
  model = keras.Model(inputs, projection(
      inputs, kind, values[f'{last}_weight'].shape[0], 'p', LayerOptions(epsilon=_EPSILON)))
  head = {'conv2/kernel': _kernel(values[f'{last}_weight']), 'conv2/bias': values[f'{last}_bias']}
  if kind == 'convmlp':
    head.update({
        'conv1/kernel': _kernel(values['proj_0_weight']),
        'conv1.BatchNorm/gamma': values['proj_1_0_weight'],
        'conv1.BatchNorm/beta': values['proj_1_0_bias'],
        # The original's bias before batch norm moves its mean, and nothing else.
        'conv1.BatchNorm/moving_mean': values['proj_1_0_running_mean'] - values['proj_0_bias'],
        'conv1.BatchNorm/moving_variance': values['proj_1_0_running_var']})
  x = tf.constant(maps_of(values['x']))
  comparisons, not_compared = [], {}
  for name, expected in values.items():
    if name in ('y_train', 'y_eval'):
      for variable in model.variables:
        variable.assign(head[variable.path.removeprefix('p.')])
      actual = np.moveaxis(model(x, training=name == 'y_train').numpy(), -1, 1)
      comparisons.append(Comparison(name, relative_error(actual, expected), 1e-4))
    elif name.startswith('y'):
      not_compared[name] = 'not known'
  return comparisons, not_compared


def _kernel(weight):
  """[out, in, 1, 1] -> [1, 1, in, out]."""
  return np.transpose(weight, [2, 3, 1, 0])

"""Comparison of the pixel contrast with stored outputs of the original implementation.

The file's format is that of contrast.npz: names `<case>__<quantity>`, maps as [B, C, h, w], and
every random choice taken as the first of its kind in row-major order. What kind of case it is shows
in the quantities that it has. Losses and features are to agree within 1e-5 of their scale,
gradients and the projection head within 1e-4, labels, pixels and pointers exactly.
"""

import numpy as np
import tensorflow as tf

from network.common.cross_entropy import cross_entropy
from network.common.layers import resize_nearest_legacy
from network.contrast import memory
from network.contrast.losses import contrast_loss
from network.contrast.sampling import sample_anchors
from network.segsort.losses import mean_over_valid
from seg_models.reference_contrast_parts import (
    NotComparable,
    compare_projection,
    compare_queues,
    maps_of,
)
from utils.comparison import Comparison, mismatches, relative_error

LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
# What whole losses were computed with, where a file does not say.
SETTINGS = {'temperature': 0.1, 'base_temperature': 0.07, 'max_samples': 180, 'max_views': 20,
            'loss_weight': 0.1, 'aux_weight': 0.4, 'ohem_threshold': 0.7, 'ohem_min_kept': 10000}
_INPUTS = {'feats', 'labels', 'seg', 'seg_aux', 'ce_weight', 'queue', 'M', *SETTINGS}


def compare_contrast(arrays):
  """Computes every quantity of a file of outputs that is known here.

  Args:
    arrays: mapping of names to arrays, as of `np.load`; which cases there are is open.

  Returns:
    comparisons: list of `Comparison`, in the order of the file.
    not_compared: dict of the names that are neither inputs nor compared, with the reason.
  """
  cases = {}
  not_compared = {}
  for name, value in arrays.items():
    case, separator, quantity = name.partition('__')
    if separator:
      cases.setdefault(case, {})[quantity] = np.asarray(value)
    else:
      not_compared[name] = 'not known'
  comparisons = []
  for case, values in cases.items():
    compared, left = _compare_case(values)
    comparisons += [Comparison(f'{case}__{entry.name}', entry.error, entry.tolerance)
                    for entry in compared]
    not_compared.update({f'{case}__{name}': reason for name, reason in left.items()})
  return comparisons, not_compared


def _compare_case(values):
  """Comparisons and what is left out of one case, by the names of its quantities."""
  if 'x' in values:
    return compare_projection(values)
  if 'seg_q0' in values:
    return compare_queues(values)
  comparisons, not_compared = [], {}
  case = _LossCase(values)
  for name, expected in values.items():
    if name in _INPUTS:
      continue
    compare = case.quantities().get(name)
    if compare is None:
      not_compared[name] = 'not known'
    elif not np.all(np.isfinite(expected)):
      not_compared[name] = "the original's value is not finite"
    else:
      try:
        comparisons.append(_compared(name, compare(), expected))
      except NotComparable as reason:
        not_compared[name] = str(reason)
  return comparisons, not_compared


def _compared(name, actual, expected):
  if expected.dtype.kind in 'iu':
    return Comparison(name, mismatches(actual, expected), 0.0)
  tolerance = GRADIENT_TOLERANCE if name.startswith('grad') else LOSS_TOLERANCE
  return Comparison(name, relative_error(actual, expected), tolerance)


class _LossCase:
  """One case of a loss: its inputs and, computed when first asked for, what follows from them."""

  def __init__(self, values):
    self._values = values
    self._results = {}

  def quantities(self):
    """Name -> function that computes the quantity."""
    def contrast(faithful):
      return lambda: self._contrast(faithful)[0]

    def whole(name, weighted, with_contrast, with_memory=False, faithful=True):
      def value():
        weights = self._input('ce_weight') if weighted else None
        terms = [self._cross_entropy('seg', weights)]
        if name == 'aux':
          terms.append(self._setting('aux_weight') * self._cross_entropy('seg_aux', weights))
        if with_contrast:
          loss, *_ = self._contrast(faithful, with_memory)
          terms.append(self._setting('loss_weight') * loss)
        return sum(terms)
      return value

    return {
        'labels_ds': self._labels,
        'predict': self._prediction,
        'n_view': lambda: np.array(self._anchors()[1]),
        'anchor_image': lambda: self._anchors()[2] // self._labels()[0].size,
        'anchor_class': lambda: self._anchors()[3],
        'anchor_pixel': lambda: self._anchors()[4] % self._labels()[0].size,
        'X': lambda: self._anchors()[5],
        'y': lambda: self._anchors()[3].astype(np.float32),
        'loss': contrast(True),
        'loss_repaired': contrast(False),
        'per_anchor': lambda: self._contrast(True)[1],
        'grad_feats': lambda: self._contrast(True)[2],
        'seg_up': lambda: _upsampled(self._input('seg'), self._input('labels').shape[1:]),
        'ce_off': whole('ce', False, False),
        'ce_on': whole('ce', False, True),
        'auxce_off': whole('aux', False, False),
        'auxce_on': whole('aux', False, True),
        'auxce_off_weighted': whole('aux', True, False),
        'auxce_on_weighted': whole('aux', True, True),
        'memce_on': whole('ce', False, True, with_memory=True),
        'memce_on_repaired': whole('ce', False, True, with_memory=True, faithful=False),
        'memce_noqueue_on': whole('ce', False, False),
        'baseline_auxce_lowres': self._low_resolution,
        'ohem': self._hard_pixels}

  def _input(self, name):
    if name not in self._values:
      raise NotComparable(f'{name} is not in the file')
    return self._values[name]

  def _setting(self, name):
    value = self._values.get(name, SETTINGS[name])
    return type(SETTINGS[name])(value)

  def _labels(self):
    """The labels at the features' size, int32 [B, h, w]."""
    labels = self._input('labels').astype(np.int32)
    return resize_nearest_legacy(tf.constant(labels), self._input('feats').shape[2:]).numpy()

  def _prediction(self):
    if 'seg' not in self._values:
      return self._input('predict').astype(np.int32)
    return self._input('seg').argmax(axis=1).astype(np.int32)

  def _num_classes(self):
    if 'seg' in self._values:
      return self._values['seg'].shape[1]
    return int(max(self._prediction().max(), self._labels().max())) + 1

  def _sample(self, features):
    return sample_anchors(
        features, tf.constant(self._labels()), tf.constant(self._prediction()),
        num_classes=self._num_classes(), max_samples=self._setting('max_samples'),
        max_views=self._setting('max_views'), faithful=True)

  def _anchors(self):
    """Groups, views, and by group: first pixels [A], classes [A], pixels and features [A, v]."""
    anchors = self._sample(tf.constant(maps_of(self._input('feats'))))
    groups, views = int(anchors.num_groups), int(anchors.num_views)

    def by_group(rows):
      rows = rows.numpy()[:groups * views]
      return np.swapaxes(rows.reshape(views, groups, *rows.shape[1:]), 0, 1)
    pixels = by_group(anchors.pixels)
    return (groups, views, pixels[:, 0], by_group(anchors.labels)[:, 0], pixels,
            by_group(anchors.embedding))

  def _contrast(self, faithful, with_memory=None):
    """Loss, per anchor and gradient by the features [B, D, h, w]."""
    with_memory = 'queue' in self._values and 'ce_off' not in self._values or with_memory
    if (faithful, with_memory) not in self._results:
      self._results[faithful, with_memory] = self._compute_contrast(faithful, with_memory)
    return self._results[faithful, with_memory]

  def _compute_contrast(self, faithful, with_memory):
    features = tf.constant(maps_of(self._input('feats')))
    keys = None
    if with_memory:
      queue = tf.constant(self._input('queue'))
      num_classes, size, _ = queue.shape
      full = memory.Queue(queue, tf.zeros([num_classes], tf.int32), tf.fill([num_classes], size))
      keys = memory.released_keys(queue) if faithful else memory.keys_of(full)
    with tf.GradientTape() as tape:
      tape.watch(features)
      anchors = self._sample(features)
      count = int(anchors.num_groups * anchors.num_views)
      rows = [value[:count] for value in (anchors.embedding, anchors.labels, anchors.valid)]
      try:
        result = contrast_loss(
            *rows, temperature=self._setting('temperature'),
            base_temperature=self._setting('base_temperature'), keys=keys,
            faithful=faithful and with_memory)
      except ValueError as error:
        raise NotComparable(str(error)) from error
      loss = mean_over_valid(result.per_anchor, result.valid)
    gradient = tf.convert_to_tensor(tape.gradient(loss, features))
    return float(loss), result.per_anchor.numpy(), np.moveaxis(gradient.numpy(), -1, 1)

  def _cross_entropy(self, name, class_weights=None):
    """Mean cross-entropy of upsampled logits."""
    labels = self._input('labels').astype(np.int32)
    logits = maps_of(_upsampled(self._input(name), labels.shape[1:]))
    total, weight = cross_entropy(tf.constant(logits), labels, class_weights)
    return float(total / weight)

  def _low_resolution(self):
    """The original's baseline: labels shrunk to the logits, not logits stretched to the labels."""
    totals = 0.0
    for name, factor in (('seg', 1.0), ('seg_aux', self._setting('aux_weight'))):
      total, weight = cross_entropy(tf.constant(maps_of(self._input(name))), self._labels())
      totals += factor * float(total / weight)
    return totals

  def _hard_pixels(self):
    """The original's cross-entropy of hard pixels, which none of its contrast scripts uses."""
    labels = self._input('labels')
    logits = maps_of(_upsampled(self._input('seg'), labels.shape[1:])).astype(np.float64)
    counted = labels >= 0
    logits, labels = logits[counted], labels[counted]
    chosen = logits[np.arange(len(labels)), labels]
    losses = np.logaddexp.reduce(logits, axis=-1) - chosen
    place = min(self._setting('ohem_min_kept'), len(labels) - 1)
    threshold = max(np.sort(np.exp(-losses))[place], self._setting('ohem_threshold'))
    return losses[np.exp(-losses) < threshold].mean()


def _upsampled(x, size):
  """Bilinear resizing of [B, C, h, w] with corners on corners (torch's align_corners=True)."""
  for axis, target in ((2, size[0]), (3, size[1])):
    length = x.shape[axis]
    positions = np.arange(target) * ((length - 1) / max(target - 1, 1))
    weights = np.maximum(1 - np.abs(positions[:, np.newaxis] - np.arange(length)), 0)
    x = np.moveaxis(np.tensordot(x, weights, (axis, 1)), -1, axis)
  return x.astype(np.float32)

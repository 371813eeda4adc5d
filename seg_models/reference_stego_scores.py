"""The part of `reference_stego` about scores: clusters matched to classes, and classes."""

import re

import numpy as np
from scipy import optimize

from seg_models.reference_stego_parts import NotComparable
from utils.cluster_matching import ClusterCounts, match, matched_confusion
from utils.metrics import ConfusionMatrix

_IGNORED = -1


def scores(values, case, what):
  """One of the quantities of a case, by its name in the original.

  Args:
    values: name -> array, `preds` and `labels` of any shape among them; labels that are no class
      do not count.
    case: its name, which begins with `n<classes>`.
    what: the quantity; percentages are in 0..100.

  Raises:
    NotComparable: an unknown quantity, or one that the original has wrong: with clusters beyond the
      number of classes it leaves out their pixels, shifts its map of clusters to classes, and
      counts the clusters without a class as a class that is never right.
  """
  for name in ('preds', 'labels'):
    if name not in values:
      raise NotComparable(f'{name} is not in the file')
  predictions, labels = values['preds'], values['labels']
  num_classes = _num_classes(values, case)
  counted = (labels >= 0) & (labels < num_classes)
  if predictions[counted].max(initial=0) >= num_classes or _extra(values, num_classes):
    raise NotComparable("with more clusters than classes the original's scores are not right")
  labels = np.where(counted, labels, _IGNORED)
  clusters = ClusterCounts(num_classes, _IGNORED, num_classes)
  clusters.update(labels, predictions)
  classes = match(clusters.counts)
  matched = matched_confusion(clusters.counts, classes, _IGNORED)
  linear = ConfusionMatrix(num_classes, _IGNORED)
  linear.update(labels, predictions)
  rows, columns = optimize.linear_sum_assignment(clusters.counts, maximize=True)
  quantities = {
      'stats_pred_by_actual': clusters.counts, 'assign_rows': rows, 'assign_cols': columns,
      'histogram': matched.counts.T, 'mapped_ids': classes,
      'mIoU': 100 * matched.mean_iou_occurring(), 'Accuracy': 100 * matched.pixel_accuracy(),
      'linear_mIoU': 100 * linear.mean_iou_occurring(),
      'linear_Accuracy': 100 * linear.pixel_accuracy()}
  if what not in quantities:
    raise NotComparable('not known')
  return quantities[what]


def _num_classes(values, case):
  if found := re.match(r'n(\d+)', case):
    return int(found[1])
  for name in ('stats_pred_by_actual', 'histogram'):
    if name in values:
      return min(values[name].shape)
  raise NotComparable('the file does not say how many classes there are')


def _extra(values, num_classes):
  """Whether the original had more clusters than classes."""
  return any(max(values[name].shape) > num_classes
             for name in ('stats_pred_by_actual', 'histogram') if name in values)

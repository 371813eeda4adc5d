"""Counts of which class was taken for which, and what follows from them."""

import numpy as np


class ConfusionMatrix:
  """Pixels of every true class by predicted class, counted in int64 and divided once, at the end.

  Args:
    num_classes: C.
    ignore_label: pixels of this true label do not count.

  Attributes:
    counts: int64 [C, C], [true class, predicted class].
  """

  def __init__(self, num_classes, ignore_label=255):
    self.num_classes = num_classes
    self.ignore_label = ignore_label
    self.counts = np.zeros((num_classes, num_classes), np.int64)

  def update(self, truth, prediction):
    """Adds pixels.

    Args:
      truth: integer [...], classes and the ignore label.
      prediction: integer [...], classes; not looked at where the truth does not count.

    Raises:
      ValueError: shapes differ, or a counted pixel has a label that is no class.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
      raise ValueError(f'truth {truth.shape} and prediction {prediction.shape} differ in shape')
    counted = truth != self.ignore_label
    truth = truth[counted].astype(np.int64)
    prediction = prediction[counted].astype(np.int64)
    for name, labels in (('truth', truth), ('prediction', prediction)):
      wrong = np.unique(labels[(labels < 0) | (labels >= self.num_classes)])
      if wrong.size:
        raise ValueError(f'the {name} holds labels {wrong[:10].tolist()}, which are none of the '
                         f'{self.num_classes} classes')
    joined = np.bincount(truth * self.num_classes + prediction, minlength=self.counts.size)
    self.counts += joined.reshape(self.counts.shape)

  def present(self):
    """Which classes have true pixels: bool [C]."""
    return self.counts.sum(1) > 0

  def iou(self):
    """Intersection over union of each class: float64 [C]; NaN if neither true nor predicted."""
    right = np.diag(self.counts)
    return _divide(right, self.counts.sum(1) + self.counts.sum(0) - right)

  def accuracy(self):
    """The share of each class's true pixels that was found: float64 [C]; NaN if it has none."""
    return _divide(np.diag(self.counts), self.counts.sum(1))

  def mean_iou(self):
    """Mean IoU over the classes present in the truth, in 0..1; NaN if nothing was counted.

    Deviates from the original, which divides by the number of classes even where some are absent:
    that is `original_mean_iou`.
    """
    return _mean(self.iou()[self.present()])

  def original_mean_iou(self):
    """The original's mean: the sum of IoUs over the number of all classes, absent ones too."""
    return float(np.nansum(self.iou()) / self.num_classes)

  def mean_accuracy(self):
    """Mean of `accuracy` over the classes present, in 0..1; NaN if nothing was counted."""
    return _mean(self.accuracy()[self.present()])

  def pixel_accuracy(self):
    """The share of counted pixels that got their class, in 0..1; NaN if nothing was counted."""
    return float(_divide(np.trace(self.counts), self.counts.sum()))


def _divide(numerator, denominator):
  """Quotient in float64, NaN where the denominator is 0."""
  numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
  nothing = np.full(numerator.shape, np.nan)
  return np.divide(numerator, denominator, out=nothing, where=denominator > 0)


def _mean(values):
  return float(values.mean()) if values.size else float('nan')

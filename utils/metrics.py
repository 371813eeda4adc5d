"""Counts of which class was taken for which, and what follows from them."""

import numpy as np

NO_CLASS = -1  # a predicted label: this pixel got no class, which is wrong whatever it truly is


class ConfusionMatrix:
  """Pixels of every true class by predicted class, counted in int64 and divided once, at the end.

  Args:
    num_classes: C.
    ignore_label: pixels of this true label do not count.

  Attributes:
    counts: int64 [C, C], [true class, predicted class].
    unassigned: int64 [C], counted pixels of each true class whose prediction is `NO_CLASS`.
  """

  def __init__(self, num_classes, ignore_label=255):
    self.num_classes = num_classes
    self.ignore_label = ignore_label
    self.counts = np.zeros((num_classes, num_classes), np.int64)
    self.unassigned = np.zeros(num_classes, np.int64)

  def update(self, truth, prediction):
    """Adds pixels.

    Args:
      truth: integer [...], classes and the ignore label.
      prediction: integer [...], classes and `NO_CLASS`; not looked at where the truth does not
        count.

    Raises:
      ValueError: shapes differ, or a counted pixel has a label that is no class.
    """
    truth, prediction = counted_pixels(truth, prediction, self.ignore_label)
    refuse_others('truth', truth, self.num_classes)
    refuse_others('prediction', prediction, self.num_classes, lowest=NO_CLASS)
    # NO_CLASS goes to a first column of its own.
    columns = self.num_classes + 1
    joined = np.bincount(truth * columns + prediction + 1, minlength=self.num_classes * columns)
    joined = joined.reshape(self.num_classes, columns)
    self.unassigned += joined[:, 0]
    self.counts += joined[:, 1:]

  def true_pixels(self):
    """Counted pixels of each true class: int64 [C]."""
    return self.counts.sum(1) + self.unassigned

  def present(self):
    """Which classes have true pixels: bool [C]."""
    return self.true_pixels() > 0

  def iou(self):
    """Intersection over union of each class: float64 [C]; NaN if neither true nor predicted."""
    right = np.diag(self.counts)
    return divide(right, self.true_pixels() + self.counts.sum(0) - right)

  def accuracy(self):
    """The share of each class's true pixels that was found: float64 [C]; NaN if it has none."""
    return divide(np.diag(self.counts), self.true_pixels())

  def mean_iou(self):
    """Mean IoU over the classes present in the truth, in 0..1; NaN if nothing was counted.

    Deviates from the original, which divides by the number of classes even where some are absent:
    that is `original_mean_iou`.
    """
    return _mean(self.iou()[self.present()])

  def mean_iou_occurring(self):
    """Mean IoU over the classes that are true or predicted somewhere, in 0..1, or NaN.

    A class that is predicted but never true counts as 0. This is the mean of STEGO and SmooSeg.
    """
    iou = self.iou()
    return _mean(iou[~np.isnan(iou)])

  def original_mean_iou(self):
    """The original's mean: the sum of IoUs over the number of all classes, absent ones too."""
    return float(np.nansum(self.iou()) / self.num_classes)

  def mean_accuracy(self):
    """Mean of `accuracy` over the classes present, in 0..1; NaN if nothing was counted."""
    return _mean(self.accuracy()[self.present()])

  def pixel_accuracy(self):
    """The share of counted pixels that got their class, in 0..1; NaN if nothing was counted."""
    return float(divide(np.trace(self.counts), self.true_pixels().sum()))


def counted_pixels(truth, prediction, ignore_label):
  """The pixels whose truth is not the ignore label.

  Args:
    truth, prediction: integer [...].

  Returns:
    Their truth and prediction: int64 [pixels].

  Raises:
    ValueError: the shapes differ.
  """
  truth, prediction = np.asarray(truth), np.asarray(prediction)
  if truth.shape != prediction.shape:
    raise ValueError(f'truth {truth.shape} and prediction {prediction.shape} differ in shape')
  counted = truth != ignore_label
  return truth[counted].astype(np.int64), prediction[counted].astype(np.int64)


def refuse_others(name, labels, num_classes, lowest=0):
  """Raises a ValueError that names those of the `labels` that are not `lowest`..num_classes-1."""
  wrong = np.unique(labels[(labels < lowest) | (labels >= num_classes)])
  if wrong.size:
    raise ValueError(f'the {name} holds labels {wrong[:10].tolist()}, which are none of the '
                     f'{num_classes} classes')


def divide(numerator, denominator):
  """Quotient in float64, NaN where the denominator is 0."""
  numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
  nothing = np.full(numerator.shape, np.nan)
  return np.divide(numerator, denominator, out=nothing, where=denominator > 0)


def mean_of_known(values, axis):
  """Mean along an axis over what is not NaN; NaN where nothing is left."""
  known = ~np.isnan(values)
  return divide(np.where(known, values, 0).sum(axis), known.sum(axis))


def _mean(values):
  return float(values.mean()) if values.size else float('nan')

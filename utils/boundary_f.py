"""Boundary F: whether the outlines of each class are where they should be, within a tolerance.

Csurka, Larlus and Perronnin, What is a good evaluation measure for semantic segmentation?, BMVC
2013, section 3. (`utils.boundary_scores` is another measure: BSDS's, of boundaries without class,
each matched to at most one.)
"""

import numpy as np
from scipy import ndimage, spatial

from utils.metrics import NO_CLASS, counted_pixels, divide, mean_of_known, refuse_others


class BoundaryF:
  """Precision, recall and F of class boundaries, for each image and class, then averaged.

  The boundary of a class are its pixels that have a pixel of another label among their four
  neighbours; the frame of the image is no boundary. Precision is the share of the predicted
  boundary that is nearer than the tolerance to the true one of the same class, recall the share of
  the true one that is so near to the predicted one, F their harmonic mean. F counts for the classes
  with a true or a predicted boundary, and is 0 if they lack one of them; precision is not defined
  without a predicted boundary, recall without a true one. An image's score is the mean over its
  classes, the data set's the mean over its images; what is not defined is left out of a mean.

  Ignored pixels are given, in truth and prediction alike, the label of the nearest labelled pixel,
  so that what was predicted in them plays no part and nothing ends at their edge; VOC's contours,
  which are drawn with the ignore label, become boundaries along their middle. A boundary that is as
  deep in ignored pixels as the tolerance or deeper is not judged.

  Args:
    num_classes: C.
    ignore_label: pixels of this true label do not count.
    tolerance: share of the image's diagonal.

  Attributes:
    scores: a float64 [C, 3] for each image: precision, recall, F; NaN where not defined.
  """

  def __init__(self, num_classes, ignore_label=255, tolerance=0.0075):
    self.num_classes = num_classes
    self.ignore_label = ignore_label
    self.tolerance = tolerance
    self.scores = []

  def update(self, truth, prediction):
    """Adds an image.

    Args:
      truth: integer [height, width], classes and the ignore label.
      prediction: integer [height, width], classes and `utils.metrics.NO_CLASS`; not looked at where
        the truth does not count.

    Raises:
      ValueError: shapes differ, or a counted pixel has a label that is no class.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    true_labels, predicted = counted_pixels(truth, prediction, self.ignore_label)
    refuse_others('truth', true_labels, self.num_classes)
    refuse_others('prediction', predicted, self.num_classes, lowest=NO_CLASS)
    radius = self.tolerance * float(np.hypot(*truth.shape))
    judged = truth != self.ignore_label
    if not judged.all() and judged.any():
      depth, nearest = ndimage.distance_transform_edt(~judged, return_indices=True)
      truth, prediction = truth[tuple(nearest)], prediction[tuple(nearest)]
      judged |= depth < radius
    self.scores.append(self._class_scores(truth, prediction, judged, radius))

  def _class_scores(self, truth, prediction, judged, radius):
    scores = np.full((self.num_classes, 3), np.nan)
    if not judged.any():
      return scores
    true_points, true_classes = _boundary_points(truth)
    points, classes = _boundary_points(prediction)
    true_judged, points_judged = judged[tuple(true_points.T)], judged[tuple(points.T)]
    for index, row in enumerate(scores):
      ours, theirs = classes == index, true_classes == index
      row[0] = _share_near(points[ours & points_judged], true_points[theirs], radius)
      row[1] = _share_near(true_points[theirs & true_judged], points[ours], radius)
      if not np.isnan(row[:2]).all():
        precision, recall = np.nan_to_num(row[:2])
        row[2] = np.nan_to_num(divide(2 * precision * recall, precision + recall))
    return scores

  def image_scores(self):
    """Precision, recall and F of each image: float64 [images, 3]; NaN where not defined."""
    return mean_of_known(np.reshape(self.scores, (-1, self.num_classes, 3)), axis=1)

  def class_scores(self):
    """Precision, recall and F of each class, means over images: float64 [C, 3]."""
    return mean_of_known(np.reshape(self.scores, (-1, self.num_classes, 3)), axis=0)

  def mean(self):
    """Precision, recall and F of the data set: three floats, NaN if no image has a boundary."""
    return tuple(map(float, mean_of_known(self.image_scores(), axis=0)))


def _boundary_points(labels):
  """The pixels with another label beside, above or below them: int64 [N, 2], and their labels."""
  boundary = np.zeros(labels.shape, bool)
  across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
  boundary[:, 1:] |= across
  boundary[:, :-1] |= across
  boundary[1:] |= down
  boundary[:-1] |= down
  points = np.argwhere(boundary)
  return points, labels[boundary]


def _share_near(points, others, radius):
  """The share of points less than `radius` from one of the others; NaN without points."""
  if not (len(points) and len(others)):
    return float(divide(0, len(points)))
  distance, _ = spatial.cKDTree(others).query(points, distance_upper_bound=radius + 1)
  return float(np.mean(distance < radius))

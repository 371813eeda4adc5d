"""Clusters without names against classes: counted over a whole data set, then matched.

Unsupervised methods (STEGO, SmooSeg, SegSort without labels) are scored so: their clusters get the
classes that make the most pixels right, which needs the labels and is therefore part of the
measure, not of the method.
"""

import numpy as np
from scipy import optimize

from utils.metrics import NO_CLASS, ConfusionMatrix, counted_pixels, refuse_others


class ClusterCounts:
  """Pixels of every cluster by true class.

  Args:
    num_classes: C.
    ignore_label: pixels of this true label do not count.
    num_clusters: None for as many as show up, one more than the greatest id.

  Attributes:
    counts: int64 [N, C], [cluster, true class].
  """

  def __init__(self, num_classes, ignore_label=255, num_clusters=None):
    if num_clusters is not None and num_clusters < 1:
      raise ValueError(f'{num_clusters} clusters: expected 1 or more')
    self.num_classes = num_classes
    self.ignore_label = ignore_label
    self.num_clusters = num_clusters
    self.counts = np.zeros((num_clusters or 0, num_classes), np.int64)

  def update(self, truth, clusters):
    """Adds pixels.

    Args:
      truth: integer [...], classes and the ignore label.
      clusters: integer [...], ids from 0; not looked at where the truth does not count.

    Raises:
      ValueError: shapes differ, or a counted pixel has a label that is no class or an id that is no
        cluster.
    """
    truth, clusters = counted_pixels(truth, clusters, self.ignore_label)
    refuse_others('truth', truth, self.num_classes)
    greatest = int(clusters.max(initial=-1))
    if clusters.min(initial=0) < 0 or greatest >= (self.num_clusters or np.inf):
      allowed = f'0 to {self.num_clusters - 1}' if self.num_clusters else '0 and up'
      raise ValueError(f'the prediction holds ids {clusters.min()} to {greatest}: expected '
                       f'clusters {allowed}; is the number of clusters right?')
    number = max(greatest + 1, len(self.counts))
    joined = np.bincount(
        clusters * self.num_classes + truth, minlength=number * self.num_classes)
    joined = joined.reshape(number, self.num_classes)
    joined[:len(self.counts)] += self.counts
    self.counts = joined


def match(counts, many_to_one=False):
  """The class of each cluster.

  By default at most one cluster for each class and one class for each cluster, so that the most
  pixels are right (the Hungarian method; STEGO and SmooSeg do so with as many clusters as classes,
  where it is a permutation). With more clusters than classes all of them compete, and those left
  over have no class; with fewer, classes are left without cluster.

  Deviates from the originals, which drop the pixels of clusters beyond the number of classes before
  matching and so score less than the whole.

  Args:
    counts: int64 [N, C], pixels of each cluster by true class.
    many_to_one: each cluster gets its most frequent class instead (of equals the first), those
      without pixels none. The more clusters there are the better the scores can only get, up to
      100 % with a cluster for each pixel: compare them at equal numbers of clusters only.

  Returns:
    int64 [N], classes; `utils.metrics.NO_CLASS` for clusters without.
  """
  counts = np.asarray(counts)
  if many_to_one:
    return np.where(counts.any(1), counts.argmax(1), NO_CLASS)
  classes = np.full(len(counts), NO_CLASS, np.int64)
  rows, columns = optimize.linear_sum_assignment(counts, maximize=True)
  classes[rows] = columns
  return classes


def matched_confusion(counts, classes, ignore_label=255):
  """The confusion matrix when every cluster is taken for its class.

  Pixels of clusters without a class are wrong: they count among their true class's pixels, in
  `ConfusionMatrix.unassigned`, and for no predicted class.

  Args:
    counts: int64 [N, C], pixels of each cluster by true class.
    classes: int64 [N], of `match`.
    ignore_label: is remembered in the result.

  Returns:
    `utils.metrics.ConfusionMatrix`.
  """
  matrix = ConfusionMatrix(counts.shape[1], ignore_label)
  matched = classes != NO_CLASS
  np.add.at(matrix.counts.T, classes[matched], counts[matched])
  matrix.unassigned += counts[~matched].sum(0)
  return matrix


def relabel(clusters, classes):
  """Classes instead of cluster ids.

  Args:
    clusters: integer [...], ids of clusters.
    classes: int64 [N], of `match`.

  Returns:
    int64 [...]; `utils.metrics.NO_CLASS` for clusters without a class and for other ids.
  """
  clusters = np.asarray(clusters)
  known = (clusters >= 0) & (clusters < len(classes))
  return np.append(classes, NO_CLASS)[np.where(known, clusters, len(classes))]

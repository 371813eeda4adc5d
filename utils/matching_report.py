"""Which cluster was matched to which class, for people and programs."""

import numpy as np

from utils import cluster_matching
from utils.metrics import NO_CLASS

_SHOWN = 20  # clusters of a class in the table


def table(counts, classes_of_clusters, classes, many_to_one=False):
  """Yields lines: how it was matched, and the clusters of each class.

  Args:
    counts: int64 [N, C], pixels of each cluster by true class.
    classes_of_clusters: int64 [N], of `cluster_matching.match`.
    classes: names of the classes.
    many_to_one: as given to `match`.
  """
  used = counts.sum(1) > 0
  matrix = cluster_matching.matched_confusion(counts, classes_of_clusters)
  yield (f'{used.sum()} clusters with pixels matched to {len(classes)} classes on the scored '
         'labels themselves, '
         + ('each to its most frequent class: more clusters alone raise the scores'
            if many_to_one else 'one to one, for the most right pixels (Hungarian method)'))
  width = max(map(len, (*classes, 'no class')))
  for index, name in (*enumerate(classes), (NO_CLASS, 'no class')):
    clusters = np.flatnonzero(used & (classes_of_clusters == index))
    if index != NO_CLASS or clusters.size:
      more = f' ... and {clusters.size - _SHOWN} more' * (clusters.size > _SHOWN)
      yield f'{name:{width}}  {" ".join(map(str, clusters[:_SHOWN])) or "-"}{more}'
  if matrix.unassigned.any():
    share = matrix.unassigned.sum() / matrix.true_pixels().sum()
    yield f'pixels of clusters without class, which count as wrong: {100 * share:.2f} %'
  yield ('mIoU over the classes true or predicted somewhere (as STEGO and SmooSeg average): '
         f'{100 * matrix.mean_iou_occurring():.2f} %')
  yield ''


def as_dict(counts, classes_of_clusters, classes, many_to_one=False):
  """What `table` shows, as JSON values; only clusters with pixels are listed."""
  matrix = cluster_matching.matched_confusion(counts, classes_of_clusters)
  matching = []
  for cluster in np.flatnonzero(counts.sum(1) > 0).tolist():
    index = int(classes_of_clusters[cluster])
    named = index != NO_CLASS
    matching.append({
        'cluster': cluster, 'class': index if named else None,
        'name': classes[index] if named else None, 'pixels': int(counts[cluster].sum()),
        'right_pixels': int(counts[cluster, index]) if named else 0})
  return {
      'many_to_one': many_to_one, 'clusters': len(counts),
      'clusters_with_pixels': len(matching), 'matching': matching,
      'mean_iou_occurring': matrix.mean_iou_occurring(),
      'pixels_without_class': int(matrix.unassigned.sum()),
      'true_pixels_without_class': matrix.unassigned.tolist()}

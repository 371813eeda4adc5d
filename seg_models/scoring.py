"""All scores of a set of predictions: by class, of matched clusters, at boundaries."""

import dataclasses
import functools

from seg_models.evaluation import evaluate
from utils import boundary_report, cluster_matching, confusion_report, matching_report
from utils.boundary_bands import BoundaryBands
from utils.boundary_f import BoundaryF
from utils.cluster_matching import ClusterCounts
from utils.metrics import ConfusionMatrix


@dataclasses.dataclass(frozen=True)
class Scores:
  """What was counted.

  Attributes:
    dataset: `seg_models.datasets.Dataset`.
    matrix: `ConfusionMatrix`, of clusters after their matching.
    matching: the arguments of `utils.matching_report`, or None for predictions of classes.
    boundary: `BoundaryBands` and `BoundaryF`, or None.
  """

  dataset: object
  matrix: ConfusionMatrix
  matching: dict | None = None
  boundary: tuple[BoundaryBands, BoundaryF] | None = None

  def lines(self):
    """Yields the lines of tables of everything."""
    classes = self.dataset.classes
    if self.matching:
      yield from matching_report.table(classes=classes, **self.matching)
    if self.boundary:
      yield from boundary_report.table(*self.boundary, classes)
      yield ''
    yield from confusion_report.table(self.matrix, classes)

  def as_dict(self):
    """Everything as JSON values, with keys `hungarian` and `boundary` if these were asked for."""
    classes = self.dataset.classes
    report = confusion_report.as_dict(self.matrix, classes)
    if self.matching:
      report['hungarian'] = matching_report.as_dict(classes=classes, **self.matching)
    if self.boundary:
      report['boundary'] = boundary_report.as_dict(*self.boundary, classes)
    return report


def score(pairs, dataset, widths=None, hungarian=False, many_to_one=False, num_clusters=None):
  """Reads and scores every pair, clusters twice if their boundaries are asked for.

  Args:
    pairs: list of `seg_models.evaluation.Pair`.
    dataset: `seg_models.datasets.Dataset`.
    widths: None, or the bands at boundaries: see `BoundaryBands`.
    hungarian: predictions are ids of clusters, to be matched to classes over all pairs.
    many_to_one: see `utils.cluster_matching.match`.
    num_clusters: with `hungarian`, None for as many as are found.

  Returns:
    `Scores`.

  Raises:
    ValueError: see `evaluate` and the metrics; or no pixel counts.
  """
  counting = dataset.num_classes, dataset.ignore_label
  boundary = (BoundaryBands(*counting, widths), BoundaryF(*counting)) if widths else None
  matching, relabel = None, None
  if hungarian:
    clusters = ClusterCounts(*counting, num_clusters)
    evaluate(pairs, dataset, clusters)
    classes = cluster_matching.match(clusters.counts, many_to_one)
    matching = {'counts': clusters.counts, 'classes_of_clusters': classes,
                'many_to_one': many_to_one}
    matrix = cluster_matching.matched_confusion(clusters.counts, classes, dataset.ignore_label)
    relabel = functools.partial(cluster_matching.relabel, classes=classes)
    metrics = boundary or ()
  else:
    matrix = ConfusionMatrix(*counting)
    metrics = matrix, *(boundary or ())
  if metrics:
    evaluate(pairs, dataset, *metrics, relabel=relabel)
  if not matrix.true_pixels().any():
    raise ValueError(f'none of the {len(pairs)} masks has a pixel that counts: all are '
                     f'{dataset.ignore_label}')
  return Scores(dataset, matrix, matching, boundary)

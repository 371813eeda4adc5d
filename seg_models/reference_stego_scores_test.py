import numpy as np
import pytest

from seg_models.reference_stego_parts import NotComparable
from seg_models.reference_stego_scores import scores
from utils.cluster_matching import ClusterCounts, match, matched_confusion


def case(num_clusters=3):
  """Two classes; clusters 1 and 0 hold them but for two pixels, further clusters some more."""
  labels = np.array([0] * 6 + [1] * 4 + [-1, 2])
  predictions = np.array([1] * 5 + [0] + [0] * 3 + [1] + [0, 0])
  if num_clusters > 2:
    predictions[2:4] = 2
  return {'preds': predictions, 'labels': labels}


def test_scores_of_a_small_case():
  values = case(2)
  assert scores(values, 'n2', 'Accuracy') == 80
  np.testing.assert_array_equal(scores(values, 'n2', 'mapped_ids'), [1, 0])
  np.testing.assert_array_equal(scores(values, 'n2', 'stats_pred_by_actual'), [[1, 3], [5, 1]])
  np.testing.assert_array_equal(scores(values, 'n2', 'histogram'), [[5, 1], [1, 3]])
  np.testing.assert_allclose(scores(values, 'n2', 'mIoU'), 100 * (5 / 7 + 3 / 5) / 2)
  assert scores(values, 'n2', 'linear_Accuracy') == 20


def test_more_clusters_than_classes_are_not_compared():
  with pytest.raises(NotComparable, match='more clusters than classes'):
    scores(case(), 'n2_extra1', 'mIoU')
  with pytest.raises(NotComparable, match='preds is not in the file'):
    scores({'labels': np.zeros(2)}, 'n2', 'mIoU')
  with pytest.raises(NotComparable, match='how many classes'):
    scores(case(2), 'case', 'mIoU')
  with pytest.raises(NotComparable, match='not known'):
    scores(case(2), 'n2', 'colour')


def counts_of(values):
  labels = np.where(values['labels'] < 2, values['labels'], -1)
  clusters = ClusterCounts(2, -1)
  clusters.update(labels, values['preds'])
  return clusters.counts


def test_pixels_of_clusters_without_class_are_wrong():
  """The original (its bug B1) leaves them out: 6 of 8 right rather than 6 of 10."""
  counts = counts_of(case())
  matrix = matched_confusion(counts, match(counts), -1)
  assert matrix.pixel_accuracy() == 0.6
  # Class 0: 3 right of 6 true and 1 + 3 predicted. No class `Extra` is averaged in (its B3).
  np.testing.assert_allclose(matrix.iou(), [3 / 7, 3 / 5])
  assert matrix.mean_iou_occurring() == matrix.iou().mean()


def test_clusters_without_class_keep_their_place():
  """Clusters 0 and 2 are matched to classes 1 and 0; the original (B2) gives [1, 0, -1]."""
  np.testing.assert_array_equal(match(np.array([[0, 9], [1, 1], [9, 0]])), [1, -1, 0])

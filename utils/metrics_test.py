import numpy as np
import pytest

from utils.metrics import NO_CLASS, ConfusionMatrix, mean_of_known


def filled(truth, prediction, num_classes=3, ignore_label=255):
  matrix = ConfusionMatrix(num_classes, ignore_label)
  matrix.update(np.array(truth), np.array(prediction))
  return matrix


def test_small_matrix_by_hand():
  matrix = filled([[0, 0, 0, 1], [1, 1, 255, 255]], [[0, 0, 1, 1], [1, 0, 0, 9]])
  np.testing.assert_array_equal(matrix.counts, [[2, 1, 0], [1, 2, 0], [0, 0, 0]])
  assert matrix.counts.dtype == np.int64
  np.testing.assert_array_equal(matrix.present(), [True, True, False])
  np.testing.assert_allclose(matrix.iou(), [2 / 4, 2 / 4, np.nan])
  np.testing.assert_allclose(matrix.accuracy(), [2 / 3, 2 / 3, np.nan])
  assert matrix.mean_iou() == pytest.approx(1 / 2)
  assert matrix.original_mean_iou() == pytest.approx(1 / 3)
  assert matrix.mean_accuracy() == matrix.pixel_accuracy() == pytest.approx(2 / 3)


def test_false_positives_of_an_absent_class():
  matrix = filled([0, 0, 0, 0, 1], [0, 0, 2, 2, 1])
  np.testing.assert_allclose(matrix.iou(), [1 / 2, 1, 0])
  assert matrix.mean_iou() == pytest.approx(3 / 4)  # class 2 is not in the truth
  assert matrix.mean_iou_occurring() == pytest.approx(1 / 2)
  assert filled([0, 1], [0, 0]).mean_iou_occurring() == pytest.approx(1 / 4)  # class 2 nowhere


def test_pixels_without_a_class_are_wrong():
  matrix = filled([0, 0, 0, 1, 255], [0, NO_CLASS, 1, 1, NO_CLASS])
  assert matrix.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
  assert matrix.unassigned.tolist() == [1, 0, 0]
  assert matrix.true_pixels().tolist() == [3, 1, 0]
  np.testing.assert_allclose(matrix.iou(), [1 / 3, 1 / 2, np.nan])
  np.testing.assert_allclose(matrix.accuracy(), [1 / 3, 1, np.nan])
  assert matrix.pixel_accuracy() == pytest.approx(2 / 4)
  assert filled([0], [NO_CLASS]).present().tolist() == [True, False, False]


def test_naive_counts_and_independence_of_the_split():
  rng = np.random.default_rng(0)
  truth = rng.choice([0, 1, 2, 3, 4, 99], (5, 7, 9))
  prediction = rng.integers(0, 5, truth.shape)
  whole, parts = ConfusionMatrix(5, 99), ConfusionMatrix(5, 99)
  whole.update(truth, prediction)
  for one, other in zip(truth, prediction, strict=True):
    parts.update(one.astype(np.uint8), other.astype(np.int32))
  naive = np.zeros((5, 5), int)
  for one, other in zip(truth.ravel(), prediction.ravel(), strict=True):
    if one != 99:
      naive[one, other] += 1
  np.testing.assert_array_equal(whole.counts, naive)
  np.testing.assert_array_equal(parts.counts, naive)


def test_exchanging_truth_and_prediction_keeps_the_iou():
  rng = np.random.default_rng(1)
  one, other = rng.integers(0, 3, (2, 100))
  np.testing.assert_array_equal(filled(one, other).iou(), filled(other, one).iou())


def test_a_class_that_is_the_ignore_label_does_not_count():
  matrix = filled([0, 0, 1], [1, 0, 1], num_classes=2, ignore_label=0)
  assert matrix.counts.sum() == 1 and matrix.mean_iou() == 1


def test_nothing_counted_is_nan_without_warnings():
  matrix = filled([255], [0])
  assert np.isnan([matrix.mean_iou(), matrix.mean_accuracy(), matrix.pixel_accuracy(),
                   matrix.mean_iou_occurring()]).all()
  assert matrix.original_mean_iou() == 0


@pytest.mark.parametrize('truth,prediction,message', [
    ([0, 3], [0, 0], r'truth holds labels \[3\].*3 classes'), ([0, 1], [255, 0], r'\[255\]'),
    ([0], [-2], r'\[-2\]'), ([-1], [0], r'truth holds labels \[-1\]'),
    ([0], [0, 0], r'\(1,\).*\(2,\)')])
def test_labels_that_are_no_class_are_errors(truth, prediction, message):
  with pytest.raises(ValueError, match=message):
    filled(truth, prediction)


def test_means_of_what_is_known():
  values = np.array([[1, np.nan, np.nan], [2, 4, np.nan]])
  np.testing.assert_array_equal(mean_of_known(values, axis=0), [1.5, 4, np.nan])
  np.testing.assert_array_equal(mean_of_known(values, axis=1), [1, 3])

import itertools

import numpy as np
import pytest

from utils.cluster_matching import ClusterCounts, match, matched_confusion, relabel
from utils.metrics import NO_CLASS, ConfusionMatrix
from utils.shared_data import shared


def counted(truth, clusters, num_classes, **options):
  table = ClusterCounts(num_classes, **options)
  table.update(np.array(truth), np.array(clusters))
  return table.counts


def most_right_pixels(counts):
  """Over all ways to pair the fewer with the more."""
  if counts.shape[0] > counts.shape[1]:
    counts = counts.T
  rows = np.arange(counts.shape[0])
  return max(counts[rows, list(columns)].sum()
             for columns in itertools.permutations(range(counts.shape[1]), len(rows)))


@pytest.mark.parametrize('shape', [(1, 1), (4, 4), (6, 6), (3, 6), (6, 3), (1, 5), (7, 2)])
@pytest.mark.parametrize('seed', range(3))
def test_no_pairing_has_more_right_pixels(shape, seed):
  counts = np.random.default_rng(seed).integers(0, 50, shape)
  classes = match(counts)
  named = classes[classes != NO_CLASS]
  assert len(set(named)) == len(named) == min(shape)
  assert np.trace(matched_confusion(counts, classes).counts) == most_right_pixels(counts)


def test_counts_grow_with_the_clusters_and_are_naive_sums():
  rng = np.random.default_rng(0)
  table, naive = ClusterCounts(3, 9), np.zeros((1000, 3), int)
  for most in (4, 3, 1000):
    truth, clusters = rng.choice([0, 1, 2, 9], (8, 11)), rng.integers(0, most, (8, 11))
    table.update(truth, clusters.astype(np.uint16))
    for label, cluster in zip(truth.ravel(), clusters.ravel(), strict=True):
      if label != 9:
        naive[cluster, label] += 1
  assert table.counts.dtype == np.int64 and 500 < len(table.counts) <= 1000
  np.testing.assert_array_equal(table.counts, naive[:len(table.counts)])
  assert not naive[len(table.counts):].any()


def test_clusters_left_over_are_wrong():
  """Two of five pixels are right, which the originals score as 100 % with a fourth cluster."""
  counts = counted([0, 0, 0, 1, 1], [0, 2, 2, 1, 2], 2)
  assert match(counts).tolist() == [NO_CLASS, 1, 0]
  matrix = matched_confusion(counts, match(counts))
  assert matrix.counts.tolist() == [[2, 0], [1, 1]]
  assert matrix.unassigned.tolist() == [1, 0]
  assert matrix.pixel_accuracy() == pytest.approx(3 / 5)
  np.testing.assert_allclose(matrix.iou(), [2 / 4, 1 / 2])


def test_classes_left_over_are_missed():
  counts = counted([0, 1, 1, 2, 255], [0, 0, 0, 0, 7], 3)
  matrix = matched_confusion(counts, match(counts))
  assert match(counts).tolist() == [1]
  np.testing.assert_allclose(matrix.iou(), [0, 1 / 2, 0])
  assert matrix.mean_iou() == pytest.approx(1 / 6)


def test_many_to_one():
  counts = np.array([[5, 1, 0], [4, 3, 0], [2, 2, 1], [0, 0, 0], [1, 6, 2]])
  classes = match(counts, many_to_one=True)
  assert classes.tolist() == [0, 0, 0, NO_CLASS, 1]
  matrix = matched_confusion(counts, classes)
  assert matrix.counts.tolist() == [[11, 1, 0], [6, 6, 0], [1, 2, 0]]
  assert matrix.pixel_accuracy() == pytest.approx(17 / 27)


def test_many_to_one_rises_with_the_clusters_to_everything():
  rng = np.random.default_rng(1)
  truth = rng.integers(0, 4, 256)
  fine = np.arange(256)  # a cluster for each pixel
  scores = []
  for size in (128, 16, 4, 1):  # pixels a cluster
    counts = counted(truth, fine // size, 4)
    scores.append(matched_confusion(counts, match(counts, True)).pixel_accuracy())
    assert matched_confusion(counts, match(counts)).pixel_accuracy() <= scores[-1]
  assert scores == sorted(scores) and scores[-1] == 1


@pytest.mark.parametrize('many_to_one', [False, True])
@pytest.mark.parametrize('clusters', [3, 5, 9])
def test_names_of_clusters_do_not_matter(clusters, many_to_one):
  rng = np.random.default_rng(clusters)
  truth = rng.choice([0, 1, 2, 3, 4, 255], 5000)
  ids = rng.integers(0, clusters, 5000)
  ids = np.where(rng.random(5000) < 0.5, (truth * 7 + 3) % clusters, ids)
  new = rng.permutation(clusters)
  counts, permuted = counted(truth, ids, 5), counted(truth, new[ids], 5)
  classes, others = match(counts, many_to_one), match(permuted, many_to_one)
  np.testing.assert_array_equal(others[new], classes)
  one, other = matched_confusion(counts, classes), matched_confusion(permuted, others)
  np.testing.assert_array_equal(one.counts, other.counts)
  np.testing.assert_array_equal(one.unassigned, other.unassigned)


@pytest.mark.parametrize('many_to_one', [False, True])
def test_the_matched_confusion_is_that_of_the_relabelled_pixels(many_to_one):
  rng = np.random.default_rng(2)
  truth, clusters = rng.choice([0, 1, 2, 255], 500), rng.integers(0, 6, 500)
  counts = counted(truth, clusters, 3)
  classes = match(counts, many_to_one)
  relabelled = ConfusionMatrix(3)
  relabelled.update(truth, relabel(clusters, classes))
  matrix = matched_confusion(counts, classes)
  np.testing.assert_array_equal(matrix.counts, relabelled.counts)
  np.testing.assert_array_equal(matrix.unassigned, relabelled.unassigned)
  assert matrix.unassigned.any() != many_to_one


def test_ids_beyond_the_clusters_have_no_class():
  assert relabel([[0, 1, 2], [3, 255, -1]], np.array([4, NO_CLASS, 0])).tolist() == [
      [4, NO_CLASS, 0], [NO_CLASS] * 3]


def test_perfect_clusters_score_one():
  truth = np.array([0, 1, 2, 2, 255])
  counts = counted(truth, [17, 3, 8, 8, 0], 3)
  assert matched_confusion(counts, match(counts)).mean_iou() == 1


@pytest.mark.parametrize('truth,clusters,options,message', [
    ([0, 1], [0, 3], {'num_clusters': 3}, 'ids 0 to 3: expected clusters 0 to 2'),
    ([0, 1], [0, -1], {}, 'ids -1 to 0: expected clusters 0 and up'),
    ([0, 2], [0, 0], {}, r'truth holds labels \[2\]'), ([0], [0, 0], {}, 'differ in shape'),
    ([0], [0], {'num_clusters': 0}, '0 clusters')])
def test_faulty_pairs(truth, clusters, options, message):
  with pytest.raises(ValueError, match=message):
    counted(truth, clusters, 2, **options)


def test_a_given_number_of_clusters_is_kept():
  assert counted([255, 0], [200, 1], 2, num_clusters=4).tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]


def test_stegos_reference():
  arrays = np.load(shared('reference', 'stego.npz'), allow_pickle=False)
  arrays = {name: arrays[f'metrics/n6/{name}'] for name in (
      'preds', 'labels', 'stats_pred_by_actual', 'mapped_ids', 'histogram', 'mIoU', 'Accuracy',
      'linear_mIoU', 'linear_Accuracy')}
  counts = counted(arrays['labels'], arrays['preds'], 6, ignore_label=-1, num_clusters=6)
  np.testing.assert_array_equal(counts, arrays['stats_pred_by_actual'])
  classes = match(counts)
  np.testing.assert_array_equal(classes, arrays['mapped_ids'])
  matrix = matched_confusion(counts, classes)
  np.testing.assert_array_equal(matrix.counts.T, arrays['histogram'])
  linear = matched_confusion(counts, np.arange(6))
  for each, prefix in ((matrix, ''), (linear, 'linear_')):
    assert 100 * each.mean_iou_occurring() == pytest.approx(float(arrays[prefix + 'mIoU']), 1e-6)
    assert 100 * each.pixel_accuracy() == pytest.approx(float(arrays[prefix + 'Accuracy']), 1e-6)


@pytest.mark.parametrize('case', ['metric', 'metric_unused'])
def test_smoosegs_reference(case):
  arrays = np.load(shared('reference', 'smooseg.npz'), allow_pickle=False)
  labels = arrays['metric/label']
  truth = np.where((labels >= 0) & (labels < 6), labels, -1)
  counts = counted(truth, arrays[f'{case}/pred'], 6, ignore_label=-1, num_clusters=6)
  matrix = matched_confusion(counts, match(counts))
  if case == 'metric':
    np.testing.assert_array_equal(counts, arrays['metric/stats_pred_by_gt'])
    np.testing.assert_array_equal(match(counts), arrays['metric/assign_class_of_cluster'])
    np.testing.assert_array_equal(matrix.counts.T, arrays['metric/hist'])
  np.testing.assert_allclose(matrix.iou(), arrays[f'{case}/iou'], rtol=1e-6)
  assert 100 * matrix.mean_iou_occurring() == pytest.approx(float(arrays[f'{case}/mIoU']), 1e-6)
  assert 100 * matrix.pixel_accuracy() == pytest.approx(float(arrays[f'{case}/acc']), 1e-6)


def test_most_ids_of_16_bits_may_be_empty():
  counts = np.zeros((65536, 27), np.int64)
  counts[np.arange(0, 65536, 2048), np.arange(32) % 27] = np.arange(1, 33)
  matrix = matched_confusion(counts, match(counts))
  assert np.trace(matrix.counts) == sum(range(6, 33))

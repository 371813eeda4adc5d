import numpy as np
import pytest

from utils.boundary_bands import BoundaryBands, boundary_distance
from utils.metrics import ConfusionMatrix


def naive_distance(labels):
  """Over all pairs of pixels."""
  points = np.argwhere(np.ones(labels.shape, bool))
  distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
  distance[labels.ravel()[:, None] == labels.ravel()] = np.inf
  return distance.min(1).reshape(labels.shape)


def banded(truth, prediction, widths, num_classes=3):
  bands = BoundaryBands(num_classes, 255, widths)
  bands.update(np.array(truth), np.array(prediction))
  return bands


@pytest.mark.parametrize('shape,most', [((9, 13), 0.9), ((20, 17), 0.97), ((1, 30), 0.8),
                                        ((30, 1), 0.8)])
def test_distances_are_those_of_all_pairs(shape, most):
  rng = np.random.default_rng(0)
  labels = np.where(rng.random(shape) < most, rng.choice([0, 7]), rng.choice([1, 255, 999], shape))
  np.testing.assert_allclose(boundary_distance(labels), naive_distance(labels), rtol=1e-6)


def test_distance_of_neighbours_and_of_one_label():
  labels = np.zeros((3, 4), np.int32)
  assert np.isinf(boundary_distance(labels)).all()
  labels[0, 0] = 1
  root = np.sqrt([[2, 5, 10], [5, 8, 13]])
  np.testing.assert_allclose(
      boundary_distance(labels), [[1, 1, 2, 3], [1, *root[0]], [2, *root[1]]], rtol=1e-6)


@pytest.mark.parametrize('radius', [1, 2, 5, 13, 25])
def test_whole_distances_are_exact(radius):
  """A band holds the pixels at exactly its width: 3-4-5 and 5-12-13 triangles too."""
  labels = np.zeros((60, 60), np.uint8)
  labels[30, 30] = 1
  rows, columns = np.mgrid[-30:30, -30:30]
  np.testing.assert_array_equal(
      boundary_distance(labels) <= radius, rows ** 2 + columns ** 2 <= radius ** 2)


def test_bands_by_hand():
  truth = np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 5, axis=0)
  shifted = np.repeat([[0, 0, 0, 0, 0, 1, 1, 1]], 5, axis=0)
  one, two = banded(truth, shifted, (1, 2)).matrices
  assert one.counts[:2, :2].tolist() == [[5, 0], [5, 0]]  # columns 3 and 4
  assert two.counts[:2, :2].tolist() == [[10, 0], [5, 5]]
  assert one.mean_iou() == pytest.approx((1 / 2 + 0) / 2)
  assert two.mean_iou() == pytest.approx((10 / 15 + 5 / 10) / 2)


def test_ignored_pixels_bound_but_do_not_count():
  bands = banded([[0, 0, 0, 255, 1, 1, 1]], [[0, 0, 2, 9, 1, 1, 1]], (1, 2))
  assert bands.matrices[0].counts.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
  assert bands.matrices[1].counts.tolist() == [[1, 0, 1], [0, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize('seed', range(3))
def test_laws(seed):
  rng = np.random.default_rng(seed)
  truth, prediction = rng.choice([0, 1, 2, 255], (12, 15)), rng.integers(0, 3, (12, 15))
  truth[:, 5:] = 1
  bands, plain = banded(truth, prediction, (1, 2, 4, 1000)), ConfusionMatrix(3)
  plain.update(truth, prediction)
  np.testing.assert_array_equal(bands.matrices[-1].counts, plain.counts)
  for inner, outer in zip(bands.matrices, bands.matrices[1:], strict=False):
    assert (inner.counts <= outer.counts).all()
  assert bands.matrices[0].counts.sum() < plain.counts.sum()
  right = np.where(truth == 255, 1, truth)
  assert [each.mean_iou() for each in banded(truth, right, (1, 2)).matrices] == [1, 1]


def test_without_boundary_nothing_is_in_a_band():
  assert np.isnan(banded(np.zeros((3, 4)), np.ones((3, 4)), (9,)).matrices[0].mean_iou())
  assert np.isnan(banded(np.full((3, 4), 255), np.ones((3, 4)), (9,)).matrices[0].mean_iou())


@pytest.mark.parametrize('widths', [(), (0, 1), (3, 1), (3, 3)])
def test_faulty_widths(widths):
  with pytest.raises(ValueError, match='such as 1,3,5,9'):
    BoundaryBands(3, 255, widths)


def test_faulty_pairs():
  with pytest.raises(ValueError, match=r'\(1, 2\).*\(2, 1\)'):
    banded([[0, 1]], [[0], [1]], (1,))
  with pytest.raises(ValueError, match=r'prediction holds labels \[3\]'):
    banded([[0, 1]], [[0, 3]], (1,))

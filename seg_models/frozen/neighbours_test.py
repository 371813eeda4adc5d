import numpy as np

from seg_models.frozen import neighbours
from seg_models.frozen.neighbours import neighbours_of, unit_means


def test_neighbours_equal_a_sort_of_all_cosines():
  unit = unit_means(np.random.default_rng(0).normal(size=(40, 6)))
  cosines = unit.astype(np.float64) @ unit.T
  np.fill_diagonal(cosines, -2)
  np.testing.assert_array_equal(neighbours_of(unit, 7, 40, 5), np.argsort(-cosines)[7:, :5])


def test_copies_are_neighbours_and_a_row_never_its_own():
  """The original drops the first one found, which may be a copy, and keeps the row itself."""
  unit = unit_means(np.repeat([[1.0, 0.0], [0.6, 0.8]], [4, 2], axis=0))
  found = neighbours_of(unit, 0, 6, 2)
  assert not (found == np.arange(6)[:, None]).any()
  np.testing.assert_array_equal(found[:4], [[1, 2], [0, 2], [0, 1], [0, 1]])
  np.testing.assert_array_equal(found[4:], [[5, 0], [4, 0]])


def test_means_of_zeros_stay_so():
  np.testing.assert_array_equal(unit_means([[0, 0], [3, 4]]), np.float32([[0, 0], [0.6, 0.8]]))


def test_the_number_of_neighbours_is_the_originals():
  assert neighbours.COUNT == 30

import math

import numpy as np

from utils.comparison import Comparison, mismatches, relative_error


def test_an_error_up_to_the_tolerance_is_ok():
  assert Comparison('loss', 1e-5, 1e-5).ok
  assert not Comparison('loss', 1.1e-5, 1e-5).ok
  assert not Comparison('loss', float('nan'), 1e-5).ok
  assert not Comparison('loss', float('inf'), 1e-5).ok


def test_relative_error_is_relative_to_the_scale_of_the_expected_array():
  assert math.isclose(relative_error([1.0, -4.0], [1.2, -4.0]), 0.05)
  assert relative_error([0.5, 0.0], [0.0, 0.0]) == 0.5
  assert relative_error(np.zeros([0, 3]), np.zeros([0, 3])) == 0.0


def test_other_shapes_and_nan_are_never_small_errors():
  assert relative_error(np.ones([2, 1]), np.ones([2])) == math.inf
  assert math.isnan(relative_error([1.0, np.nan], [1.0, 2.0]))
  assert math.isnan(relative_error([1.0, 2.0], [1.0, np.nan]))


def test_mismatches_are_counted():
  assert mismatches([1, 2, 3], [1, 0, 0]) == 2
  assert mismatches([1, 2], [1, 2]) == 0
  assert mismatches([[1, 2]], [1, 2]) == math.inf

"""Resampled position embeddings against the four taps of the specification, one by one."""

import numpy as np
import pytest
import tensorflow as tf

from network.common.position_embedding import cubic_matrix, resample_positions

A = -0.75


def kernel(distance):
  """Keys' cubic convolution kernel."""
  x = abs(distance)
  if x <= 1:
    return (A + 2) * x ** 3 - (A + 3) * x ** 2 + 1
  return A * x ** 3 - 5 * A * x ** 2 + 8 * A * x - 4 * A if x < 2 else 0.0


def resampled(grid, scales, size):
  """[n, n, C] -> [*size, C], each value a sum over 4 x 4 cells, those of the border repeated."""
  side = len(grid)
  out = np.zeros((*size, grid.shape[-1]))
  for row in range(size[0]):
    for column in range(size[1]):
      y, x = (row + 0.5) / scales[0] - 0.5, (column + 0.5) / scales[1] - 0.5
      for i in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
        for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
          cell = grid[np.clip(i, 0, side - 1), np.clip(j, 0, side - 1)]
          out[row, column] += kernel(y - i) * kernel(x - j) * cell
  return out


@pytest.mark.parametrize('size', [(3, 7), (4, 6), (9, 2), (1, 1), (2, 8)])
def test_it_is_cubic_convolution_at_the_originals_scale(size):
  """(2, 8) has as many patches as the table, and is not the table."""
  table = np.random.default_rng(0).normal(size=(17, 3))
  expected = resampled(table[1:].reshape(4, 4, 3), [(length + 0.1) / 4 for length in size], size)
  found = resample_positions(tf.constant(table), *size)
  np.testing.assert_array_equal(found[0], table[0])
  np.testing.assert_allclose(found[1:], expected.reshape(-1, 3), atol=1e-12)
  without = resample_positions(tf.constant(table[1:], tf.float32), *size)
  assert without.dtype == tf.float32
  np.testing.assert_allclose(without, found[1:], atol=1e-6)


def test_its_own_grid_is_left_alone():
  table = np.random.default_rng(0).normal(size=(26, 3)).astype(np.float32)
  np.testing.assert_array_equal(resample_positions(tf.constant(table), 5, 5), table)
  changed = resample_positions(tf.constant(table), 5, 6)
  assert not np.array_equal(changed[1:6], table[1:6])


def test_weights_sum_to_one():
  np.testing.assert_allclose(np.sum(cubic_matrix(4, 13, 13.1 / 4), axis=1), 1, atol=1e-12)
  np.testing.assert_allclose(np.sum(cubic_matrix(28, 40, 40.1 / 28), axis=1), 1, atol=1e-12)


@pytest.mark.parametrize('size', [(4, 4), (4, 7)])
def test_sizes_may_be_known_only_when_run(size):
  table = tf.constant(np.random.default_rng(0).normal(size=(17, 3)))
  call = tf.function(resample_positions).get_concrete_function(
      table, *[tf.TensorSpec([], tf.int32)] * 2)
  np.testing.assert_array_equal(
      call(table, *map(tf.constant, size)), resample_positions(table, *size))


def test_a_table_of_no_grid_is_refused():
  with pytest.raises(ValueError, match='18 positions are neither'):
    resample_positions(tf.zeros([18, 3]), 2, 2)

import numpy as np
import pytest
import tensorflow as tf

from network.common.hashing import hash_numbers


def lowbias32(x):
  x ^= x >> 16
  x = x * 0x7feb352d & 0xffffffff
  x ^= x >> 15
  x = x * 0x846ca68b & 0xffffffff
  return x ^ x >> 16


@pytest.mark.parametrize('jit_compile', [None, False, True])
def test_it_is_lowbias32_of_seed_and_number(jit_compile):
  numbers = np.array([[0, 1], [7, 2 ** 31 - 1]], np.int32)
  function = hash_numbers if jit_compile is None else tf.function(
      hash_numbers, jit_compile=jit_compile)
  actual = function(tf.constant(numbers), tf.constant([-3, 5]))
  state = lowbias32(lowbias32(-3 & 0xffffffff) + 5)
  np.testing.assert_array_equal(
      actual, [[lowbias32(state + int(number)) for number in row] for row in numbers])


def test_values_are_spread_evenly_and_differ_by_seed():
  first, second = (hash_numbers(tf.range(4000), [0, s]).numpy() for s in (0, 1))
  for values in (first, second):
    assert values.min() >= 0 and values.max() < 2 ** 32
    counts = np.histogram(values, 8, (0, 2 ** 32))[0]
    assert abs(counts - 500).max() < 100  # standard deviation 21
  assert abs(np.corrcoef(first, second)[0, 1]) < 0.1

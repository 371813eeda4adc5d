import numpy as np
import pytest
import tensorflow as tf

from network.segsort.compression import STORAGES, compress, decompress


def unit(count, dim=32, seed=0):
  rows = np.random.default_rng(seed).standard_normal([count, dim]).astype(np.float32)
  return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize('storage', STORAGES)
def test_what_is_compressed_has_unit_length_again(storage):
  features = unit(50)
  stored = compress(features, storage)
  assert stored.dtype == storage and stored.shape == features.shape
  back = decompress(stored)
  assert back.dtype == tf.float32
  np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)
  # Half a step of rounding at most, of the greatest component, and as much again for the length.
  largest = np.abs(features).max(axis=1, keepdims=True)
  step = {'float32': 0, 'float16': 2.0 ** -11, 'int8': 1 / 127}[storage]
  assert (np.abs(back - features) <= step * largest + 1e-7).all()
  if storage == 'float32':
    np.testing.assert_array_equal(back, features)


def test_each_row_of_bytes_has_its_own_scale():
  stored = compress([[0.6, -0.8, 0], [0.01, 0.01, 0.9999], [1, 0, 0]], 'int8')
  assert stored.tolist() == [[95, -127, 0], [1, 1, 127], [127, 0, 0]]


def test_what_was_compressed_is_not_changed_by_doing_it_again():
  for storage in STORAGES:
    stored = compress(unit(50), storage)
    np.testing.assert_array_equal(compress(decompress(stored), storage), stored)


def test_no_direction_stays_none():
  for storage in STORAGES:
    np.testing.assert_array_equal(decompress(compress(np.zeros([2, 3]), storage)), np.zeros([2, 3]))
    assert compress(np.zeros([0, 3]), storage).shape == (0, 3)


def test_an_unknown_storage_is_named():
  with pytest.raises(ValueError, match='--bank_storage int4: expected one of float32, float16'):
    compress(unit(2), 'int4')

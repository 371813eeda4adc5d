import numpy as np
import pytest
import tensorflow as tf

from network.segsort.compression import STORAGES, compress, decompress
from network.segsort.inverted_file import find_cells, search_cells
from network.segsort.retrieval import nearest_neighbours


def unit(rows):
  return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def sorted_bank(count=300, dim=8, cells=12, copies=0, seed=0):
  """Prototypes in the order of their cells, centres and offsets; some prototypes are copies."""
  rng = np.random.default_rng(seed)
  bank = unit(rng.standard_normal([count, dim]))
  if copies:
    bank = bank[rng.integers(0, copies, count)]
  centres = unit(rng.standard_normal([cells, dim]))
  cell = np.argmax(bank @ centres.T, axis=1)
  offsets = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=cells))]).astype(np.int32)
  return bank[np.argsort(cell, kind='stable')], centres, offsets


def queries_of(count, dim=8, seed=1):
  return unit(np.random.default_rng(seed).standard_normal([count, dim]))


def naive_search(queries, bank, centres, offsets, k, probes):
  """Loops in float64 over the queries, their cells, and the prototypes of these."""
  result = []
  for query in queries.astype(np.float64):
    cells = np.argsort(-(centres.astype(np.float64) @ query))[:probes]
    places = sorted(place for cell in cells for place in range(offsets[cell], offsets[cell + 1]))
    scores = {place: float(bank[place].astype(np.float64) @ query) for place in places}
    result.append(sorted(places, key=lambda place: (-scores[place], place))[:k])  # noqa: B023
  return np.array(result)


@pytest.mark.parametrize('k', [1, 7, 30])
@pytest.mark.parametrize('probes', [4, 12])
@pytest.mark.parametrize('number', [1, 40])
def test_neighbours_are_those_of_loops_over_the_nearest_cells(number, probes, k):
  bank, centres, offsets = sorted_bank()
  queries = queries_of(number)
  similarity, index = search_cells(queries, bank, centres, offsets, k, probes)
  expected = naive_search(queries, bank, centres, offsets, k, probes)
  np.testing.assert_array_equal(index, expected)
  np.testing.assert_allclose(
      similarity, np.einsum('qd,qkd->qk', queries, bank[expected]), atol=1e-6)
  assert (similarity.dtype, index.dtype) == (tf.float32, tf.int32)


@pytest.mark.parametrize('number', [1, 3, 25])
@pytest.mark.parametrize('dim', [8, 32])
def test_with_all_cells_the_search_is_exact_and_of_equal_prototypes_the_lower_place_wins(
    dim, number):
  bank, centres, offsets = sorted_bank(dim=dim, copies=40)
  queries = queries_of(number, dim)
  expected = nearest_neighbours(queries, bank, 60)[1]
  _, index = search_cells(queries, bank, centres, offsets, 60, 12)
  np.testing.assert_array_equal(index, expected)
  assert len(np.unique(bank[index[0]], axis=0)) < 60  # there are ties


@pytest.mark.parametrize('storage', STORAGES)
def test_a_compressed_bank_is_searched_as_what_it_stands_for(storage):
  bank, centres, offsets = sorted_bank()
  stored = compress(bank, storage)
  search = tf.function(lambda rows: search_cells(rows, stored, centres, offsets, 9, 5))
  queries = tf.constant(queries_of(20))
  expected = search_cells(queries, decompress(stored), centres, offsets, 9, 5)
  for found, right in zip(search(queries), expected, strict=True):
    np.testing.assert_allclose(found, right, atol=1e-6)


def test_cells_are_groups_of_the_sample():
  rng = np.random.default_rng(3)
  truth = np.eye(16, dtype=np.float32)[:5]
  sample = unit(np.repeat(truth, 40, axis=0) + 0.02 * rng.standard_normal([200, 16]))
  centres = find_cells(sample, 25, rng)
  np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
  group = np.argmax(centres @ truth.T, axis=1)
  assert (np.max(centres @ truth.T, axis=1) > 0.99).all()  # no cell joins two groups
  assert np.mean(np.max(sample @ centres.T, axis=1)) > np.mean(
      np.max(sample @ sample[rng.choice(200, 25, replace=False)].T, axis=1))
  assert len(np.unique(group)) == 5

import collections
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from network.segsort import retrieval
from network.segsort.compression import compress, decompress


def unit(x):
  return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def naive_neighbours(queries, bank, k):
  """Loops in float64: places by descending cosine, the lower place of equal ones first."""
  indices = []
  queries, bank = queries.astype(np.float64), bank.astype(np.float64)
  for query in queries:
    scores = [sum(a * b for a, b in zip(query, row, strict=True)) for row in bank]
    indices.append(sorted(range(len(bank)), key=lambda place: (-scores[place], place))[:k])
  return np.array(indices)


@pytest.mark.parametrize('k', [1, 4, 50])
@pytest.mark.parametrize('chunk_size', [1, 17, 49, 50, 1000])
def test_neighbours_equal_loops_for_every_chunk_size(chunk_size, k):
  rng = np.random.default_rng(0)
  queries, bank = unit(rng.standard_normal([6, 5])), unit(rng.standard_normal([50, 5]))
  similarity, index = retrieval.nearest_neighbours(queries, bank, k, chunk_size)
  expected = naive_neighbours(queries, bank, k)
  np.testing.assert_array_equal(index, expected)
  cosines = np.einsum('qd,qkd->qk', queries.astype(np.float64), bank[expected].astype(np.float64))
  np.testing.assert_allclose(similarity, cosines, atol=1e-6)
  assert similarity.dtype == tf.float32


@pytest.mark.parametrize('dim', [8, 32, 34, 512])
@pytest.mark.parametrize('number', [1, 3, 25])
def test_of_equal_prototypes_the_lower_place_wins_also_across_chunks(number, dim):
  rng = np.random.default_rng(dim)
  originals = unit(rng.standard_normal([10, dim]))
  kinds = rng.integers(0, 10, 203)
  bank, queries = originals[kinds], unit(rng.standard_normal([number, dim]))
  order = np.argsort(-(queries.astype(np.float64) @ originals.T.astype(np.float64)), axis=1)
  expected = [[place for kind in row for place in np.flatnonzero(kinds == kind)] for row in order]
  for chunk_size in (16, 37, 100, 203):
    for k in (5, 60):
      _, index = retrieval.nearest_neighbours(queries, bank, k, chunk_size)
      np.testing.assert_array_equal(index, np.array(expected)[:, :k])


@pytest.mark.parametrize('width', [8, 61, 64, 100])
def test_top_k_by_blocks_equals_sorting_with_ties(monkeypatch, width):
  monkeypatch.setattr(retrieval, '_BLOCK', 4)
  rng = np.random.default_rng(width)
  scores = rng.integers(0, 6, [7, width]).astype(np.float32) - 3.0
  scores[:, :width // 3] -= np.inf  # as in a chunk that overlaps the one before
  for k in (1, 2, 5):
    values, index = retrieval._top_k(tf.constant(scores), k)
    expected = np.argsort(-scores, axis=1, kind='stable')[:, :k]
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, expected, axis=1))


_PEAKS = """
import numpy as np, tensorflow as tf
from network.segsort import plain, retrieval
from utils.benchmarking import peak_memory
rng = np.random.default_rng(3)
queries, bank = (tf.math.l2_normalize(rng.standard_normal([rows, 4]).astype(np.float32), 1)
                 for rows in (100, 600_000))
for way in (retrieval, plain):
  search = tf.function(lambda q, b, way=way: way.nearest_neighbours(q, b, 5))
  search(queries, bank[:40_000])
  print(peak_memory(lambda: search(queries, bank)))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_bank():
  """In a process of its own, where no memory that was freed before is used again."""
  result = subprocess.run(
      [sys.executable, '-c', _PEAKS], cwd=pathlib.Path(__file__).parents[2], text=True, check=True,
      capture_output=True)
  ours, plainly = map(float, result.stdout.split()[-2:])
  # All similarities at once are 229 MB.
  assert ours < 100 and plainly > 200


@pytest.mark.parametrize('k', [0, 4])
def test_k_that_the_bank_cannot_give_is_an_error(k):
  with pytest.raises(ValueError, match=f'k is {k}, but the bank has 3'):
    retrieval.nearest_neighbours(tf.ones([2, 2]), tf.ones([3, 2]), k)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_search_finds_the_same(jit_compile):
  rng = np.random.default_rng(1)
  queries, bank = unit(rng.standard_normal([6, 5])), unit(rng.standard_normal([50, 5]))
  compiled = tf.function(
      lambda q, b: retrieval.nearest_neighbours(q, b, 7, 16), jit_compile=jit_compile)
  np.testing.assert_array_equal(
      compiled(tf.constant(queries), tf.constant(bank))[1], naive_neighbours(queries, bank, 7))


@pytest.mark.parametrize('storage', ['float16', 'int8'])
def test_a_compressed_bank_is_searched_as_what_it_stands_for(storage):
  rng = np.random.default_rng(2)
  queries, bank = unit(rng.standard_normal([6, 8])), unit(rng.standard_normal([90, 8]))
  stored = compress(bank, storage)
  similarity, index = retrieval.nearest_neighbours(queries, stored, 5, 32)
  expected = retrieval.nearest_neighbours(queries, decompress(stored), 5, 32)
  np.testing.assert_array_equal(index, expected[1])
  np.testing.assert_allclose(similarity, expected[0], atol=1e-6)


def test_no_queries_have_no_neighbours():
  similarity, index = retrieval.nearest_neighbours(tf.zeros([0, 2]), tf.ones([3, 2]), 2)
  assert similarity.shape == index.shape == (0, 2)


LABELS = np.array([[2, 1, 1, 2, 0], [3, 3, 3, 0, 0], [1, 0, 2, 3, 4]], np.int32)
SIMILARITY = np.array([[0.99, 0.5, 0.5, 0.4, 0.1], [0.9, 0.8, 0.7, 0.6, 0.5],
                       [0.6, 0.5, 0.5, 0.5, 0.5]], np.float32)


def naive_vote(labels, similarity, mode):
  results = []
  for row, scores in zip(labels.tolist(), similarity.tolist(), strict=True):
    counts = collections.defaultdict(float)
    for label, score in zip(row, scores, strict=True):
      counts[label] += np.exp(10 * (score - 1)) if mode == 'similarity' else 1.0
    best = max(counts.values())
    tied = [label for label in row if counts[label] == best]
    results.append(tied[0] if mode == 'nearest' else min(tied))
  return results


def test_equal_counts_go_to_the_smallest_class_or_the_nearest():
  assert retrieval.vote(LABELS, SIMILARITY, 5).numpy().tolist() == [1, 3, 0]
  assert retrieval.vote(LABELS, SIMILARITY, 5, 'nearest').numpy().tolist() == [2, 3, 1]
  assert retrieval.vote(LABELS, SIMILARITY, 5, 'similarity').numpy().tolist() == [2, 3, 1]


@pytest.mark.parametrize('mode', ['count', 'nearest', 'similarity'])
def test_votes_equal_loops(mode):
  rng = np.random.default_rng(2)
  labels = rng.integers(0, 4, [300, 5]).astype(np.int32)
  similarity = -np.sort(-rng.uniform(-1, 1, [300, 5]).astype(np.float32))
  np.testing.assert_array_equal(
      retrieval.vote(labels, similarity, 6, mode), naive_vote(labels, similarity, mode))


def test_vote_counts_add_up():
  counts = retrieval.vote_counts(LABELS, 5).numpy()
  np.testing.assert_array_equal(counts, [np.bincount(row, minlength=5) for row in LABELS])
  weighted = retrieval.vote_counts(LABELS, 5, SIMILARITY, concentration=2.0).numpy()
  np.testing.assert_allclose(weighted[1, 3], np.exp([-0.2, -0.4, -0.6]).sum(), rtol=1e-6)


def test_unknown_mode_is_named():
  with pytest.raises(ValueError, match="'most'"):
    retrieval.vote(LABELS, SIMILARITY, 5, 'most')

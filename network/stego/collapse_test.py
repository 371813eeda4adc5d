import numpy as np
import pytest
import tensorflow as tf

from network.stego.collapse import effective_rank, used_clusters
from utils.training import make_strategy


@pytest.mark.parametrize('rank', [1, 2, 5])
def test_it_counts_equally_used_directions(rank):
  code = np.tile(np.eye(5)[:rank], [6, 1]) * np.arange(1, 6 * rank + 1)[:, np.newaxis]
  np.testing.assert_allclose(effective_rank(code.reshape(2, 3, rank, 5)), rank, rtol=1e-5)


def test_it_is_the_participation_ratio():
  code = np.random.default_rng(0).normal(size=[4, 5, 6, 7]) + 0.4
  unit = (code / np.linalg.norm(code, axis=-1, keepdims=True)).reshape(-1, 7)
  squares = (unit @ unit.T) ** 2
  np.testing.assert_allclose(effective_rank(code), 1 / squares.mean(), rtol=1e-5)
  values = np.linalg.svd(unit, compute_uv=False) ** 2
  np.testing.assert_allclose(effective_rank(code), values.sum() ** 2 / (values ** 2).sum(), 1e-5)


def test_signs_do_not_matter_and_nothing_has_rank_0():
  code = np.ones([4, 3]) * np.array([1, -1, 2, -3])[:, np.newaxis]
  np.testing.assert_allclose(effective_rank(code), 1, rtol=1e-6)
  assert float(effective_rank(np.zeros([4, 3]))) == 0


@pytest.mark.parametrize('shares', [[1], [3, 3], [1, 2, 5]])
def test_clusters_count_by_how_much_they_are_used(shares):
  similarities = np.eye(4, dtype=np.float32)[np.repeat(np.arange(len(shares)), shares)]
  parts = np.array(shares) / sum(shares)
  expected = np.exp(-(parts * np.log(parts)).sum())
  np.testing.assert_allclose(used_clusters(similarities[np.newaxis] - 0.5), expected, rtol=1e-6)


def test_replicas_count_what_is_in_all_of_them():
  """Each half has two directions and clusters of its own."""
  code = np.eye(4, dtype=np.float32)[np.array([0, 1, 0, 1, 2, 3, 2, 3])]
  strategy = make_strategy(2)
  parts = strategy.experimental_distribute_values_from_function(
      lambda context: tf.constant(np.split(code, 2)[context.replica_id_in_sync_group]))

  def count(part):
    return effective_rank(part), used_clusters(part)

  for found in tf.function(lambda: strategy.run(count, args=(parts,)))():
    for value in strategy.experimental_local_results(found):
      np.testing.assert_allclose(value, 4, rtol=1e-6)

"""What replicas know of each other, on two logical CPU devices and on one."""

import numpy as np
import pytest
import tensorflow as tf

from network.common import replicas
from utils.training import make_strategy

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def on_replicas(function, count=2):
  """Results of function(rows of the replica) on each of `count` replicas."""
  strategy = make_strategy(count)
  parts = strategy.experimental_distribute_values_from_function(
      lambda context: tf.constant(np.split(ROWS, count)[context.replica_id_in_sync_group]))
  results = tf.function(lambda: strategy.run(function, args=(parts,)))()
  return [np.asarray(value) for value in strategy.experimental_local_results(results)]


@pytest.mark.parametrize('count', [1, 2])
def test_sum(count):
  expected = sum(np.split(ROWS, count))
  for result in on_replicas(replicas.sum_over_replicas, count):
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize('dtype', [tf.float32, tf.int32])
def test_rows_of_all_in_the_order_of_the_replicas(count, dtype):
  for result in on_replicas(lambda rows: replicas.gather_rows(tf.cast(rows, dtype)), count):
    np.testing.assert_array_equal(result, ROWS)


def test_own_offset_is_where_the_own_rows_begin():
  def own_rows(rows):
    offset = replicas.own_offset(2)
    return replicas.gather_rows(rows)[offset:offset + 2]
  np.testing.assert_array_equal(np.concatenate(on_replicas(own_rows)), ROWS)


@pytest.mark.parametrize('count', [1, 2])
def test_gradients_of_a_gathered_value_reach_every_replica(count):
  def gradient(rows):
    with tf.GradientTape() as tape:
      tape.watch(rows)
      # Each replica counts what it sees of all rows with a weight of its own, 1 and 2.
      weight = tf.cast(replicas.own_offset(1) + 1, tf.float32)
      value = weight * tf.reduce_sum(tf.square(replicas.gather_rows(rows)))
    return tape.gradient(value, rows)
  total = sum(range(1, count + 1))
  np.testing.assert_allclose(
      np.concatenate(on_replicas(gradient, count)), total * 2 * ROWS)


def test_one_device_needs_no_strategy():
  assert replicas.num_replicas() == 1
  np.testing.assert_array_equal(replicas.sum_over_replicas(tf.constant(ROWS)), ROWS)
  assert int(replicas.own_offset(7)) == 0


def test_across_replicas_is_an_error():
  with make_strategy(2).scope(), pytest.raises(RuntimeError, match='strategy.run'):
    replicas.num_replicas()

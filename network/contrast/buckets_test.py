import numpy as np
import pytest
import tensorflow as tf

from network.contrast.buckets import fill_buckets

IDS = np.array([3, -1, 0, 3, 3, 1, 0, -1, 3], np.int32)


def contents(buckets):
  order, start, count = (np.asarray(value) for value in buckets)
  return [order[first:first + size].tolist() for first, size in zip(start, count, strict=True)]


def test_without_a_seed_items_keep_their_order():
  assert contents(fill_buckets(IDS, 5)) == [[2, 6], [5], [], [0, 3, 4, 8], []]


def test_with_a_seed_each_bucket_is_shuffled_by_itself():
  shuffled = [contents(fill_buckets(IDS, 5, [1, seed])) for seed in range(20)]
  assert all([sorted(items) for items in drawn] == contents(fill_buckets(IDS, 5))
             for drawn in shuffled)
  assert len({tuple(drawn[3]) for drawn in shuffled}) > 10
  assert contents(fill_buckets(IDS, 5, [1, 3])) == shuffled[3]


def test_every_item_is_first_equally_often():
  ids = np.zeros(4, np.int32)
  first = [contents(fill_buckets(ids, 1, [2, seed]))[0][0] for seed in range(200)]
  assert min(np.bincount(first, minlength=4)) > 30  # 50 expected, standard deviation 6


def test_a_part_of_all_items_is_in_the_order_of_the_whole():
  ids = np.array([0] * 12, np.int32)
  whole = contents(fill_buckets(ids, 1, [3, 4]))[0]
  part = contents(fill_buckets(ids[:5], 1, [3, 4], offset=7))[0]
  assert [item + 7 for item in part] == [item for item in whole if item >= 7]


def test_take():
  buckets = fill_buckets(IDS, 5)
  np.testing.assert_array_equal(buckets.take([[3, 0], [1, 3]], [[2, 1], [0, 0]]), [[4, 6], [5, 0]])
  assert 0 <= int(buckets.take(4, 3)) < len(IDS)  # there is none, and no error


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_equals_eager(jit_compile):
  compiled = tf.function(fill_buckets, jit_compile=jit_compile)
  for actual, expected in zip(
      compiled(tf.constant(IDS), 5, tf.constant([7, 8]), tf.constant(2)),
      fill_buckets(IDS, 5, [7, 8], 2), strict=True):
    np.testing.assert_array_equal(actual, expected)

"""Random draws without replacement from many sets at once, with static shapes."""

from typing import NamedTuple

import tensorflow as tf

from network.common.hashing import hash_numbers

# More than every `hash_numbers`, so that a bucket's id outweighs it in a sort key.
_BEYOND = 2 ** 32


class Buckets(NamedTuple):
  """Items sorted by bucket, and in random order inside each.

  order: int32 [P], the items; those of bucket s are order[start[s]:start[s] + count[s]].
  start: int32 [S].
  count: int32 [S].
  """
  order: tf.Tensor
  start: tf.Tensor
  count: tf.Tensor

  def take(self, bucket, index):
    """The index-th items drawn from buckets: int32 tensors of one shape -> items of that shape.

    Where a bucket has not that many the item is another one; compare `index` with `count`.
    """
    place = tf.gather(self.start, bucket) + index
    return tf.gather(self.order, tf.minimum(place, tf.size(self.order) - 1))


def fill_buckets(ids, num_buckets, seed=None, offset=0):
  """Sorts items into buckets.

  Args:
    ids: int32 [P], the bucket of each item; items with a negative id are in none.
    num_buckets: S.
    seed: int32 [2], stateless; None leaves the items of a bucket in their order.
    offset: added to an item's number for its chance, where this is a part of all items.

  Returns:
    `Buckets`.
  """
  items = tf.range(tf.size(ids))
  chance = tf.cast(items, tf.int64) if seed is None else hash_numbers(items + offset, seed)
  counted = tf.where(ids >= 0, ids, num_buckets)
  order = tf.argsort(tf.cast(counted, tf.int64) * _BEYOND + chance, stable=True)
  count = tf.math.unsorted_segment_sum(tf.ones_like(ids), counted, num_buckets + 1)[:-1]
  return Buckets(order, tf.cumsum(count, exclusive=True), count)

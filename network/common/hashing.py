"""Randomness that is the same eagerly, in a graph and compiled by XLA.

TensorFlow's stateless generators give other numbers in a compiled step than in an eager one; whole
numbers do not.
"""

import tensorflow as tf


def hash_numbers(numbers, seed):
  """Pseudo-random numbers, one for each number and seed.

  Args:
    numbers: integer tensor of any shape.
    seed: two integers, int32 [2] for one.

  Returns:
    int64 in [0, 2^32), of the shape of `numbers`. The mixing is lowbias32 (Wellons, 2018).
  """
  def mix(x):
    for shift, factor in ((16, 0x7feb352d), (15, 0x846ca68b), (16, 1)):
      x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(shift, tf.int64)))
      x = tf.bitwise.bitwise_and(x * factor, tf.constant(0xffffffff, tf.int64))
    return x

  seed = tf.bitwise.bitwise_and(tf.cast(seed, tf.int64), tf.constant(0xffffffff, tf.int64))
  return mix(mix(mix(seed[0]) + seed[1]) + tf.cast(numbers, tf.int64))

"""The memory bank: prototypes of the last batches as further, constant members of the loss.

Source: SegSort (Hwang et al., ICCV 2019), section 3.2; specs/segsort.md, sections 2 and 3.1.
"""

from typing import NamedTuple

import tensorflow as tf

from network.common.hashing import hash_numbers
from network.segsort.prototypes import compact


class Memory(NamedTuple):
  """A ring of banks, oldest first.

  prototypes: float32 [num_banks, capacity, D] of unit length.
  labels: int32 [num_banks, capacity].
  valid: bool [num_banks, capacity]; the other places are empty and never counted.
  """
  prototypes: tf.Tensor
  labels: tf.Tensor
  valid: tf.Tensor


def empty_memory(num_banks, capacity, dim):
  """A memory that holds nothing yet.

  Deviates from the original: it starts with random vectors of class 0, which count as background.
  """
  return Memory(
      tf.zeros([num_banks, capacity, dim]),
      tf.zeros([num_banks, capacity], tf.int32),
      tf.zeros([num_banks, capacity], tf.bool))


def flatten(memory):
  """The memory as one list: prototypes [Q, D], labels [Q], valid [Q]; Q = num_banks * capacity."""
  dim = memory.prototypes.shape[-1]
  return (tf.reshape(memory.prototypes, [-1, dim]), tf.reshape(memory.labels, [-1]),
          tf.reshape(memory.valid, [-1]))


def memory_update(memory, prototypes, labels, valid, seed):
  """The memory after a batch: the oldest bank leaves, the batch's prototypes come last.

  To be called after the loss of the batch, which must not find its own prototypes in the memory.

  Args:
    memory: `Memory`.
    prototypes: float [P, D] of unit length, P static; no gradient.
    labels: int32 [P].
    valid: bool [P].
    seed: int32 [2], stateless. Of more valid prototypes than the capacity a random choice is kept,
      which depends on the seed and on the order of the valid ones, not on where gaps are.

  Returns:
    `Memory` of the same shapes.

  Deviates from the original: its update never runs, and would fail on fewer prototypes than places.
  """
  num_banks, capacity = memory.labels.shape
  if num_banks == 0:
    return memory
  size = prototypes.shape[0]
  rank, _, _ = compact(valid, size)
  # The others come last.
  chance = tf.where(valid, hash_numbers(rank, seed), 2 ** 32)
  chosen = tf.argsort(chance, stable=True)[:capacity]

  def bank(values):
    values = tf.gather(values, chosen)
    missing = capacity - values.shape[0]
    return tf.pad(values, [[0, missing]] + [[0, 0]] * (values.shape.rank - 1))[tf.newaxis]

  new = Memory(bank(tf.stop_gradient(tf.cast(prototypes, tf.float32))), bank(labels), bank(valid))
  return Memory(*(tf.concat([old[1:], last], axis=0)
                  for old, last in zip(memory, new, strict=True)))

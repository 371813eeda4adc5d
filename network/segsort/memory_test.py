import numpy as np
import pytest
import tensorflow as tf

from network.segsort import memory as memories


def batch(value, size=3, valid=None):
  """Prototypes, labels and valid of a batch that can be told from other batches by their value."""
  prototypes = np.full([size, 2], value, np.float32)
  prototypes += np.arange(size, dtype=np.float32)[:, np.newaxis] / 100
  labels = np.arange(size, dtype=np.int32) + 10 * value
  return prototypes, labels, np.ones(size, bool) if valid is None else np.array(valid)


def contents(memory):
  """The labels of the valid places of each bank, sorted."""
  return [sorted(labels[valid].tolist())
          for labels, valid in zip(memory.labels.numpy(), memory.valid.numpy(), strict=True)]


def test_a_new_memory_holds_nothing():
  memory = memories.empty_memory(2, 4, 3)
  assert contents(memory) == [[], []]
  assert memory.prototypes.shape == (2, 4, 3)


def test_the_oldest_bank_is_replaced():
  memory = memories.empty_memory(2, 4, 2)
  seen = []
  for value in range(1, 5):
    memory = memories.memory_update(memory, *batch(value), seed=[0, value])
    seen.append(contents(memory))
  ten = [[10 * v, 10 * v + 1, 10 * v + 2] for v in range(5)]
  assert seen == [[[], ten[1]], [ten[1], ten[2]], [ten[2], ten[3]], [ten[3], ten[4]]]


def test_prototypes_stay_with_their_labels_and_gaps_are_left_out():
  memory = memories.empty_memory(1, 5, 2)
  values = batch(3, 7, [False, True, False, False, True, True, False])
  memory = memories.memory_update(memory, *values, seed=[1, 2])
  prototypes, labels, valid = memories.flatten(memory)
  assert sorted(labels[valid].numpy()) == [31, 34, 35]
  for prototype, label in zip(prototypes[valid], labels[valid], strict=True):
    np.testing.assert_array_equal(prototype, values[0][label - 30])


def test_of_too_many_a_random_choice_by_the_seed_is_kept():
  memory = memories.empty_memory(1, 4, 2)
  kept = [contents(memories.memory_update(memory, *batch(0, 40), seed=[0, s]))[0]
          for s in (0, 0, 1, 2)]
  assert all(len(set(k)) == 4 for k in kept)
  assert kept[0] == kept[1]
  assert len({tuple(k) for k in kept}) == 3


def test_the_choice_does_not_depend_on_where_gaps_are():
  memory = memories.empty_memory(1, 3, 2)
  prototypes, labels, valid = batch(0, 12, [True] * 6 + [False] * 6)
  order = np.array([6, 0, 7, 8, 1, 2, 9, 3, 10, 4, 5, 11])
  a = memories.memory_update(memory, prototypes, labels, valid, seed=[3, 4])
  b = memories.memory_update(memory, prototypes[order], labels[order], valid[order], seed=[3, 4])
  for x, y in zip(a, b, strict=True):
    np.testing.assert_array_equal(x, y)


def test_every_prototype_has_the_same_chance():
  memory = memories.empty_memory(1, 2, 2)
  counts = np.zeros(4)
  for step in range(200):
    for label in contents(memories.memory_update(memory, *batch(0, 4), seed=[5, step]))[0]:
      counts[label] += 1
  assert counts.sum() == 400 and counts.min() > 70  # 100 expected, standard deviation 7


def test_a_memory_without_banks_stays_empty():
  memory = memories.memory_update(memories.empty_memory(0, 4, 2), *batch(1), seed=[0, 0])
  assert memories.flatten(memory)[0].shape == (0, 2)


def test_no_gradient_flows_into_the_memory():
  prototypes, labels, valid = batch(1)
  prototypes = tf.constant(prototypes)
  with tf.GradientTape() as tape:
    tape.watch(prototypes)
    memory = memories.memory_update(
        memories.empty_memory(1, 3, 2), prototypes, labels, valid, seed=[0, 0])
  assert tape.gradient(memory.prototypes, prototypes) is None


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_update_equals_eager(jit_compile):
  values = batch(1, 9, [True, False, True] * 3)
  memory = memories.memory_update(memories.empty_memory(2, 4, 2), *batch(2), seed=[0, 0])
  compiled = tf.function(memories.memory_update, jit_compile=jit_compile)
  actual = compiled(memory, *map(tf.constant, values), tf.constant([7, 8]))
  expected = memories.memory_update(memory, *values, tf.constant([7, 8]))
  for x, y in zip(actual, expected, strict=True):
    np.testing.assert_array_equal(x, y)

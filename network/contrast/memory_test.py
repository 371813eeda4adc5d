import numpy as np
import pytest
import tensorflow as tf

from network.contrast import memory as memories
from network.contrast.memory import Queue
from utils.training import make_strategy

CLASSES = 3


def numbered(*counts, rows=None, start=1):
  """Rows [C, R, 1] that can be told apart, counts[c] of class c valid, with gaps before them."""
  rows = rows or max(counts)
  features = np.zeros([len(counts), rows, 1], np.float32)
  valid = np.arange(rows) >= rows - np.array(counts)[:, np.newaxis]
  features[valid, 0] = start + np.arange(valid.sum())
  return features, valid


def places(queue):
  return queue.features.numpy()[..., 0].tolist()


def test_the_ring_is_written_from_its_pointer_on():
  queue = memories.enqueue(memories.empty_queue(3, 4, 1), *numbered(2, 0, 3))
  assert places(queue) == [[1, 2, 0, 0], [0, 0, 0, 0], [3, 4, 5, 0]]
  assert queue.pointer.numpy().tolist() == queue.filled.numpy().tolist() == [2, 0, 3]
  queue = memories.enqueue(queue, *numbered(2, 1, 3, start=11))
  assert places(queue) == [[1, 2, 11, 12], [13, 0, 0, 0], [15, 16, 5, 14]]
  assert queue.pointer.numpy().tolist() == [0, 1, 2]
  assert queue.filled.numpy().tolist() == [4, 1, 4]


def test_of_more_than_fits_the_last_stay():
  queue = memories.enqueue(memories.empty_queue(2, 3, 1), *numbered(1, 8))
  assert [sorted(row) for row in places(queue)] == [[0, 0, 1], [7, 8, 9]]
  assert queue.pointer.numpy().tolist() == [1, 2]
  assert queue.filled.numpy().tolist() == [1, 3]


def test_any_sequence_equals_a_list_of_the_last():
  random = np.random.default_rng(0)
  queue, lists = memories.empty_queue(CLASSES, 5, 1), [[] for _ in range(CLASSES)]
  for step in range(12):
    features = random.normal(size=[CLASSES, 4, 1]).astype(np.float32)
    valid = random.random([CLASSES, 4]) < 0.4
    queue = memories.enqueue(queue, features, valid)
    for label in range(CLASSES):
      lists[label] = (lists[label] + features[label, valid[label], 0].tolist())[-5:]
      filled = int(queue.filled[label])
      assert sorted(places(queue)[label][:filled]) == sorted(lists[label]), step


def test_keys_are_the_filled_places_of_every_class():
  first = memories.enqueue(memories.empty_queue(2, 3, 1), *numbered(1, 2))
  second = memories.enqueue(memories.empty_queue(2, 2, 1), *numbered(2, 0, start=7))
  features, labels, valid = (value.numpy() for value in memories.keys_of(first, second))
  assert features.shape == (10, 1)
  assert sorted(zip(labels[valid].tolist(), features[valid, 0].tolist(), strict=True)) == [
      (0, 1), (0, 7), (0, 8), (1, 2), (1, 3)]


def test_released_keys_have_zeros_for_class_0_at_the_end():
  features = np.arange(1, 7, dtype=np.float32).reshape(3, 2, 1)
  keys = memories.released_keys(features)
  assert keys.features.numpy()[:, 0].tolist() == [3, 4, 5, 6, 0, 0]
  assert keys.labels.numpy().tolist() == [1, 1, 2, 2, 0, 0]
  assert keys.valid.numpy().all()


def batch(seed=0, images=3, height=4, width=5, dim=6):
  random = np.random.default_rng(seed)
  labels = random.integers(-1, CLASSES, [images, height, width]).astype(np.int32)
  labels[1] = np.where(labels[1] == 2, CLASSES, labels[1])  # a class that is unknown, 2 is missing
  return random.normal(size=[images, height, width, dim]).astype(np.float32), labels


def test_regions_equal_a_numpy_oracle():
  embedding, labels = batch()
  features, valid = memories.region_rows(*map(tf.constant, (embedding, labels)), CLASSES)
  assert features.shape == (CLASSES, 3, 6)
  for label in range(CLASSES):
    for image in range(3):
      pixels = embedding[image][labels[image] == label].astype(np.float64)
      assert bool(valid[label, image]) == bool(len(pixels)) == (image != 1 or label != 2)
      if len(pixels):
        mean = pixels.mean(axis=0)
        np.testing.assert_allclose(
            features[label, image], mean / np.linalg.norm(mean), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('seed', [None, [0, 1], [0, 2]])
def test_pixels_are_of_their_class_and_drawn_once(seed):
  embedding, labels = batch()
  features, valid = memories.pixel_rows(
      *map(tf.constant, (embedding, labels)), CLASSES, 4, seed)
  assert features.shape == (CLASSES, 12, 6)
  unit = embedding / np.linalg.norm(embedding, axis=-1, keepdims=True)
  for label in range(CLASSES):
    for image in range(3):
      candidates = unit[image][labels[image] == label]
      part = slice(4 * image, 4 * image + 4)
      drawn = features[label, part].numpy()[valid[label, part].numpy()]
      assert len(drawn) == min(4, len(candidates))
      places = [int(np.abs(candidates - row).max(-1).argmin()) for row in drawn]
      assert len(set(places)) == len(places)
      for place, row in zip(places, drawn, strict=True):
        np.testing.assert_allclose(row, candidates[place], atol=1e-6)
      if seed is None:
        assert places == list(range(len(places)))


def test_all_ignored_is_no_row():
  embedding, labels = batch()
  labels = tf.fill(labels.shape, -1)
  assert not np.any(memories.region_rows(tf.constant(embedding), labels, CLASSES)[1])
  assert not np.any(memories.pixel_rows(tf.constant(embedding), labels, CLASSES, 4)[1])


def update(embedding, labels, queues=None, seed=(3, 4)):
  regions, pixels = queues or (
      memories.empty_queue(CLASSES, 4, 6), memories.empty_queue(CLASSES, 7, 6))
  return (memories.enqueue(regions, *memories.region_rows(embedding, labels, CLASSES)),
          memories.enqueue(pixels, *memories.pixel_rows(embedding, labels, CLASSES, 3, seed)))


def assert_equal(actual, expected):
  for one, other in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_equals_eager(jit_compile):
  first, second = (tuple(map(tf.constant, batch(seed))) for seed in (1, 2))
  queues = update(*first)
  compiled = tf.function(update, jit_compile=jit_compile)
  assert_equal(compiled(*second, queues), update(*second, queues))


def test_two_replicas_equal_one_device():
  data = batch(3, images=4)
  expected = update(*map(tf.constant, data))
  strategy = make_strategy(2)
  parts = [strategy.experimental_distribute_values_from_function(
      lambda context, values=values: tf.constant(
          np.split(values, 2)[context.replica_id_in_sync_group])) for values in data]
  results = tf.function(lambda: strategy.run(update, args=parts))()
  for replica in range(2):
    assert_equal(tf.nest.map_structure(
        lambda value, replica=replica: strategy.experimental_local_results(value)[replica],
        results), expected)


def test_no_gradient_flows_into_the_queues():
  embedding, labels = map(tf.constant, batch())
  with tf.GradientTape() as tape:
    tape.watch(embedding)
    queues = update(embedding, labels)
    value = sum(tf.reduce_sum(queue.features) for queue in queues)
  assert isinstance(queues[0], Queue) and tape.gradient(value, embedding) is None

import numpy as np
import pytest
import tensorflow as tf

from network.segsort import panoptic
from network.segsort.prototypes import l2_normalize


def naive_panoptic(embedding, clusters, labels, instances, first):
  """Rows (prototype, class, instance, count) of the majority pairs, by loops in float64."""
  counted = [i for i in range(len(labels)) if labels[i] != 255 and clusters[i] >= 0]
  numbers = {pair: first + n for n, pair in enumerate(
      sorted({(labels[i], instances[i]) for i in counted}))}
  rows = []
  for cluster in dict.fromkeys(clusters[i] for i in counted):
    pairs = [(labels[i], instances[i]) for i in counted if clusters[i] == cluster]
    winner = max(sorted(set(pairs)), key=pairs.count)
    members = [i for i in counted
               if clusters[i] == cluster and (labels[i], instances[i]) == winner]
    total = embedding[members].astype(np.float64).sum(axis=0)
    rows.append((total / np.linalg.norm(total), winner[0], numbers[winner], len(members)))
  return [np.array(column) for column in zip(*rows, strict=True)], len(numbers)


def test_extraction_equals_loops():
  rng = np.random.default_rng(0)
  embedding = l2_normalize(rng.standard_normal([90, 4])).numpy()
  clusters = rng.integers(-1, 5, 90).astype(np.int32)
  labels = rng.choice([0, 2, 5, 255], 90).astype(np.int32)
  instances = rng.choice([0, 1, 70000], 90).astype(np.int32)
  actual = panoptic.extract_panoptic_prototypes(
      embedding, clusters, labels, instances, first_instance=100)
  expected, number = naive_panoptic(embedding, clusters, labels, instances, 100)
  assert actual.num_instances == number == 9
  np.testing.assert_allclose(actual.prototypes, expected[0], atol=1e-6)
  for name, values in zip(['labels', 'instances', 'counts'], expected[1:], strict=True):
    np.testing.assert_array_equal(getattr(actual, name), values)


def test_pieces_separate_the_instances_of_one_cluster():
  actual = panoptic.extract_panoptic_prototypes(
      tf.one_hot([0, 1, 1, 2], 3), tf.zeros(4, tf.int32), tf.constant([4, 4, 4, 1]),
      tf.constant([2, 9, 9, 0]), mode='piece')
  np.testing.assert_array_equal(actual.prototypes, np.eye(3))
  np.testing.assert_array_equal(actual.labels, [4, 4, 1])
  np.testing.assert_array_equal(actual.instances, [1, 2, 0])
  np.testing.assert_array_equal(actual.pixels, [0, 1, 1, 2])


def test_an_image_without_a_labelled_pixel_has_no_instances():
  actual = panoptic.extract_panoptic_prototypes(
      tf.ones([3, 2]), tf.zeros(3, tf.int32), tf.fill([3], 255), tf.zeros(3, tf.int32))
  assert actual.prototypes.shape == (0, 2) and actual.num_instances == 0


def test_the_instance_is_one_of_the_elected_class():
  labels = np.array([[1, 2, 2, 1, 1], [0, 0, 3, 3, 0], [2, 2, 1, 1, 0]], np.int32)
  instances = np.array([[5, 5, 5, 6, 6], [4, 9, 7, 7, 2], [3, 6, 5, 5, 0]], np.int32)
  similarity = np.tile(np.float32([0.9, 0.8, 0.7, 0.6, 0.5]), [3, 1])
  classes, elected = panoptic.vote_semantic_instance(labels, instances, similarity, 4)
  # Row 0: the number 5 is the most frequent, but twice that of another class.
  # Row 1: of three with one vote each, 4 is the nearest.
  # Row 2: classes 1 and 2 are equally frequent, 1 is smaller.
  np.testing.assert_array_equal(classes, [1, 0, 1])
  np.testing.assert_array_equal(elected, [6, 4, 5])
  classes, elected = panoptic.vote_semantic_instance(labels, instances, similarity, 4, 'nearest')
  np.testing.assert_array_equal(classes, [1, 0, 2])
  np.testing.assert_array_equal(elected, [6, 4, 3])


def test_instances_of_two_images_are_told_apart():
  """Both images call their one car instance 1; a query finds the car that it looks like."""
  looks = l2_normalize(np.array([[1, 0, 0.0], [0.8, 0.6, 0], [0, 0, 1]], np.float32))
  banks, first = [], 0
  for car in (0, 1):
    pixels = tf.gather(looks, [car, car, 2, 2])  # a car and the road
    bank = panoptic.extract_panoptic_prototypes(
        pixels, tf.constant([0, 0, 1, 1]), tf.constant([7, 7, 3, 3]), tf.constant([1, 1, 0, 0]),
        first_instance=first)
    first += bank.num_instances
    banks.append(bank)
  prototypes, labels, instances = (
      tf.concat([getattr(bank, name) for bank in banks], axis=0)
      for name in ('prototypes', 'labels', 'instances'))
  np.testing.assert_array_equal(labels, [7, 3, 7, 3])
  assert len(set(instances.numpy())) == 4
  query = l2_normalize(np.array([[0.7, 0.7, 0], [1, 0.1, 0], [0, 0, 1], [1, 0, 0]], np.float32))
  classes, found = panoptic.predict_semantic_instance(
      query, tf.constant([1, 0, 3, -1]), 4, prototypes, labels, instances, 1, 8)
  np.testing.assert_array_equal(classes, [7, 7, 3, -1])
  np.testing.assert_array_equal(found, [instances[2], instances[0], instances[1], -1])


def test_more_neighbours_than_prototypes_are_an_error():
  with pytest.raises(ValueError, match='k is 3'):
    panoptic.predict_semantic_instance(
        tf.ones([2, 2]), tf.zeros(2, tf.int32), 1, tf.ones([2, 2]), tf.zeros(2, tf.int32),
        tf.zeros(2, tf.int32), 3, 1)

import numpy as np
import pytest
import tensorflow as tf

from network.segsort import prototypes


def test_normalised_vectors_have_length_one_and_zero_stays_zero():
  x = tf.constant([[3.0, 4.0], [0.0, 0.0], [1e-8, 0.0], [1e15, 1e15]])
  np.testing.assert_allclose(
      prototypes.l2_normalize(x), [[0.6, 0.8], [0, 0], [1, 0], [0.5 ** 0.5] * 2], rtol=1e-6)


def test_gradient_of_normalisation_is_orthogonal_and_zero_at_zero():
  x = tf.constant([[3.0, 4.0], [0.0, 0.0]])
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = tf.reduce_sum(prototypes.l2_normalize(x) * [1.0, 0.0])
  # d(x/|x|) = (I - u u^T) / |x|
  np.testing.assert_allclose(
      tape.gradient(y, x), [[(1 - 0.36) / 5, -0.48 / 5], [0, 0]], atol=1e-7)


@pytest.mark.parametrize('dtype', [tf.bfloat16, tf.float16])
def test_half_precision_is_normalised_in_float32(dtype):
  x = tf.cast([[300.0, 400.0]], dtype)
  y = prototypes.l2_normalize(x)
  assert y.dtype == tf.float32
  np.testing.assert_allclose(y, [[0.6, 0.8]], rtol=1e-6)


def test_segment_prototypes_are_normalised_sums_by_loops():
  rng = np.random.default_rng(0)
  embedding = rng.standard_normal([30, 4]).astype(np.float32)
  ids = rng.integers(-1, 4, 30).astype(np.int32)
  actual, counts = prototypes.segment_prototypes(embedding, ids, 5)
  for segment in range(5):
    members = embedding[ids == segment].astype(np.float64)
    assert counts[segment] == len(members)
    total = members.sum(axis=0)
    expected = total / np.linalg.norm(total) if len(members) else np.zeros(4)
    np.testing.assert_allclose(actual[segment], expected, atol=1e-6)
  assert counts[4] == 0


def test_compact_packs_marked_entries_in_order():
  rank, index, filled = prototypes.compact(tf.constant([False, True, True, False, True]), 4)
  np.testing.assert_array_equal(rank, [-1, 0, 1, -1, 2])
  np.testing.assert_array_equal(index, [1, 2, 4, 0])
  np.testing.assert_array_equal(filled, [True, True, True, False])


def test_majority_is_the_most_frequent_label_and_the_lowest_of_equals():
  clusters = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, -1, -1], np.int32)
  labels = np.array([2, 2, 1, 3, 1, 1, 3, 7, -1, 0, 0], np.int32)
  # cluster 1 is undecided between 1 and 3; 7 and -1 are no labels; cluster 3 has no pixel
  np.testing.assert_array_equal(
      prototypes.majority_labels(clusters, labels, 4, 4), [2, 1, -1, -1])


def naive_extract(embedding, clusters, labels, mode):
  """Rows (prototype, label, count, cluster) by loops in float64."""
  counted = (labels != 255) & (clusters >= 0)
  rows = []
  for cluster, label in dict.fromkeys(
      (c, 0 if mode == 'majority' else y)
      for c, y in zip(clusters[counted], labels[counted], strict=True)):
    if mode == 'majority':
      label = np.bincount(labels[counted & (clusters == cluster)]).argmax()
    members = embedding[counted & (clusters == cluster) & (labels == label)].astype(np.float64)
    total = members.sum(axis=0)
    rows.append((total / np.linalg.norm(total), label, len(members), cluster))
  return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize('mode', ['majority', 'piece'])
def test_extraction_equals_loops(mode):
  rng = np.random.default_rng(1)
  embedding = rng.standard_normal([80, 4]).astype(np.float32)
  clusters = rng.integers(-1, 6, 80).astype(np.int32)
  labels = rng.choice([0, 1, 2, 4, 255], 80).astype(np.int32)
  actual = prototypes.extract_prototypes(embedding, clusters, labels, mode=mode)
  expected = naive_extract(embedding, clusters, labels, mode)
  np.testing.assert_allclose(actual.prototypes, expected[0], atol=1e-6)
  for column, values in zip(['labels', 'counts', 'clusters'], expected[1:], strict=True):
    np.testing.assert_array_equal(getattr(actual, column), values)
  for pixel, prototype in enumerate(actual.pixels.numpy()):
    counted = labels[pixel] != 255 and clusters[pixel] >= 0
    belongs = [counted and clusters[pixel] == c and labels[pixel] == y
               for y, c in zip(expected[1], expected[3], strict=True)]
    assert prototype == (belongs.index(True) if any(belongs) else -1)


@pytest.mark.parametrize('mode', ['majority', 'piece'])
def test_an_image_without_a_labelled_pixel_has_no_prototypes(mode):
  actual = prototypes.extract_prototypes(
      tf.ones([5, 3]), tf.zeros(5, tf.int32), tf.fill([5], 255), mode=mode)
  assert actual.prototypes.shape == (0, 3) and actual.labels.shape == (0,)
  np.testing.assert_array_equal(actual.pixels, [-1] * 5)


def test_unknown_mode_is_named():
  with pytest.raises(ValueError, match="'best'"):
    prototypes.extract_prototypes(tf.ones([1, 1]), tf.zeros(1, tf.int32), tf.zeros(1, tf.int32),
                                  mode='best')

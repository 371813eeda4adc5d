import numpy as np
import pytest
import tensorflow as tf

from network.segsort import kmeans


def example(seed, pixels, clusters, dim=4):
  """Features [N, dim], initial labels with gaps and strangers, and which pixels count."""
  rng = np.random.default_rng(seed)
  centres = rng.standard_normal([clusters, dim])
  features = centres[rng.integers(0, clusters, pixels)] + rng.standard_normal([pixels, dim]) / 2
  features /= np.linalg.norm(features, axis=-1, keepdims=True)
  initial = rng.integers(-1, clusters + 1, pixels)
  initial[initial == 1] = 0  # cluster 1 is empty
  return (features.astype(np.float32), initial.astype(np.int32), rng.uniform(size=pixels) < 0.9)


def dense(features, initial, clusters, iterations, valid):
  return kmeans.dense_kmeans(
      features[np.newaxis], initial[np.newaxis], clusters, iterations, valid[np.newaxis])[0]


# Fewer than a chunk, one, one and a rest that begins within it, several.
@pytest.mark.parametrize('pixels', [1, 30, 64, 65, 100, 256])
@pytest.mark.parametrize('iterations', [0, 1, 6])
def test_chunks_give_what_all_at_once_gives(monkeypatch, pixels, iterations):
  monkeypatch.setattr(kmeans, 'CHUNK', 64)
  features, initial, valid = example(pixels, pixels, 5)
  labels, *_ = kmeans.chunked_kmeans(features, initial, 5, iterations, valid)
  np.testing.assert_array_equal(labels, dense(features, initial, 5, iterations, valid))


def test_it_ends_when_nothing_changes(monkeypatch):
  monkeypatch.setattr(kmeans, 'CHUNK', 64)
  features, initial, valid = example(0, 200, 4)
  settled, done, _ = kmeans.chunked_kmeans(features, initial, 4, 50, valid)
  assert 2 < done < 50
  again, done, _ = kmeans.chunked_kmeans(features, settled, 4, 50, valid)
  assert done == 1
  np.testing.assert_array_equal(again, settled)
  np.testing.assert_array_equal(settled, dense(features, initial, 4, 50, valid))


def test_pixels_that_cannot_change_are_left_out(monkeypatch):
  monkeypatch.setattr(kmeans, 'CHUNK', 64)
  for seed in range(5):
    features, initial, valid = example(seed, 2000, 12, dim=5)
    labels, done, compared = kmeans.chunked_kmeans(features, initial, 12, 20, valid)
    np.testing.assert_array_equal(labels, dense(features, initial, 12, 20, valid))
    assert compared < 0.7 * int(done) * np.count_nonzero(valid)


def test_one_program_serves_images_of_all_sizes(monkeypatch):
  features, initial, valid = example(1, 90, 5)
  run = tf.function(
      lambda *arrays: kmeans.chunked_kmeans(*arrays[:2], 5, 4, arrays[2]),
      input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.int32),
                       tf.TensorSpec([None], tf.bool)])
  run(features[:10], initial[:10], valid[:10])
  before = kmeans._reassign.experimental_get_tracing_count()
  for size in (20, 50, 90):
    labels, *_ = run(features[:size], initial[:size], valid[:size])
    np.testing.assert_array_equal(
        labels, dense(features[:size], initial[:size], 5, 4, valid[:size]))
  assert kmeans._reassign.experimental_get_tracing_count() == before


def test_an_image_without_a_pixel_that_counts():
  features, initial, _ = example(2, 20, 3)
  labels, done, _ = kmeans.chunked_kmeans(features, initial, 3, 5, np.zeros(20, bool))
  np.testing.assert_array_equal(labels, np.full(20, -1))
  assert done == 1


@pytest.mark.parametrize('clusters', [1, 2, 25, kmeans._UNROLLED + 1])  # the last in a loop
def test_best_two(clusters):
  cosines = np.random.default_rng(clusters).integers(
      -3, 4, [clusters, 3, 50]).astype(np.float32) / 4  # ties
  first, second, nearest = kmeans._best_two(tf.constant(cosines))
  ordered = np.sort(np.concatenate([cosines, np.full_like(cosines[:1], kmeans.NOWHERE)]), axis=0)
  np.testing.assert_array_equal(first, ordered[-1])
  np.testing.assert_array_equal(second, ordered[-2])
  np.testing.assert_array_equal(nearest, cosines.argmax(axis=0))


@pytest.mark.parametrize('places', [1, 3, 25, kmeans._UNROLLED + 1])
@pytest.mark.parametrize('axis', [0, 1])
def test_of_equal_values_the_first_is_the_greatest(places, axis):
  shape = [2, 70]
  shape.insert(axis, places)
  values = np.random.default_rng(places).integers(-2, 3, shape).astype(np.float32) / 2
  np.testing.assert_array_equal(kmeans.first_greatest(values, axis), values.argmax(axis=axis))


@pytest.mark.parametrize('pixels', [0, 30, 64, 150])
@pytest.mark.parametrize('clusters', [5, 40])
def test_segment_sums(monkeypatch, pixels, clusters):
  monkeypatch.setattr(kmeans, 'CHUNK', 64)
  rng = np.random.default_rng(pixels)
  features = rng.standard_normal([pixels, 4]).astype(np.float32)
  labels = rng.integers(-1, clusters, pixels).astype(np.int32)
  expected = [features[labels == cluster].sum(axis=0) for cluster in range(clusters)]
  run = tf.function(kmeans.segment_sums, input_signature=[
      tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)])
  np.testing.assert_allclose(run(features, labels, clusters), expected, rtol=1e-5, atol=1e-5)

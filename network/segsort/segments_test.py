import numpy as np
import pytest
import tensorflow as tf

from network.segsort.alignment import align_segments, smallest_piece
from network.segsort.clustering import clustering_features, location_grid, spherical_kmeans
from network.segsort.segments import find_segments


def example(seed=0, height=8, width=9):
  rng = np.random.default_rng(seed)
  embedding = rng.standard_normal([2, height, width, 4]).astype(np.float32)
  embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
  regions = rng.integers(-1, 5, [2, 4, 3]).repeat(2, 1).repeat(3, 2).astype(np.int32)
  valid = rng.random([2, height, width]) < 0.9
  location = np.tile(location_grid(height, width)[None], [2, 1, 1, 1])
  return [tf.constant(value) for value in (embedding, location, regions, valid)]


def kmeans(embedding, location, initial, valid, weight):
  features = clustering_features(embedding, location, weight)
  labels = spherical_kmeans(
      tf.reshape(features, [2, 72, 6]), tf.reshape(initial, [2, 72]), 5, 4,
      tf.reshape(valid, [2, 72]))
  return tf.reshape(labels, [2, 8, 9])


@pytest.mark.parametrize('weight', [0.3, 1.0])
def test_segments_are_those_of_kmeans_from_any_start(weight):
  embedding, location, regions, valid = example()
  segments = find_segments(
      embedding, location, regions, valid, 5, 4, location_weight=weight).numpy()
  np.testing.assert_array_equal(segments, kmeans(embedding, location, regions, valid, weight))
  # Pixels without a region join the clusters of those that have one.
  np.testing.assert_array_equal(segments >= 0, valid)
  assert (valid & (regions < 0)).numpy().any()


@pytest.mark.parametrize('share', [0.0, 0.3])
def test_aligned_segments_are_split_along_regions(share):
  embedding, location, regions, valid = example(1)
  initial = np.tile(np.arange(72).reshape([8, 9]) % 5, [2, 1, 1]).astype(np.int32)
  clusters = kmeans(embedding, location, initial, valid, 1.0)
  expected = align_segments(embedding, clusters, regions, smallest_piece(clusters, 5, share))
  np.testing.assert_array_equal(
      find_segments(embedding, location, tf.constant(initial), valid, 5, 4, regions=regions,
                    min_piece_share=share), expected)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_equals_eager_with_static_shapes_and_has_no_gradient(jit_compile):
  embedding, location, regions, valid = example(2)

  @tf.function(jit_compile=jit_compile)
  def compiled(embedding):
    segments = find_segments(
        embedding, location, regions, valid, 5, 4, regions=regions, min_piece_share=0.2)
    assert segments.shape == (2, 8, 9)
    sums = tf.math.unsorted_segment_sum(
        tf.reshape(embedding, [-1, 4]), tf.reshape(segments, [-1]), 72)
    return segments, tf.gradients(tf.reduce_sum(sums[:1]), embedding)[0]

  segments, gradient = compiled(embedding)
  expected = find_segments(
      embedding, location, regions, valid, 5, 4, regions=regions, min_piece_share=0.2)
  np.testing.assert_array_equal(segments, expected)
  np.testing.assert_array_equal(gradient[..., 0], expected == 0)  # of the sum alone


def test_the_number_of_clusters_may_be_known_at_run_time_only():
  embedding, location, regions, valid = example(3)
  compiled = tf.function(
      lambda *arguments: find_segments(*arguments, 4, regions=arguments[2], min_piece_share=0.2),
      input_signature=[
          tf.TensorSpec([None] * 4), tf.TensorSpec([None] * 4),
          tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None] * 3, tf.bool),
          tf.TensorSpec([], tf.int32)])
  np.testing.assert_array_equal(
      compiled(embedding, location, regions, valid, 5),
      find_segments(embedding, location, regions, valid, 5, 4, regions=regions,
                    min_piece_share=0.2))

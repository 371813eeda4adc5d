import numpy as np
import pytest
import tensorflow as tf

from network.segsort import clustering, pieces
from network.segsort.prototypes import l2_normalize


def test_pieces_are_numbered_by_image_cluster_and_class():
  clusters = np.array([[1, 0, 1, 1, -1], [1, 1, 0, 2, 0]], np.int32)
  labels = np.array([[0, 2, 0, 1, 1], [0, 255, 3, 0, 2]], np.int32)  # 3 is no class of 3
  ids = pieces.piece_ids(clusters, labels, 3, 3)
  # pieces: (0, 0, 2), (0, 1, 0), (0, 1, 1), (1, 0, 2), (1, 1, 0), (1, 2, 0)
  np.testing.assert_array_equal(ids.ids, [1, 0, 1, 2, -1, 4, -1, -1, 5, 3])
  assert ids.labels.shape == (10,)  # of 18 that 2 images, 3 clusters and 3 classes make
  np.testing.assert_array_equal(ids.labels[:6], [2, 0, 1, 2, 0, 0])
  np.testing.assert_array_equal(ids.valid, [True] * 6 + [False] * 4)


def test_a_class_that_is_the_ignore_label_does_not_count():
  ids = pieces.piece_ids(np.zeros([1, 3], np.int32), np.array([[0, 1, 2]]), 1, 3, ignore_label=1)
  np.testing.assert_array_equal(ids.ids, [0, -1, 1])


def test_segments_of_different_images_are_different():
  ids = pieces.segment_ids(np.array([[7, 2, 7], [7, -1, 9]], np.int32), 9)
  np.testing.assert_array_equal(ids.ids, [1, 0, 1, 2, -1, -1])
  np.testing.assert_array_equal(ids.valid, [True] * 3 + [False] * 3)
  np.testing.assert_array_equal(ids.labels, range(6))


def example(seed=0, batch=2):
  rng = np.random.default_rng(seed)
  embedding = rng.standard_normal([batch, 4, 6, 3]).astype(np.float32)
  labels = rng.choice([0, 1, 2, 255], [batch, 4, 6]).astype(np.int32)
  grid = np.broadcast_to(clustering.grid_labels(4, 6, 2, 2), [batch, 4, 6])
  location = np.broadcast_to(clustering.location_grid(4, 6), [batch, 4, 6, 2])
  return embedding, labels, grid, location


SIZES = dict(num_clusters=4, num_classes=3, iterations=3)


def test_supervised_pieces_hold_their_pixels_means():
  embedding, labels, grid, location = example()
  result = pieces.supervised_pieces(embedding, labels, grid, location, **SIZES)
  unit = l2_normalize(embedding).numpy().reshape([-1, 3])
  np.testing.assert_allclose(result.embedding, unit)
  own, clusters = result.own_index.numpy(), result.clusters.numpy()
  np.testing.assert_array_equal(clusters < 0, labels == 255)
  np.testing.assert_array_equal(own < 0, labels.ravel() == 255)
  images = np.repeat([0, 1], 24)
  keys = np.stack([images, clusters.ravel(), labels.ravel()], axis=1)
  for piece in range(np.count_nonzero(result.valid)):
    members = own == piece
    assert len(np.unique(keys[members], axis=0)) == 1
    assert np.all(labels.ravel()[members] == result.labels[piece])
    total = unit[members].sum(axis=0)
    np.testing.assert_allclose(
        result.prototypes[piece], total / np.linalg.norm(total), atol=1e-5)
  assert len(np.unique(keys[own >= 0], axis=0)) == np.count_nonzero(result.valid)


def test_location_weight_reaches_the_clustering():
  embedding, labels, grid, location = example()
  labels = np.zeros_like(labels)
  far = pieces.supervised_pieces(embedding, labels, grid, location, location_weight=1e3, **SIZES)
  near = pieces.supervised_pieces(embedding, labels, grid, location, location_weight=0.0, **SIZES)
  features = clustering.clustering_features(l2_normalize(embedding), location, 1e3)
  expected = clustering.spherical_kmeans(
      tf.reshape(features, [2, 24, 5]), tf.reshape(grid, [2, 24]), 4, 3)
  np.testing.assert_array_equal(far.clusters.numpy().reshape([2, 24]), expected)
  assert np.any(near.clusters != far.clusters)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_pieces_equal_eager_ones(jit_compile):
  arrays = example(1)

  @tf.function(jit_compile=jit_compile)
  def compiled(*arrays):
    return pieces.supervised_pieces(*arrays, **SIZES)

  expected = pieces.supervised_pieces(*arrays, **SIZES)
  for actual, value in zip(compiled(*map(tf.constant, arrays)), expected, strict=True):
    np.testing.assert_allclose(actual, value, atol=1e-6)


def test_unsupervised_pieces_leave_padding_out():
  embedding = np.random.default_rng(2).standard_normal([2, 2, 2, 3]).astype(np.float32)
  segments = np.array([[[4, 4], [-1, 0]], [[4, 4], [4, 4]]], np.int32)
  result = pieces.unsupervised_pieces(embedding, segments, num_ids=5)
  np.testing.assert_array_equal(result.own_index, [1, 1, -1, 0, 2, 2, 2, 2])
  np.testing.assert_array_equal(result.clusters, segments)
  np.testing.assert_allclose(
      result.prototypes[0], l2_normalize(embedding[0, 1, 1]), rtol=1e-6)

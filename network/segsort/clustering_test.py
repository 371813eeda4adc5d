import numpy as np
import pytest
import tensorflow as tf

from network.segsort import clustering


def random_features(rng, batch, pixels, dim):
  features = rng.standard_normal([batch, pixels, dim])
  return (features / np.linalg.norm(features, axis=-1, keepdims=True)).astype(np.float32)


def naive_kmeans(features, labels, num_clusters, iterations, valid):
  """Double loops in float64 for one image; returns the labels and the objective of each step."""
  features, labels = features.astype(np.float64), labels.copy()
  labels[~valid] = -1
  objectives = []
  for _ in range(iterations):
    centres = {}
    for cluster in range(num_clusters):
      total = sum((f for f, label in zip(features, labels, strict=True) if label == cluster), 0.0)
      if np.any(total):
        centres[cluster] = total / np.linalg.norm(total)
    objective = 0.0
    for pixel in np.flatnonzero(valid):
      scores = {cluster: features[pixel] @ centre for cluster, centre in centres.items()}
      labels[pixel] = max(scores, key=lambda cluster: (scores[cluster], -cluster))
      objective += scores[labels[pixel]]
    objectives.append(objective)
  return labels, objectives


@pytest.mark.parametrize(
    'height, width, num_y, num_x', [(6, 9, 2, 3), (11, 11, 5, 5), (1, 7, 3, 3)])
def test_grid_labels_number_the_cells_of_ceil_size(height, width, num_y, num_x):
  labels = clustering.grid_labels(height, width, num_y, num_x).numpy()
  cell_y, cell_x = -(-height // num_y), -(-width // num_x)
  rows = (height - 1) // cell_y + 1
  for y in range(height):
    for x in range(width):
      assert labels[y, x] == y // cell_y + rows * (x // cell_x)
  assert sorted(set(labels.ravel())) == list(range(labels.max() + 1))


def test_grid_by_location_is_the_grid_of_the_whole_image():
  for height, width in [(375, 500), (11, 11), (97, 1021)]:
    expected = clustering.grid_labels(height, width, 5, 5).numpy()
    location = clustering.location_grid(height, width)
    actual = clustering.grid_labels_at(location, [height, width], 5, 5).numpy()
    pairs = set(zip(expected.ravel(), actual.ravel(), strict=True))
    assert len(pairs) == len(set(expected.ravel())) == len(set(actual.ravel()))
    assert 0 <= actual.min() and actual.max() < 25


def test_grid_by_location_takes_one_size_an_image():
  location = tf.stack([clustering.location_grid(10, 20)] * 2)
  sizes = np.array([[10, 20], [20, 40]], np.int32)[:, None, None, :]
  labels = clustering.grid_labels_at(location, sizes, 5, 4).numpy()
  np.testing.assert_array_equal(labels[0], clustering.grid_labels(10, 20, 5, 4))
  np.testing.assert_array_equal(labels[1], labels[0])  # the same relative places


def test_locations_are_relative_rows_and_columns():
  grid = clustering.location_grid(4, 5).numpy()
  assert grid.dtype == np.float32 and grid.shape == (4, 5, 2)
  np.testing.assert_allclose(grid[3, 2], [3 / 4, 2 / 5], rtol=1e-7)


@pytest.mark.parametrize('weight', [0.0, 1.0, 2.5])
def test_features_are_unit_vectors_of_embedding_and_weighted_location(weight):
  rng = np.random.default_rng(0)
  embedding = random_features(rng, 2, 5, 3)
  location = rng.uniform(size=[2, 5, 2]).astype(np.float32)
  features = clustering.clustering_features(embedding, location, weight).numpy()
  expected = np.concatenate([embedding, weight * location], axis=-1)
  expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
  np.testing.assert_allclose(features, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('iterations', [0, 1, 4])
def test_kmeans_equals_double_loops_on_every_image(iterations):
  rng = np.random.default_rng(1)
  features = random_features(rng, 3, 60, 4)
  initial = rng.integers(0, 4, [3, 60]).astype(np.int32)  # of 6 clusters two are empty
  valid = rng.uniform(size=[3, 60]) < 0.8
  valid[2] = False
  labels = clustering.spherical_kmeans(features, initial, 6, iterations, valid).numpy()
  for image in range(3):
    expected, _ = naive_kmeans(features[image], initial[image], 6, iterations, valid[image])
    np.testing.assert_array_equal(labels[image], expected)


def test_kmeans_never_lowers_its_objective():
  rng = np.random.default_rng(2)
  features = random_features(rng, 1, 80, 5)
  initial = rng.integers(0, 5, [1, 80]).astype(np.int32)

  def objective(iterations):
    labels = clustering.spherical_kmeans(features, initial, 5, iterations).numpy()[0]
    sums = np.stack([features[0][labels == cluster].sum(axis=0) for cluster in range(5)])
    return np.linalg.norm(sums.astype(np.float64), axis=1).sum()

  objectives = [objective(iterations) for iterations in range(8)]
  assert all(b >= a - 1e-6 for a, b in zip(objectives, objectives[1:], strict=False))
  assert objectives[-1] > objectives[0]


def test_opposite_pixels_leave_a_cluster_without_direction_empty():
  features = np.array([[[1, 0], [-1, 0], [0, 1], [0.6, 0.8]]], np.float32)
  labels = clustering.spherical_kmeans(features, np.array([[0, 0, 1, 1]]), 2, 3).numpy()
  np.testing.assert_array_equal(labels, [[1, 1, 1, 1]])


def test_images_of_a_batch_do_not_touch_each_other():
  rng = np.random.default_rng(4)
  features = random_features(rng, 3, 30, 4)
  initial = rng.integers(-1, 6, [3, 30]).astype(np.int32)  # -1 and 5 are not labels of 5 clusters
  together = clustering.spherical_kmeans(features, initial, 5, 5).numpy()
  for image in range(3):
    alone = clustering.spherical_kmeans(features[image:image + 1], initial[image:image + 1], 5, 5)
    np.testing.assert_array_equal(together[image], alone[0])


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_kmeans_equals_eager(jit_compile):
  rng = np.random.default_rng(5)
  features = random_features(rng, 2, 50, 4)
  initial = rng.integers(0, 4, [2, 50]).astype(np.int32)
  valid = rng.uniform(size=[2, 50]) < 0.7
  signature = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None], tf.int32),
               tf.TensorSpec([None, None], tf.bool)]

  @tf.function(input_signature=signature, jit_compile=jit_compile)
  def compiled(features, initial, valid):
    return clustering.spherical_kmeans(features, initial, 6, 5, valid)

  np.testing.assert_array_equal(
      compiled(features, initial, valid),
      clustering.spherical_kmeans(features, initial, 6, 5, valid))


def test_half_precision_features_are_computed_in_float32():
  rng = np.random.default_rng(6)
  features = tf.cast(random_features(rng, 1, 50, 4), tf.bfloat16)
  initial = rng.integers(0, 4, [1, 50]).astype(np.int32)
  np.testing.assert_array_equal(
      clustering.spherical_kmeans(features, initial, 4, 5),
      clustering.spherical_kmeans(tf.cast(features, tf.float32), initial, 4, 5))


@pytest.mark.parametrize('kind', ['static', 'dynamic', 'static under XLA'])
def test_every_way_of_tracing_gives_what_eager_does(kind):
  rng = np.random.default_rng(8)
  features = random_features(rng, 2, 40, 4)
  initial = rng.integers(-1, 5, [2, 40]).astype(np.int32)
  valid = rng.uniform(size=[2, 40]) < 0.7
  shapes = [[2, 40, 4], [2, 40]] if 'static' in kind else [[None, None, 4], [None, None]]
  signature = [tf.TensorSpec(shapes[0]), tf.TensorSpec(shapes[1], tf.int32),
               tf.TensorSpec(shapes[1], tf.bool)]
  traced = tf.function(
      lambda *arrays: clustering.spherical_kmeans(*arrays[:2], 6, 5, arrays[2]),
      input_signature=signature, jit_compile='XLA' in kind)
  np.testing.assert_array_equal(
      traced(features, initial, valid),
      clustering.spherical_kmeans(features, initial, 6, 5, valid))


def test_a_number_of_clusters_that_is_a_tensor():
  rng = np.random.default_rng(9)
  features = random_features(rng, 1, 50, 4)
  initial = rng.integers(0, 7, [1, 50]).astype(np.int32)
  traced = tf.function(
      lambda count: clustering.spherical_kmeans(features, initial, count, 5),
      input_signature=[tf.TensorSpec([], tf.int32)])
  for count in (5, 7, 40):  # labels beyond the number join no cluster
    np.testing.assert_array_equal(
        traced(count), clustering.spherical_kmeans(features, initial, count, 5))

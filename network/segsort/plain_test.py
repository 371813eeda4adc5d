import numpy as np
import pytest
import tensorflow as tf

from network.segsort import clustering, losses, pieces, plain, prototypes, retrieval, votes


def unit(x):
  return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def batch(seed=0, images=3, height=9, width=7, dim=6):
  """Embeddings around 6 directions, labels of them with ignored pixels, grids and locations."""
  rng = np.random.default_rng(seed)
  kinds = rng.integers(0, 6, [images, height, width])
  embedding = 2.0 * rng.standard_normal([6, dim])[kinds] + rng.standard_normal([*kinds.shape, dim])
  labels = np.where(rng.uniform(size=kinds.shape) < 0.1, 255, kinds // 2).astype(np.int32)
  grid = np.stack([clustering.grid_labels(height, width, 3, 3)] * images)
  location = np.stack([clustering.location_grid(height, width)] * images)
  return embedding.astype(np.float32), labels, grid, location


def value_and_gradient(loss, embedding):
  embedding = tf.constant(embedding)

  @tf.function
  def run(embedding):
    with tf.GradientTape() as tape:
      tape.watch(embedding)
      value = loss(embedding)
    return value, tape.gradient(value, embedding)
  return [x.numpy() for x in run(embedding)]


def check(fast, slow):
  np.testing.assert_allclose(fast[0], slow[0], rtol=1e-5)
  np.testing.assert_allclose(fast[1], slow[1], rtol=1e-3, atol=2e-5 * np.abs(slow[1]).max())


@pytest.mark.parametrize('remembered', [0, 5])
def test_supervised_loss_and_gradient(remembered):
  embedding, labels, grid, location = batch()
  rng = np.random.default_rng(1)
  memory = unit(rng.standard_normal([remembered, 6])), rng.integers(0, 3, remembered, np.int32)

  def fast(embedding):
    found = pieces.supervised_pieces(
        embedding, labels, grid, location, num_clusters=9, num_classes=3, iterations=4)
    result = losses.supervised_segsort_loss(
        found.embedding, found.own_index, found.prototypes, found.labels, found.valid, 10.0,
        (*memory, np.ones(remembered, bool)))
    return losses.mean_over_valid(result.per_pixel, result.valid)

  check(value_and_gradient(fast, embedding), value_and_gradient(
      lambda x: plain.supervised_loss(x, labels, grid, location, memory, num_clusters=9,
                                      iterations=4, concentration=10.0), embedding))


def test_unsupervised_loss_and_gradient():
  embedding, labels, *_ = batch(2)
  regions = labels % 7

  def fast(embedding):
    found = pieces.unsupervised_pieces(embedding, regions)
    result = losses.unsupervised_segsort_loss(
        found.embedding, found.own_index, found.prototypes, found.valid, 10.0)
    return losses.mean_over_valid(result.per_pixel, result.valid)

  check(value_and_gradient(fast, embedding), value_and_gradient(
      lambda x: plain.unsupervised_loss(x, regions, concentration=10.0), embedding))


def bank(size=60, dim=6):
  rng = np.random.default_rng(3)
  return unit(rng.standard_normal([size, dim])), rng.integers(0, 4, size).astype(np.int32)


def test_clusters_neighbours_and_labels_of_an_image():
  embedding, _, grid, location = (x[0] for x in batch(4, height=20, width=30))
  features, bank_labels = bank()
  normalized = prototypes.l2_normalize(embedding)
  clusters = tf.reshape(clustering.spherical_kmeans(
      tf.reshape(clustering.clustering_features(normalized, location), [1, -1, 8]),
      grid.reshape([1, -1]), 10, 6), [20, 30])  # cluster 9 is empty
  options = dict(num_clusters=10, iterations=6, k=5)
  inputs = [tf.constant(x) for x in (embedding, grid, location, features, bank_labels)]
  slow = tf.function(lambda *x: plain.neighbour_labels(*x, **options))(*inputs)
  np.testing.assert_array_equal(slow[1], clusters)
  queries, _ = prototypes.segment_prototypes(
      tf.reshape(normalized, [-1, 6]), tf.reshape(clusters, [-1]), 9)
  similarity, index = retrieval.nearest_neighbours(queries, features, 5)
  np.testing.assert_array_equal(slow[0][:9], tf.gather(bank_labels, index))
  labels = tf.gather(retrieval.vote(tf.gather(bank_labels, index), similarity, 4), clusters)
  np.testing.assert_array_equal(
      tf.function(lambda *x: plain.predict(*x, num_classes=4, **options))(*inputs), labels)
  maps = plain.pixel_labels(*inputs, **options).numpy()
  counts = tf.gather(retrieval.vote_counts(tf.gather(bank_labels, index), 4), clusters)
  np.testing.assert_array_equal(plain.count_votes(maps, 4), counts)


def test_votes_of_several_copies():
  rng = np.random.default_rng(5)
  copies, of_segments = [], []
  for size, mirrored in (((6, 8), False), ((13, 17), True), ((22, 29), False)):
    segments = rng.integers(0, 5, size).astype(np.int32)
    labels = rng.integers(0, 4, [5, 7]).astype(np.int32)
    copies.append((labels.T[:, segments], mirrored))
    segments = segments[:, ::-1] if mirrored else segments
    of_segments.append(
        (segments[np.newaxis], retrieval.vote_counts(labels, 4)[tf.newaxis]))
  rows, places = votes.sum_votes(of_segments, 13, 17)
  np.testing.assert_allclose(
      tf.gather(rows, places)[0] / 3, plain.average_votes(copies, (13, 17), 4), rtol=1e-5,
      atol=1e-5)

import numpy as np
import pytest

from network.segsort.kmeans import _UNROLLED, dense_kmeans
from network.segsort.kmeans_test import example
from network.segsort.small_kmeans import small_kmeans


@pytest.mark.parametrize(('pixels', 'clusters'), [(1, 3), (300, 12), (200, _UNROLLED + 6)])
@pytest.mark.parametrize('iterations', [0, 1, 20])
def test_it_gives_what_summing_anew_gives(pixels, clusters, iterations):
  features, initial, valid = example(pixels, pixels, clusters, dim=5)
  expected = dense_kmeans(
      features[np.newaxis], initial[np.newaxis], clusters, iterations, valid[np.newaxis])[0]
  np.testing.assert_array_equal(
      small_kmeans(features, initial, clusters, iterations, valid), expected)


@pytest.mark.parametrize('seed', [461, 694, 1830])  # what is left of a sum would attract pixels
def test_a_cluster_that_all_pixels_have_left_stays_empty(seed):
  rng = np.random.default_rng(seed)
  features = rng.standard_normal([12, 2])
  features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
  initial, valid = rng.integers(0, 4, 12).astype(np.int32), np.ones(12, bool)
  expected = dense_kmeans(
      features[np.newaxis], initial[np.newaxis], 4, 20, valid[np.newaxis])[0]
  assert len(set(expected.numpy())) < len(set(initial))
  np.testing.assert_array_equal(small_kmeans(features, initial, 4, 20, valid), expected)

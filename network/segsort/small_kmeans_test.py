import numpy as np
import pytest

from network.segsort.kmeans import dense_kmeans
from network.segsort.kmeans_test import example
from network.segsort.small_kmeans import _UNROLLED, _first_greatest, small_kmeans


@pytest.mark.parametrize(('pixels', 'clusters'), [(1, 3), (300, 12), (200, _UNROLLED + 6)])
@pytest.mark.parametrize('iterations', [0, 1, 20])
def test_it_gives_what_summing_anew_gives(pixels, clusters, iterations):
  features, initial, valid = example(pixels, pixels, clusters, dim=5)
  expected = dense_kmeans(
      features[np.newaxis], initial[np.newaxis], clusters, iterations, valid[np.newaxis])[0]
  np.testing.assert_array_equal(
      small_kmeans(features, initial, clusters, iterations, valid), expected)


def test_a_cluster_that_all_pixels_have_left_stays_empty():
  # Two clusters; the first loses its pixels one after the other, with sums that do not cancel.
  angles = np.float32([0.1, 0.2, 0.3, 0.35, 1.4])
  features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
  initial = np.int32([0, 1, 1, 1, 0])
  valid = np.ones(5, bool)
  labels = small_kmeans(features, initial, 2, 30, valid).numpy()
  expected = dense_kmeans(
      features[np.newaxis], initial[np.newaxis], 2, 30, valid[np.newaxis])[0]
  np.testing.assert_array_equal(labels, expected)


def test_ties_go_to_the_first():
  for rows in (1, 3, 25, _UNROLLED + 1):
    cosines = np.random.default_rng(rows).integers(-2, 3, [rows, 70]).astype(np.float32) / 2
    np.testing.assert_array_equal(_first_greatest(cosines), cosines.argmax(axis=0))

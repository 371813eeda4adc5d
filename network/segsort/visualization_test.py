import numpy as np
import pytest
import tensorflow as tf

from network.segsort import visualization


def test_colours_are_the_scaled_principal_components():
  rng = np.random.default_rng(0)
  embedding = rng.standard_normal([4, 50, 6]) * [5, 0.1, 3, 0.2, 1, 0.3]
  points = embedding.reshape([-1, 6])
  points = points - points.mean(axis=0)
  _, singular, rows = np.linalg.svd(points, full_matrices=False)
  expected = []
  for value, row in zip(singular[:3], rows[:3], strict=True):
    row = row * np.sign(row[np.abs(row).argmax()])
    expected.append(points @ row / (2.5 * value / np.sqrt(len(points))))
  expected = 127.5 + 127.5 * np.clip(np.stack(expected, axis=-1), -1, 1)
  colours = visualization.pca_rgb(embedding)
  assert colours.dtype == tf.uint8 and colours.shape == (4, 50, 3)
  np.testing.assert_allclose(
      colours.numpy().reshape([-1, 3]).astype(float), expected, atol=0.51)


def test_a_given_basis_colours_equal_embeddings_equally():
  rng = np.random.default_rng(1)
  first, second = rng.standard_normal([2, 3, 4, 5]).astype(np.float32)
  basis = visualization.color_basis(first)
  both = visualization.pca_rgb(np.stack([second, first]), basis)
  np.testing.assert_array_equal(both[1], visualization.pca_rgb(first))
  np.testing.assert_array_equal(both[0], visualization.pca_rgb(second, basis))
  assert np.any(both[0] != visualization.pca_rgb(second))


@pytest.mark.parametrize('dim', [1, 2])
def test_fewer_than_three_dimensions_leave_the_rest_gray(dim):
  embedding = np.random.default_rng(2).standard_normal([20, dim]).astype(np.float32)
  colours = visualization.pca_rgb(embedding).numpy()
  assert np.all(colours[:, dim:] == 128)
  assert np.all(np.ptp(colours[:, :dim].astype(int), axis=0) > 100)


def test_a_constant_embedding_is_gray():
  colours = visualization.pca_rgb(tf.fill([2, 2, 4], 0.3))
  np.testing.assert_array_equal(colours, np.full([2, 2, 3], 128))

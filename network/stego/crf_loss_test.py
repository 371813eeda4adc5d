import numpy as np
import tensorflow as tf

from network.stego import crf_loss


def data(size=6):
  random = np.random.default_rng(0)
  return (random.normal(size=[2, size, size, 3]).astype(np.float32),
          random.normal(size=[2, size, size, 4]).astype(np.float32))


def test_pairs_equal_the_oracle():
  images, code = data()
  places = np.array([[0, 0], [5, 1], [0, 1], [0, 0], [3, 3]], np.int32)
  options = {'alpha': 0.7, 'beta': 0.3, 'gamma': 0.4, 'bilateral_weight': 5.0,
             'spatial_weight': 2.0, 'shift': 0.6}
  found = crf_loss.crf_pair_loss(images, code, tf.constant(places), **options)
  assert found.shape == (2, 5, 5)
  for image, a, b in np.ndindex(2, 5, 5):
    distance = ((places[a] - places[b]) ** 2).sum()
    (first, second), (one, other) = (
        [maps[image, row, column].astype(float) for row, column in (places[a], places[b])]
        for maps in (images, code))
    difference = ((first - second) ** 2).sum()
    kernel = (5 * np.exp(-distance / 1.4 - difference / 0.6)
              + 2 * np.exp(-distance / 0.8) - 0.6)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    np.testing.assert_allclose(found[image, a, b], -cosine * kernel, rtol=1e-4, atol=1e-5)


def test_maps_are_brought_to_56_pixels():
  images, code = data(14)
  images, code = (np.repeat(np.repeat(x, 8, 1), 8, 2) for x in (images, code))
  small = [tf.image.resize(x, [56, 56]).numpy() for x in (images, code)]
  places = crf_loss.random_pixels([1, 2], 30)
  expected = tf.reduce_mean(crf_loss.crf_pair_loss(*small, places))
  np.testing.assert_allclose(
      crf_loss.crf_loss(images, code, [1, 2], 30), expected, rtol=1e-5)


def test_pixels_are_uniform():
  places = crf_loss.random_pixels([3, 4], 4000).numpy()
  assert places.shape == (4000, 2) and places.min() == 0 and places.max() == 55
  counts = np.histogram2d(*places.T, bins=4, range=[[0, 56]] * 2)[0]
  assert abs(counts - 250).max() < 70


def test_codes_of_like_neighbours_are_drawn_together():
  """On a flat image the loss falls as codes of near pixels become alike."""
  _, code = data(56)
  flat = tf.zeros([2, 56, 56, 3])
  losses = [float(crf_loss.crf_loss(flat, value, [0, 0], 200)) for value in (
      np.ones_like(code), code, -code)]
  assert losses[0] < losses[1] < 0 and losses[1] == losses[2]

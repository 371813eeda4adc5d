import numpy as np
import tensorflow as tf

from seg_models.multi_scale import SCALES, multi_scale


def images_of(height, width, seed=0):
  return np.random.default_rng(seed).normal(size=[2, height, width, 3]).astype(np.float32)


def test_one_scale_is_the_function_itself():
  images = images_of(5, 6)
  np.testing.assert_array_equal(multi_scale(lambda x: x * 2, images), images * 2)


def test_a_constant_image_stays_constant_at_all_scales():
  images = np.ones([1, 7, 9, 3], np.float32)
  seen = []

  def function(x):
    seen.append(tuple(x.shape[1:3]))
    return x * 3

  result = multi_scale(function, images, SCALES, mirror=True)
  np.testing.assert_allclose(result, images * 3, rtol=1e-6)
  assert seen[::2] == seen[1::2] == [(3, 4), (5, 6), (7, 9), (8, 11), (10, 13), (12, 15)]


def test_a_pointwise_function_does_not_notice_the_mirror():
  images = images_of(4, 5)
  np.testing.assert_allclose(
      multi_scale(tf.abs, images, mirror=True), np.abs(images), rtol=1e-6)


def test_a_mirrored_image_has_the_mirrored_result():
  """A function that knows left from right: the sum with its mirror image does not."""
  images = images_of(4, 6)
  function = lambda x: x * tf.range(tf.cast(tf.shape(x)[2], tf.float32))[:, None]  # noqa: E731
  result = multi_scale(function, images, (1.0, 1.5), mirror=True)
  at_one = (images * np.arange(6)[:, None] + images * np.arange(6)[::-1, None]) / 2
  np.testing.assert_allclose(multi_scale(function, images, mirror=True), at_one, rtol=1e-5)
  assert np.abs(result - multi_scale(function, images, (1.0, 1.5))).max() > 0.1


def test_doubling_there_and_back_is_exact_at_the_images_pixels():
  """Pixel 2i of the double lies at pixel i: no half-pixel shift."""
  images = images_of(5, 4)
  np.testing.assert_allclose(multi_scale(tf.identity, images, (2.0,)), images, rtol=1e-5)


def test_regions_go_with_the_copies():
  """Each region is of one colour: pixels that are not interpolated have that of their region."""
  regions = np.random.default_rng(0).integers(0, 5, [2, 6, 8])
  images = np.stack([regions] * 3, -1).astype(np.float32)
  seen = []

  def function(copy, regions):
    seen.append((np.array(copy[..., 0]), np.array(regions)))
    return copy

  multi_scale(function, images, (0.5, 1.0, 2.0), mirror=True, regions=regions)
  assert [found.shape[1:] for _, found in seen[::2]] == [(3, 4), (6, 8), (12, 16)]
  for (copy, found), step in zip(seen[::2], [1, 1, 2], strict=True):
    np.testing.assert_allclose(found[:, ::step, ::step], copy[:, ::step, ::step], atol=1e-5)
  np.testing.assert_array_equal(seen[4][1], regions.repeat(2, 1).repeat(2, 2))
  for plain, mirrored in zip(seen[::2], seen[1::2], strict=True):
    for before, after in zip(plain, mirrored, strict=True):
      np.testing.assert_array_equal(after, before[:, :, ::-1])


def test_tiny_images_keep_a_pixel():
  images = images_of(1, 1)
  np.testing.assert_allclose(multi_scale(tf.identity, images, (0.5, 1.0)), images)

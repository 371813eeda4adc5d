import numpy as np
import pytest
import tensorflow as tf

from network.stego.sampling import bilinear_samples, uniform_points


def oracle(maps, points, images):
  """Bilinear interpolation in float64, one number at a time."""
  _, height, width, channels = maps.shape
  result = np.zeros([*points.shape[:2], channels])
  for row, column in np.ndindex(*points.shape[:2]):
    x = min(max((float(points[row, column, 0]) + 1) / 2 * (width - 1), 0), width - 1)
    y = min(max((float(points[row, column, 1]) + 1) / 2 * (height - 1), 0), height - 1)
    for r in range(height):
      for c in range(width):
        weight = max(0, 1 - abs(y - r)) * max(0, 1 - abs(x - c))
        result[row, column] += weight * maps[images[row], r, c]
  return result


@pytest.mark.parametrize('height, width', [(4, 7), (5, 2), (1, 6), (1, 1)])
def test_samples_equal_the_oracle(height, width):
  random = np.random.default_rng(0)
  maps = random.normal(size=[3, height, width, 5]).astype(np.float32)
  points = random.uniform(-1.3, 1.3, [3, 6, 2]).astype(np.float32)
  points[0, :3] = [[-1, -1], [1, 1], [1, -1]]
  np.testing.assert_allclose(
      bilinear_samples(maps, points), oracle(maps, points, range(3)), atol=1e-5)
  images = [2, 0, 2]
  np.testing.assert_allclose(
      bilinear_samples(maps, points, tf.constant(images)), oracle(maps, points, images), atol=1e-5)


def test_the_first_coordinate_is_the_column():
  maps = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
  points = np.array([[[-1, -1], [1, -1], [-1, 1], [1, 1]]], np.float32)
  np.testing.assert_array_equal(bilinear_samples(maps, points)[0, :, 0], [0, 3, 8, 11])


def test_the_gradient_goes_to_the_four_neighbours_by_their_weights():
  maps = tf.zeros([1, 3, 3, 1])
  points = tf.constant([[[0.25, -0.5]]])  # column 1.25, row 0.5
  with tf.GradientTape() as tape:
    tape.watch(maps)
    value = tf.reduce_sum(bilinear_samples(maps, points))
  expected = [[0, 0.375, 0.125], [0, 0.375, 0.125], [0, 0, 0]]
  np.testing.assert_allclose(tape.gradient(value, maps)[0, :, :, 0], expected)


def test_points_are_uniform_and_of_their_seed():
  points = uniform_points([1, 2], 40, 100).numpy()
  assert points.shape == (40, 100, 2) and points.dtype == np.float32
  assert points.min() >= -1 and points.max() < 1
  counts = np.histogram2d(*points.reshape(-1, 2).T, bins=4, range=[[-1, 1]] * 2)[0]
  assert abs(counts - 250).max() < 70  # 250 expected, of standard deviation 15
  assert len(np.unique(points)) > 7900
  assert not np.any(points == uniform_points([1, 3], 40, 100))
  assert not np.any(points == uniform_points([2, 2], 40, 100))


def test_replicas_draw_what_one_device_does():
  halves = [uniform_points([5, 6], 2, 9, first=first) for first in (0, 2)]
  np.testing.assert_array_equal(uniform_points([5, 6], 4, 9), tf.concat(halves, 0))


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_it_is_the_same(jit_compile):
  maps = np.random.default_rng(3).normal(size=[2, 4, 5, 3]).astype(np.float32)

  def value(maps, seed):
    with tf.GradientTape() as tape:
      tape.watch(maps)
      samples = bilinear_samples(maps, uniform_points(seed, 2, 8), tf.constant([1, 0]))
      total = tf.reduce_sum(samples ** 2)
    return samples, tf.convert_to_tensor(tape.gradient(total, maps))

  arguments = tf.constant(maps), tf.constant([3, 4])
  compiled = tf.function(value, jit_compile=jit_compile)(*arguments)
  for actual, expected in zip(compiled, value(*arguments), strict=True):
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_sizes_need_not_be_static():
  maps = np.random.default_rng(3).normal(size=[2, 4, 5, 3]).astype(np.float32)
  points = uniform_points([0, 0], 2, 8)
  function = tf.function(
      bilinear_samples, input_signature=[
          tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, 2])])
  np.testing.assert_allclose(function(maps, points), bilinear_samples(maps, points), atol=1e-6)

import keras
import numpy as np
import pytest
import tensorflow as tf

from network.common import layers
from network.common.layers import LayerOptions

CALLS = {
    'eager': lambda function: function,
    'graph': lambda function: tf.function(
        function, input_signature=[tf.TensorSpec([None, None, None, None])]),
    'xla': lambda function: tf.function(function, jit_compile=True)}


def random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


SIZES = [((3, 4), (24, 32)), ((5, 7), (13, 9)), ((30, 30), (1, 4)), ((1, 1), (6, 5)),
         ((6, 6), (6, 6))]


@pytest.mark.parametrize('size, target', SIZES)
def test_legacy_bilinear_is_tf1s(size, target):
  x = random(2, *size, 3)
  expected = tf.compat.v1.image.resize_bilinear(x, target)
  np.testing.assert_allclose(layers.resize_bilinear_legacy(x, target), expected, atol=2e-6)


@pytest.mark.parametrize('size, target', SIZES)
def test_modern_bilinear_is_tf2s(size, target):
  x = random(2, *size, 3)
  expected = tf.image.resize(x, target)
  np.testing.assert_allclose(layers.resize_bilinear(x, target), expected, atol=2e-5)


@pytest.mark.parametrize('dtype', [np.int32, np.uint8, np.float32])
@pytest.mark.parametrize('size, target', SIZES)
def test_legacy_nearest_is_tf1s(size, target, dtype):
  x = np.random.default_rng(0).integers(0, 200, [2, *size, 3]).astype(dtype)
  expected = tf.compat.v1.image.resize_nearest_neighbor(x, target)
  actual = layers.resize_nearest_legacy(x, target)
  assert actual.dtype == dtype
  np.testing.assert_array_equal(actual, expected)
  np.testing.assert_array_equal(layers.resize_nearest_legacy(x[..., 0], target), expected[..., 0])


def test_cell_i_lies_on_pixel_8i():
  x = random(1, 4, 5, 2)
  large = layers.resize_bilinear_legacy(x, (32, 40))
  np.testing.assert_allclose(large[:, ::8, ::8], x, atol=1e-6)
  np.testing.assert_allclose(large[:, 4, ::8], (x[:, 0] + x[:, 1]) / 2, atol=1e-6)
  np.testing.assert_allclose(layers.resize_nearest_legacy(large, (4, 5)), x, atol=1e-6)


@pytest.mark.parametrize('call', CALLS)
def test_resizing_and_pooling_compile(call):
  x = random(2, 5, 7, 3)
  for function in (lambda x: layers.resize_bilinear_legacy(x, (11, 3)),
                   lambda x: layers.resize_bilinear(x, (11, 3)),
                   lambda x: layers.resize_nearest_legacy(x, (11, 3)),
                   lambda x: layers.adaptive_average_pool(x, 3)):
    np.testing.assert_allclose(CALLS[call](function)(x), function(x), atol=1e-5)


def test_the_gradient_of_legacy_bilinear_is_tf1s():
  x, upstream = tf.constant(random(2, 5, 7, 3)), random(2, 12, 14, 3, seed=1)
  gradients = []
  for resize in (layers.resize_bilinear_legacy, tf.compat.v1.image.resize_bilinear):
    with tf.GradientTape() as tape:
      tape.watch(x)
      loss = tf.reduce_sum(resize(x, (12, 14)) * upstream)
    gradients.append(tape.gradient(loss, x))
  np.testing.assert_allclose(*gradients, atol=1e-5)


@pytest.mark.parametrize('bins', [1, 2, 3, 6])
def test_adaptive_pooling_is_average_pooling_where_bins_divide_the_size(bins):
  x = random(2, 12, 18, 3)
  kernel = (12 // bins, 18 // bins)
  expected = tf.nn.avg_pool2d(x, kernel, kernel, 'VALID')
  np.testing.assert_allclose(layers.adaptive_average_pool(x, bins), expected, atol=1e-6)


@pytest.mark.parametrize('size', [(5, 7), (1, 2), (6, 13)])
def test_adaptive_pooling_is_the_mean_of_each_cell_of_any_map(size):
  x = random(2, *size, 3)
  for bins in (1, 2, 3, 6):
    pooled = layers.adaptive_average_pool(x, bins)
    for row in range(bins):
      for column in range(bins):
        rows, columns = (
            slice(index * length // bins, -(-(index + 1) * length // bins))
            for index, length in zip((row, column), size, strict=True))
        np.testing.assert_allclose(
            pooled[:, row, column], x[:, rows, columns].mean((1, 2)), atol=1e-6)


def test_pooling_and_resizing_layers_keep_their_dtype_and_know_their_shapes():
  x = keras.Input([None, None, 4])
  pooled = layers.AdaptiveAveragePool(3, dtype='mixed_bfloat16')(x)
  assert pooled.shape == (None, 3, 3, 4)
  resized = layers.ResizeLike(dtype='mixed_bfloat16')([pooled, x])
  assert resized.shape == (None, None, None, 4) and resized.dtype == 'bfloat16'
  model = keras.Model(x, [pooled, resized])
  maps = random(2, 6, 9, 4)
  pooled, resized = model(maps)
  assert resized.shape == maps.shape
  expected = tf.compat.v1.image.resize_bilinear(tf.cast(pooled, tf.float32), (6, 9))
  np.testing.assert_allclose(tf.cast(resized, tf.float32), expected, atol=0.02)


def build(function, channels=3, dtype='float32'):
  images = keras.Input([None, None, channels])
  return keras.Model(images, function(images, LayerOptions(dtype=dtype)))


@pytest.mark.parametrize('kernel, stride, rate', [
    (1, 1, 1), (1, 2, 1), (3, 1, 1), (3, 1, 2), (3, 2, 1), (7, 2, 1)])
@pytest.mark.parametrize('size', [(8, 12), (9, 7)])
def test_convolutions_are_padded_as_tf_slims(kernel, stride, rate, size):
  model = build(lambda x, options: layers.conv(
      x, 4, kernel, 'a', options, stride=stride, rate=rate, norm=False, activation=False))
  weights, bias = (variable.numpy() for variable in model.variables)
  x = random(2, *size, 3)
  outputs = model(x)
  reach = rate * (kernel - 1) // 2
  padded = np.pad(x, [(0, 0), (reach, reach), (reach, reach), (0, 0)])
  assert outputs.shape[1:3] == tuple(-(-length // stride) for length in size)
  for row in range(outputs.shape[1]):
    for column in range(outputs.shape[2]):
      # The window's centre is the pixel stride * (row, column) itself.
      top, left = stride * row, stride * column
      window = padded[:, top:top + 2 * reach + 1:rate, left:left + 2 * reach + 1:rate]
      expected = np.einsum('bhwi,hwio->bo', window, weights) + bias
      np.testing.assert_allclose(outputs[:, row, column], expected, atol=1e-5)


def test_convolutions_are_normalised_and_rectified_by_default():
  model = build(lambda x, options: layers.conv(x, 4, 1, 'scope.a', options))
  assert [variable.path for variable in model.variables] == [
      'scope.a/kernel', *(f'scope.a.BatchNorm/{name}' for name in (
          'gamma', 'beta', 'moving_mean', 'moving_variance'))]
  kernel, gamma, beta, mean, variance = model.variables
  mean.assign([1.0, 2.0, 3.0, 4.0])
  variance.assign([1.0, 4.0, 9.0, 16.0])
  x = random(2, 4, 5, 3)
  expected = (x @ kernel.numpy()[0, 0] - mean.numpy()) / np.sqrt(variance.numpy() + 1e-3)
  np.testing.assert_allclose(model(x), np.maximum(expected, 0), atol=1e-5)


def test_options_reach_the_layers():
  options = LayerOptions(
      decay=0.5, epsilon=0.1, synchronized=True, frozen=True, dtype='mixed_bfloat16')
  norm = options.norm('a')
  assert (norm.decay, norm.epsilon, norm.synchronized, norm.frozen) == (0.5, 0.1, True, True)
  assert norm.compute_dtype == 'bfloat16'
  model = build(lambda x, options: layers.conv(x, 4, 3, 'a', options, stride=2),
                dtype='mixed_bfloat16')
  assert model.output.dtype == 'bfloat16'
  assert {variable.dtype for variable in model.variables} == {'float32'}


@pytest.mark.parametrize('factor', [1, 2, 4, 8])
@pytest.mark.parametrize('call', CALLS)
def test_enlarged_cells_lie_where_a_strided_convolution_took_them(factor, call):
  x = random(2, 3, 4, 5)
  enlarged = CALLS[call](lambda x: layers.enlarge(x, factor, (3 * factor, 4 * factor)))(x)
  np.testing.assert_allclose(enlarged[:, ::factor, ::factor], x, atol=1e-6)
  np.testing.assert_allclose(
      enlarged, layers.resize_bilinear_legacy(x, (3 * factor, 4 * factor)), atol=1e-5)
  # With aligned corners, and any size between: the same cells.
  inner = layers.enlarge(x, factor, (2 * factor + 1, 3 * factor + 1))
  np.testing.assert_allclose(
      inner, enlarged[:, :2 * factor + 1, :3 * factor + 1], atol=1e-6)

  def aligned(length):
    places = np.linspace(0, length - 1, factor * (length - 1) + 1)
    return np.maximum(0, 1 - np.abs(places[:, np.newaxis] - np.arange(length)))

  expected = np.einsum('ph,qw,bhwc->bpqc', aligned(3), aligned(4), x)
  np.testing.assert_allclose(inner, expected, atol=1e-5)


def test_gradient_of_an_enlarged_map_reaches_each_cell():
  x = tf.constant(random(1, 3, 2, 1))
  with tf.GradientTape() as tape:
    tape.watch(x)
    value = tf.reduce_sum(layers.enlarge(x, 2, (5, 4)))
  # Rows weigh 1.5, 2, 1.5; the last column counts for what lies beyond it too.
  np.testing.assert_allclose(
      tape.gradient(value, x)[0, :, :, 0], np.outer([1.5, 2, 1.5], [1.5, 2.5]))


def test_enlarging_keeps_the_dtype_and_takes_the_size_of_the_other():
  made = layers.EnlargeLike(2, dtype='mixed_bfloat16')([random(1, 3, 4, 2), random(1, 5, 8, 7)])
  assert made.shape == (1, 5, 8, 2) and made.dtype == tf.bfloat16

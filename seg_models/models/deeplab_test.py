"""DeepLab's heads: names, rates, sums and the decoder's size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from network.common.layers import LayerOptions
from seg_models.models import ModelConfig
from seg_models.models.deeplab import aspp, deeplab, deeplab_v3, deeplab_v3plus


def features():
  return {'output': keras.Input([None, None, 4]), 'low_level': keras.Input([None, None, 3])}


def config(**fields):
  return ModelConfig(name='deeplab_v3_resnet50', head_dim=3, output_dim=2, **fields)


def image(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_v2_is_the_sum_of_four_atrous_convolutions():
  maps = features()
  model = keras.Model(maps['output'], deeplab(
      maps, 'net', ModelConfig(name='deeplab_resnet50', output_dim=2), LayerOptions()))
  for variable in model.variables:
    variable.assign(image(*variable.shape, seed=len(variable.path)))
  values = {variable.path: variable.numpy() for variable in model.variables}
  assert set(values) == {
      f'net.fc1_c{index}/{part}' for index in range(4) for part in ('kernel', 'bias')}
  x = image(1, 40, 30, 4)
  expected = sum(
      tf.nn.conv2d(x, values[f'net.fc1_c{index}/kernel'], 1, 'SAME', dilations=rate)
      + values[f'net.fc1_c{index}/bias'] for index, rate in enumerate((6, 12, 18, 24)))
  np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('output_stride, rates', [(8, (12, 24, 36)), (16, (6, 12, 18))])
def test_v3_rates_mean_the_same_pixels(output_stride, rates):
  maps = features()
  model = keras.Model(maps['output'], aspp(
      maps['output'], 'net', config(output_stride=output_stride), LayerOptions()))
  for index, rate in enumerate(rates, start=1):
    assert model.get_layer(f'net.block5.aspp{index}').dilation_rate == (rate, rate)
  assert model.get_layer('net.block5.projection').input.shape[-1] == 5 * 3


def test_v3_sees_the_whole_image_through_its_mean():
  maps = features()
  model = keras.Model(maps['output'], deeplab_v3(maps, 'net', config(), LayerOptions()))
  x = image(1, 8, 70, 4)
  changed = x.copy()
  changed[:, :, -1] += 100  # 69 columns away, where no atrous convolution (rate 36 at most) reaches
  assert np.abs(model(x) - model(changed))[0, :, 0].max() > 1e-4
  model.get_layer('net.block5.image_pool').kernel.assign(np.zeros([1, 1, 4, 3]))
  np.testing.assert_array_equal(model(x)[0, :, 0], model(changed)[0, :, 0])


def test_v3plus_decodes_at_the_low_level_features_size():
  maps = features()
  model = keras.Model(
      [maps['output'], maps['low_level']],
      deeplab_v3plus(maps, 'net', config(), LayerOptions()))
  x, low = image(1, 3, 5, 4), image(1, 5, 9, 3)
  output = model([x, low])
  assert output.shape == (1, 5, 9, 2)
  assert model.get_layer('net.block5.low_level').filters == 48
  # Both inputs matter.
  assert np.abs(model([x, low + 1]) - output).max() > 1e-4
  assert np.abs(model([x + 1, low]) - output).max() > 1e-4

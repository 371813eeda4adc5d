"""The pyramid head against its definition written out in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from network.common.layers import LayerOptions
from seg_models.models import ModelConfig
from seg_models.models.pspnet import pspnet


@pytest.fixture(scope='module')
def head():
  features = keras.Input([None, None, 4])
  config = ModelConfig(name='pspnet_resnet50', head_dim=3, output_dim=2)
  model = keras.Model(features, pspnet({'output': features}, 'net', config, LayerOptions()))
  random = np.random.default_rng(1)
  for variable in model.variables:
    sign = random.choice([-1, 1], variable.shape) if 'kernel' in variable.path else 1
    variable.assign(sign * random.uniform(0.5, 1.5, variable.shape))
  return model


def written_out(model, x):
  """The head with TensorFlow's pooling and legacy resizing, for maps of multiples of 6 cells."""
  values = {variable.path: variable.numpy() for variable in model.variables}

  def layer(x, name, norm=True):
    x = tf.nn.conv2d(x, values[f'net.block5.{name}/kernel'], 1, 'SAME')
    if not norm:
      return x + values[f'net.block5.{name}/bias']
    part = {key: values[f'net.block5.{name}.BatchNorm/{key}']
            for key in ('gamma', 'beta', 'moving_mean', 'moving_variance')}
    return tf.nn.relu((x - part['moving_mean']) / np.sqrt(part['moving_variance'] + 1e-3)
                      * part['gamma'] + part['beta'])
  levels = []
  size = x.shape[1:3]
  for bins in (1, 2, 3, 6):
    kernel = [size[0] // bins, size[1] // bins]
    level = layer(tf.nn.avg_pool2d(x, kernel, kernel, 'VALID'), f'pool{bins}.conv1')
    levels.append(tf.compat.v1.image.resize_bilinear(level, size))
  x = layer(tf.concat([*levels, x], -1), 'conv2')
  return layer(x, 'fc1_voc12', norm=False)


@pytest.mark.parametrize('size', [(6, 6), (12, 18)])
def test_equals_the_definition_at_multiples_of_six(head, size):
  x = np.random.default_rng(0).normal(size=(2, *size, 4)).astype(np.float32)
  expected = written_out(head, x)
  assert np.abs(expected).max() > 1
  np.testing.assert_allclose(head(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('size', [(1, 1), (5, 7), (13, 3)])
def test_any_size_will_do(head, size):
  output = head(np.ones((1, *size, 4), np.float32)).numpy()
  assert output.shape == (1, *size, 2)
  assert np.isfinite(output).all()

"""MobileNetV2 against Keras Applications' own graph, and its laws at smaller strides."""

import keras
import numpy as np
import pytest

from network.common.layers import LayerOptions
from network.common.mobilenet_v2 import mobilenet_v2
from network.common.preprocessing import MEAN_RGB
from network.common.pretrained import keras_mobilenet_v2_name


def network(output_stride=8, padding='explicit', width=0.35):
  images = keras.Input([None, None, 3])
  return keras.Model(images, mobilenet_v2(
      images, LayerOptions(), output_stride=output_stride, width=width, padding=padding))


def copy(target, source):
  for mine, theirs in zip(target.variables, source.variables, strict=True):
    assert mine.path == theirs.path
    mine.assign(theirs)


def image(*size):
  return np.random.default_rng(0).uniform(0, 255, (1, *size, 3)).astype(np.float32) - MEAN_RGB


@pytest.fixture(scope='module')
def model():
  made = network()
  random = np.random.default_rng(1)
  for variable in made.variables:
    if variable.path.endswith('moving_variance'):
      variable.assign(random.uniform(0.05, 0.2, variable.shape))
    elif variable.path.endswith('moving_mean'):
      variable.assign(random.normal(size=variable.shape) * 0.1)
  return made


def test_equals_keras_applications(model):
  theirs = keras.applications.MobileNetV2(
      input_shape=(64, 96, 3), alpha=0.35, include_top=False, weights=None)
  ours = network(output_stride=32, padding='same')
  copy(ours, model)
  arrays = {}
  for variable in ours.variables:
    layer, _, part = variable.path.rpartition('/')
    name = f'{layer.replace(".", "/")}/{"weights" if part == "kernel" else part}'
    arrays[keras_mobilenet_v2_name(name)] = variable.numpy()
  trunk = keras.Model(theirs.input, theirs.get_layer('block_16_project_BN').output)
  assert len(trunk.variables) == len(arrays)
  for layer in trunk.layers:
    for variable in layer.variables:
      variable.assign(arrays[f'{layer.name}/{variable.name}'])
  x = image(64, 96)
  expected = trunk((x + MEAN_RGB) / 127.5 - 1)
  result = ours(x)['output']
  scale = np.abs(expected).max()
  assert scale > 1e-3
  np.testing.assert_allclose(result, expected, atol=1e-4 * scale)


def test_any_size_gives_its_ceiling(model):
  for size in ((32, 48), (33, 47), (1, 7)):
    features = model(image(*size))
    assert features['output'].shape[:3] == (1, -(-size[0] // 8), -(-size[1] // 8))
    assert features['auxiliary'].shape == (*features['output'].shape[:3], 32)  # 96 * 0.35
    assert features['low_level'].shape[:3] == (1, -(-size[0] // 4), -(-size[1] // 4))


def test_stride_16_subsamples_stride_8(model):
  coarse = network(output_stride=16)
  copy(coarse, model)
  for size in ((48, 64), (41, 55)):
    dense, sparse = model(image(*size))['output'], coarse(image(*size))['output']
    scale = np.abs(dense).max()
    assert scale > 1e-3
    np.testing.assert_allclose(sparse, dense[:, ::2, ::2], atol=1e-4 * scale)


def test_width_rounds_channels_as_keras_does():
  ours = network(width=0.5)
  theirs = keras.applications.MobileNetV2(
      input_shape=(32, 32, 3), alpha=0.5, include_top=False, weights=None)
  assert ours.output['output'].shape[-1] == theirs.get_layer('block_16_project').output.shape[-1]
  assert ours.output['low_level'].shape[-1] == theirs.get_layer('block_2_project').output.shape[-1]


@pytest.mark.parametrize('width', [0.25, 1.0])
def test_units_are_residual_where_keras_ones_are(width):
  # At a quarter of the width the first unit keeps the number of channels.
  theirs = keras.applications.MobileNetV2(
      input_shape=(32, 32, 3), alpha=width, include_top=False, weights=None)
  counts = [sum(isinstance(layer, keras.layers.Add) for layer in model.layers)
            for model in (network(width=width), theirs)]
  assert counts[0] == counts[1] == (11 if width < 0.3 else 10)

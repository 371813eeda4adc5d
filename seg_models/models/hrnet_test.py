"""HRNet's head: what it computes, and that the published network has no more parameters."""

import keras
import numpy as np

from network.common.layers import LayerOptions
from seg_models.models.hrnet import hrnet
from seg_models.models.registry import ModelConfig, variable_names


def test_a_unit_as_wide_as_the_trunk_and_a_classifier():
  config = ModelConfig(name='hrnet_hrnet_w18', output_dim=3)
  x = keras.Input([None, None, 5])
  model = keras.Model(x, hrnet({'output': x}, 'net', config, LayerOptions()))
  names = variable_names(model)
  random = np.random.default_rng(0)
  values = {name: random.uniform(0.5, 1.5, variable.shape).astype(np.float32)
            for name, variable in names.items()}
  for name, variable in names.items():
    variable.assign(values[name])
  data = random.normal(size=(2, 3, 4, 5)).astype(np.float32)
  at = {name.removeprefix('net/block5/'): value for name, value in values.items()}
  hidden = (data @ at['conv1/weights'][0, 0] - at['conv1/BatchNorm/moving_mean']) / np.sqrt(
      at['conv1/BatchNorm/moving_variance'] + 1e-3)
  hidden = np.maximum(hidden * at['conv1/BatchNorm/gamma'] + at['conv1/BatchNorm/beta'], 0)
  expected = hidden @ at['logits/weights'][0, 0] + at['logits/biases']
  np.testing.assert_allclose(model(data, training=False), expected, atol=1e-4)
  assert len(names) == 7

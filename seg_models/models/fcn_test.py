"""The FCN head is one matrix and one offset for every cell."""

import keras
import numpy as np

from network.common.layers import LayerOptions
from seg_models.models import ModelConfig
from seg_models.models.fcn import fcn


def test_is_a_matrix_product_under_the_originals_name():
  features = keras.Input([None, None, 4])
  config = ModelConfig(name='fcn_resnet50', output_dim=2)
  model = keras.Model(features, fcn({'output': features}, 'net', config, LayerOptions()))
  kernel, bias = model.variables
  assert [kernel.path, bias.path] == [
      'net.block5.fc1_voc12/kernel', 'net.block5.fc1_voc12/bias']
  bias.assign([1.0, -2.0])
  x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
  np.testing.assert_allclose(model(x), x @ kernel.numpy()[0, 0] + [1.0, -2.0], atol=1e-5)

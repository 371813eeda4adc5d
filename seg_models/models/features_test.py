"""The head that is none."""

import numpy as np
import pytest

from seg_models.models.registry import ModelConfig, build_model, is_head, variable_names


@pytest.mark.parametrize('backbone, width, channels', [
    ('mobilenet_v2', 1.0, 320), ('mobilenet_v2', 0.35, 112), ('resnet50', 1.0, 2048),
    ('resnet50', 0.0625, 128)])
def test_its_channels_are_those_of_the_trunk(backbone, width, channels):
  config = ModelConfig(name=f'features_{backbone}', width=width)
  assert config.output_dim == channels
  assert ModelConfig(name=f'features_{backbone}', width=width, output_dim=channels) == config
  with pytest.raises(ValueError, match=f'has the {channels} channels of its trunk, not 7'):
    ModelConfig(name=f'features_{backbone}', width=width, output_dim=7)


def test_it_is_what_a_head_would_be_given():
  shape = {'width': 0.35}
  model = build_model(ModelConfig(name='features_mobilenet_v2', **shape))
  names = variable_names(model)
  assert not any(map(is_head, names))
  full = build_model(ModelConfig(name='fcn_mobilenet_v2', output_dim=3, **shape))
  kernel, = (value for name, value in variable_names(full).items()
             if is_head(name) and name.endswith('weights'))
  image = np.random.default_rng(0).normal(size=(1, 33, 41, 3)).astype(np.float32) * 50
  found = model(image, training=False)
  assert found.shape == (1, 5, 6, 112)
  np.testing.assert_allclose(
      np.einsum('bhwi,io->bhwo', found, kernel[0, 0]), full(image, training=False), atol=1e-3)

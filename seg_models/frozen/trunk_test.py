import dataclasses

import numpy as np
import pytest

from network.common.preprocessing import MEAN_RGB
from seg_models.frozen.trunk import TrunkConfig, load_trunk
from seg_models.models import ModelConfig, build_model, variable_names
from utils import checkpoints

CONFIG = ModelConfig('pspnet_mobilenet_v2', output_dim=4, width=0.35, head_dim=4)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """A whole network's, and the network."""
  path = tmp_path_factory.mktemp('trunk') / 'model.ckpt-0'
  model = build_model(CONFIG, seed=3)
  checkpoints.save(path, {name: value.numpy() for name, value in variable_names(model).items()},
                   {'model': dataclasses.asdict(CONFIG)})
  return str(path), model


def test_features_are_the_trunks_of_a_checkpoint(checkpoint):
  path, model = checkpoint
  trunk = load_trunk(TrunkConfig('mobilenet_v2', path))
  images = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
  features = trunk(images).numpy()
  assert features.shape == (2, 2, 3, trunk.channels)
  bare = build_model(ModelConfig('features_mobilenet_v2', width=0.35), seed=3)
  expected = bare(images.astype(np.float32) - np.float32(MEAN_RGB), training=False)
  np.testing.assert_allclose(features, expected, atol=1e-5)
  assert not trunk.model.trainable_variables


def test_settings_tell_weights_apart(checkpoint):
  path, _ = checkpoint
  settings = load_trunk(TrunkConfig('mobilenet_v2', path)).settings
  assert settings['model']['width'] == 0.35
  random = load_trunk(TrunkConfig('mobilenet_v2', random_backbone=True)).settings
  assert random['weights'] == 'random' != settings['weights']
  strided = load_trunk(TrunkConfig('mobilenet_v2', random_backbone=True, output_stride=16))
  assert strided(np.zeros((1, 32, 32, 3), np.uint8)).shape[1] == 2


@pytest.mark.parametrize('config, message', [
    (TrunkConfig(), '--backbone is missing: one of .*mobilenet_v2'),
    (TrunkConfig('mobilenet_v2'), '--restore_from: name the file with the weights'),
    (TrunkConfig('dino_vits8'), 'such as https://.*dino_deitsmall8'),
    (TrunkConfig('mobilenet_v2', 'file', True), '--restore_from'),
    (TrunkConfig('vgg', random_backbone=True), '--model features_vgg: unknown')])
def test_what_is_missing_is_named(config, message):
  with pytest.raises(ValueError, match=message):
    load_trunk(config)

import dataclasses

import numpy as np
import pytest

from network.common.preprocessing import MEAN_RGB
from seg_models.frozen.trunk import FrozenTrunk, TrunkConfig, load_trunk, trunk_settings
from seg_models.models import ModelConfig, build_model, variable_names
from utils import checkpoints

SMALL = {'width': 0.125, 'blocks': (1, 1, 1, 1)}
CONFIG = ModelConfig('pspnet_resnet50', output_dim=4, head_dim=4, **SMALL)


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
  trunk = load_trunk(TrunkConfig('resnet50', path))
  images = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
  features = trunk(images).numpy()
  assert features.shape == (2, 2, 3, trunk.channels)
  bare = build_model(ModelConfig('features_resnet50', **SMALL), seed=3)
  moved = np.zeros((2, 16, 24, 3), np.float32)
  moved[:, :-4, :-4] = images[:, 4:, 4:] - np.float32(MEAN_RGB)
  np.testing.assert_allclose(features, bare(moved, training=False), atol=1e-5)
  assert not trunk.model.trainable_variables
  assert trunk.settings['model']['width'] == 0.125 and trunk.settings['weights'] != 'random'


def test_known_settings_spare_reading_the_file_for_them(checkpoint, monkeypatch):
  config = TrunkConfig('resnet50', checkpoint[0])
  settings = trunk_settings(config)
  monkeypatch.setattr('seg_models.frozen.trunk.resuming', None)
  assert load_trunk(config, settings=settings).settings == settings


def test_embeddings_of_a_whole_network_are_features_too(checkpoint):
  path, model = checkpoint
  trunk = load_trunk(TrunkConfig('pspnet_resnet50', path))
  assert trunk.channels == 4
  images = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), dtype=np.uint8)
  moved = np.zeros((1, 16, 24, 3), np.float32)
  moved[:, :-4, :-4] = images[:, 4:, 4:] - np.float32(MEAN_RGB)
  np.testing.assert_allclose(trunk(images), model(moved, training=False), atol=1e-5)


def test_cells_lie_in_the_middle_of_their_pixels():
  """Of a network whose cell i lies on pixel 8 * i: on 8 * i + 4, the nearest to its middle."""
  class Sampled:
    def __call__(self, images, training):
      return images[:, ::8, ::8]

  image = np.arange(16 * 24, dtype=np.float32).reshape(1, 16, 24, 1).repeat(3, -1)
  cells = FrozenTrunk(Sampled(), {'shift': 4})(image).numpy() + MEAN_RGB
  np.testing.assert_allclose(cells, image[:, 4::8, 4::8], atol=1e-4)
  assert FrozenTrunk(Sampled(), {'shift': 0})(image).shape == cells.shape


def test_a_trunk_as_initialised_is_only_for_trying_out():
  trunk = load_trunk(TrunkConfig('mobilenet_v2', random_backbone=True, output_stride=16))
  assert trunk(np.zeros((1, 32, 32, 3), np.uint8)).shape[1] == 2
  assert trunk.settings['weights'] == 'random' and trunk.settings['shift'] == 8
  assert trunk.stride == 16
  trunk = load_trunk(TrunkConfig('dino_vits16', random_backbone=True))
  assert trunk.settings['shift'] == 0 and trunk.stride == 16


def test_a_network_is_moved_by_half_a_cell_of_its_head():
  trunk = load_trunk(TrunkConfig('deeplab_v3plus_mobilenet_v2', random_backbone=True))
  assert trunk.stride == 4 and trunk.settings['shift'] == 2


@pytest.mark.parametrize('config, message', [
    (TrunkConfig(), '--backbone is missing: one of .*mobilenet_v2'),
    (TrunkConfig('mobilenet_v2'), '--restore_from is missing: the file with the weights'),
    (TrunkConfig('dino_vits8'), '--restore_from is missing: .*https://.*dino_deitsmall8'),
    (TrunkConfig('mobilenet_v2', 'file', True), 'leave one of them out'),
    (TrunkConfig('vgg', random_backbone=True), '--model vgg: unknown')])
def test_what_is_missing_is_named(config, message):
  with pytest.raises(ValueError, match=message):
    load_trunk(config)


@pytest.mark.parametrize('ending', ['.safetensors', '.npz', '.pth'])
@pytest.mark.parametrize('name, source', [
    ('dino_vitb8', 'dino_vitbase8_pretrain.pth.*timm/vit_base_patch8_224.dino'),
    ('dinov2_vits14', 'dinov2_vits14_pretrain.pth.*timm/vit_small_patch14_dinov2')])
def test_a_file_that_is_not_there_is_told_with_its_own_source(name, source, ending, tmp_path):
  path = str(tmp_path / f'weights{ending}')
  with pytest.raises(FileNotFoundError, match=f'weights{ending}: no such weight file; .*{source}'):
    load_trunk(TrunkConfig(name, path))

import dataclasses

import numpy as np
import pytest

from seg_models.models import ModelConfig
from seg_models.training_setup import NetworkConfig, model_config_of
from utils import checkpoints


@pytest.fixture
def checkpoint(tmp_path):
  """A checkpoint that describes a network, without its weights."""
  model = ModelConfig(name='pspnet_mobilenet_v2', output_dim=7, head_dim=16)
  prefix = tmp_path / 'model.ckpt-3'
  checkpoints.save(prefix, {}, {'model': dataclasses.asdict(model)})
  return model, str(prefix)


def test_without_a_checkpoint_the_flags_and_the_originals_network_count():
  assert model_config_of(NetworkConfig(), None) == ModelConfig()
  network = NetworkConfig(model='pspnet_resnet50', width=0.5, batch_norm_decay=0.9)
  assert model_config_of(network, 5) == ModelConfig(
      name='pspnet_resnet50', output_dim=5, width=0.5, batch_norm_decay=0.9,
      head_batch_norm_decay=0.9)


def test_a_transformer_wants_its_weights(tmp_path):
  network = NetworkConfig(model='features_dino_vitb8', width=0.125)
  with pytest.raises(ValueError, match=(
      r'--restore_from is missing: dino_vitb8 is nothing without its weights: the .*https://dl.fbaipublicfiles.com/dino/'
      r'dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth, .*convert_weights.py '
      r'dino_vitbase8_pretrain.pth dino_vitb8.safetensors .*timm/vit_base_patch8_224.dino')):
    model_config_of(network, None)
  random = dataclasses.replace(network, random_backbone=True)
  expected = ModelConfig(name='features_dino_vitb8', width=0.125)
  assert model_config_of(random, None) == expected
  np.savez(tmp_path / 'dino.npz', norm=np.zeros(2))
  restored = dataclasses.replace(network, restore_from=str(tmp_path / 'dino.npz'))
  assert model_config_of(restored, None) == expected


def test_a_checkpoint_describes_its_network(checkpoint):
  model, prefix = checkpoint
  assert model_config_of(NetworkConfig(restore_from=prefix), None) == model


def test_a_flag_against_the_checkpoint_is_an_error(checkpoint):
  _, prefix = checkpoint
  with pytest.raises(ValueError, match='deeplab_resnet50'):
    model_config_of(NetworkConfig(restore_from=prefix, model='deeplab_resnet50'), None)
  with pytest.raises(ValueError, match='9 where the checkpoint has 7'):
    model_config_of(NetworkConfig(restore_from=prefix), 9)


def test_a_new_head_on_an_old_trunk(checkpoint):
  _, prefix = checkpoint
  network = NetworkConfig(
      restore_from=prefix, model='fcn_mobilenet_v2', not_restore_classifier=True)
  assert model_config_of(network, 9) == ModelConfig(name='fcn_mobilenet_v2', output_dim=9)


def test_a_projection_head_is_the_methods_wish(checkpoint, tmp_path):
  model, prefix = checkpoint
  fields = {'projection': 'linear', 'projection_dim': 9}
  network = NetworkConfig(model='pspnet_mobilenet_v2')
  assert model_config_of(network, 7, fields=fields).projection_dim == 9
  network = NetworkConfig(restore_from=prefix)
  with pytest.raises(ValueError, match='--projection linear where the checkpoint has None'):
    model_config_of(network, 7, fields=fields)
  again = dataclasses.replace(network, not_restore_classifier=True)
  wanted = dataclasses.replace(model, **fields)
  assert model_config_of(again, 7, fields=fields) == wanted
  checkpoints.save(tmp_path / 'model.ckpt-4', {}, {'model': dataclasses.asdict(wanted)})
  network = NetworkConfig(restore_from=str(tmp_path / 'model.ckpt-4'))
  assert model_config_of(network, 7, fields=fields) == wanted
  assert model_config_of(network, None) == model

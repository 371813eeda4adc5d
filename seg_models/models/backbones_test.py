"""What trunks can be asked for; that they are built is registry_test.py's."""

import numpy as np
import pytest

from seg_models.models.backbones import (
    BACKBONES,
    blocks_of,
    has_low_level,
    output_channels,
    strides,
)
from seg_models.models.registry import ModelConfig, build_model, variable_names


def test_transformers_have_the_stride_of_their_patch_and_no_finer_map():
  transformers = {name: strides(name) for name in BACKBONES if not has_low_level(name)}
  assert transformers == {
      'dino_vits8': (8,), 'dino_vits16': (16,), 'dino_vitb8': (8,), 'dino_vitb16': (16,),
      'dinov2_vits14': (14,), 'dinov2_vitb14': (14,)}


@pytest.mark.parametrize('backbone, width, channels', [
    ('dino_vits8', 1.0, 384), ('dinov2_vitb14', 1.0, 768), ('dino_vits8', 0.125, 48),
    ('hrnet_w18', 1.0, 270), ('mobilenet_v2', 1.0, 320), ('resnet50_deep', 0.5, 1024)])
def test_channels(backbone, width, channels):
  assert output_channels(backbone, width) == channels


@pytest.mark.parametrize('backbone, blocks, expected', [
    ('dino_vitb8', (), (12,)), ('dino_vitb8', (3,), (3,)), ('resnet50', (), (3, 4, 6, 3)),
    ('resnet101_deep', (1, 1, 2, 1), (1, 1, 2, 1)), ('mobilenet_v2', (), ())])
def test_blocks(backbone, blocks, expected):
  assert blocks_of(backbone, blocks) == expected


@pytest.mark.parametrize('backbone, blocks', [
    ('dino_vits8', (0,)), ('dino_vits8', (1, 2)), ('resnet50', (3,)), ('hrnet_w18', (1,))])
def test_other_blocks_are_refused(backbone, blocks):
  with pytest.raises(ValueError, match='--blocks'):
    blocks_of(backbone, blocks)


def test_a_small_transformer_is_an_option_of_the_real_one():
  config = ModelConfig(name='features_dinov2_vits14', width=0.125, blocks=(1,))
  assert config.output_dim == 48 and config.output_stride == 14
  names = variable_names(build_model(config))
  scope = 'dinov2_vits14'
  for name, shape in {
      'cls_token': (1, 48), 'pos_embed': (1370, 48), 'patch_embed/proj/weights': (14, 14, 3, 48),
      'blocks/0/attn/qkv/weights': (48, 144), 'blocks/0/ls1/gamma': (48,)}.items():
    assert tuple(names[f'{scope}/{name}'].shape) == shape
  assert not any('/blocks/1/' in name for name in names)
  np.testing.assert_allclose(np.std(names[f'{scope}/pos_embed']), 0.02, rtol=0.05)

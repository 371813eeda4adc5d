"""Trunks by name: what they are built with, and what they can be asked for."""

from network.common import hrnet, mobilenet_v2, resnet_v1
from network.common import vision_transformer as vit

# Backbone -> its scope in variable names. Those of a name with `_deep` are TF DeepLab's
# `resnet_v1_*_beta`, whose files have the same scope.
BACKBONES = {
    'resnet50': 'resnet_v1_50', 'resnet101': 'resnet_v1_101', 'resnet152': 'resnet_v1_152',
    'resnet50_deep': 'resnet_v1_50', 'resnet101_deep': 'resnet_v1_101',
    'mobilenet_v2': 'mobilenet_v2', **{name: name for name in (*hrnet.CHANNELS, *vit.SHAPES)}}


def strides(backbone):
  """Output strides that a backbone can be built with, the default first."""
  if backbone in vit.SHAPES:
    return (vit.SHAPES[backbone].patch,)
  return (hrnet.OUTPUT_STRIDE,) if backbone in hrnet.CHANNELS else (8, 16)


def has_low_level(backbone):
  """Whether there is a map at stride 4 before the last one."""
  return backbone not in vit.SHAPES


def output_channels(backbone, width):
  """Channels of the last stage at a factor of all channels."""
  if backbone in vit.SHAPES:
    return vit.scaled(backbone, width).channels
  if backbone in hrnet.CHANNELS:
    return hrnet.output_channels(backbone, width)
  return (mobilenet_v2 if backbone == 'mobilenet_v2' else resnet_v1).output_channels(width)


def blocks_of(backbone, blocks=()):
  """The numbers of units that a backbone is built with: those asked for, or its own.

  Raises:
    ValueError: they are not what the backbone can be built with.
  """
  if backbone == 'mobilenet_v2' or backbone in hrnet.CHANNELS:
    if blocks:
      raise ValueError(f'--blocks {blocks}: {backbone} has none to count; leave it out')
    return ()
  if backbone in vit.SHAPES:
    own, wanted = (vit.SHAPES[backbone].depth,), 'one positive number of blocks is'
  else:
    own = resnet_v1.BLOCKS[backbone.removesuffix('_deep')]
    wanted = 'four positive numbers of units are'
  blocks = tuple(blocks) or own
  if len(blocks) != len(own) or min(blocks) < 1:
    raise ValueError(f'--blocks {blocks}: {wanted} needed')
  return blocks


def trunk(images, backbone, config, options):
  """Builds a backbone.

  Args:
    images: Keras tensor [B, H, W, 3], RGB minus `network.common.preprocessing.MEAN_RGB`.
    backbone: key of `BACKBONES`.
    config: `registry.ModelConfig`.
    options: `network.common.layers.LayerOptions`.

  Returns:
    dict of Keras tensors; 'output' is [B, ceil(H / s), ceil(W / s), C].
  """
  scope = BACKBONES[backbone]
  if backbone in vit.SHAPES:
    shape = vit.scaled(backbone, config.width, config.blocks[0])
    return vit.vision_transformer(images, scope, shape, options)
  if backbone in hrnet.CHANNELS:
    channels = hrnet.branch_channels(backbone, config.width)
    return hrnet.hrnet(images, scope, channels, options, width=config.width)
  shape = {'output_stride': config.output_stride, 'width': config.width,
           'padding': config.pool_padding}
  if backbone == 'mobilenet_v2':
    return mobilenet_v2.mobilenet_v2(images, options, **shape)
  return resnet_v1.resnet_v1(
      images, scope, config.blocks, options, deep_stem=backbone.endswith('_deep'), **shape)

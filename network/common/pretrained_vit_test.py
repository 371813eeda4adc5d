"""Names and shapes against the table of the public files', and their arrays as they come."""

import math
import pathlib

import keras
import numpy as np
import pytest

from network.common import vision_transformer as vit
from network.common.layers import LayerOptions
from network.common.pretrained_vit import SOURCES, TIMM, PublicTransformer, public_name

TABLE = pathlib.Path(__file__).parent / 'testdata' / 'dino.txt'
NETWORKS = tuple(vit.SHAPES)


def table(network, depth=12):
  """Name -> shape of a public file's arrays, of its first blocks."""
  shapes = {}
  for line in TABLE.read_text(encoding='utf-8').splitlines():
    name, *columns = line.split()
    if name == '#' or (text := columns[NETWORKS.index(network)]) == '-':
      continue
    shape = tuple(map(int, text.split('x')))
    for index in range(depth if '*' in name else 1):
      shapes[name.replace('*', str(index))] = shape
  return shapes


class Arrays(dict):
  """What utils/checkpoints.Archive offers."""

  def names(self):
    return list(self)

  def shape(self, name):
    return self[name].shape

  def read(self, name):
    return self[name]


class Shapes(Arrays):
  """The same, without values."""

  def shape(self, name):
    return self[name]


def wanted(network, depth):
  """Public name -> shape of a network's variables."""
  images = keras.Input([None, None, 3])
  trunk = vit.vision_transformer(
      images, network, vit.scaled(network, depth=depth), LayerOptions())
  shapes = {}
  for variable in keras.Model(images, trunk['output']).variables:
    layer, _, part = variable.path.rpartition('/')
    part = {'kernel': 'weights', 'bias': 'biases'}.get(part, part)
    shapes[public_name(f'{layer.replace(".", "/")}/{part}')] = tuple(variable.shape)
  return shapes


@pytest.mark.parametrize('network, parameters', [
    ('dino_vits8', 21_670_272), ('dino_vits16', 21_665_664), ('dino_vitb8', 85_807_872),
    ('dino_vitb16', 85_798_656), ('dinov2_vits14', 22_056_576), ('dinov2_vitb14', 86_580_480)])
def test_the_tables_counts_are_the_published_ones(network, parameters):
  assert sum(map(math.prod, table(network).values())) == parameters


@pytest.mark.parametrize('network, depth', [
    *((network, 1) for network in NETWORKS),
    *(pytest.param(network, 12, marks=pytest.mark.slow) for network in NETWORKS)])
def test_a_network_has_the_public_files_names_and_shapes(network, depth):
  public = PublicTransformer(Shapes(table(network, depth)))
  expected = {name: public.shape(name) for name in public.names() if name != 'mask_token'}
  assert wanted(network, depth) == expected


@pytest.mark.parametrize('name, expected', [
    ('net/cls_token', 'cls_token'), ('net/pos_embed', 'pos_embed'),
    ('net/patch_embed/proj/weights', 'patch_embed.proj.weight'),
    ('net/blocks/11/attn/qkv/biases', 'blocks.11.attn.qkv.bias'),
    ('net/blocks/0/norm2/beta', 'blocks.0.norm2.bias'), ('net/norm/gamma', 'norm.weight'),
    ('net/blocks/0/ls2/gamma', 'blocks.0.ls2.gamma'),
    ('net/block5/fc1_voc12/weights', None)])
def test_names(name, expected):
  assert public_name(name) == expected


def test_arrays_are_turned():
  random = np.random.default_rng(0)
  arrays = Arrays({f'module.backbone.{name}': random.normal(size=shape) for name, shape in {
      'cls_token': (1, 1, 4), 'pos_embed': (1, 10, 4), 'patch_embed.proj.weight': (4, 3, 5, 2),
      'norm.bias': (4,), 'blocks.0.mlp.fc1.weight': (16, 4)}.items()})
  public = PublicTransformer(arrays)
  for name in public.names():
    assert public.shape(name) == public.read(name).shape
  given = {name.removeprefix('module.backbone.'): value for name, value in arrays.items()}
  assert set(public.names()) == set(given)
  assert public.read('patch_embed.proj.weight')[4, 1, 2, 3] == (
      given['patch_embed.proj.weight'][3, 2, 4, 1])
  np.testing.assert_array_equal(
      public.read('blocks.0.mlp.fc1.weight'), given['blocks.0.mlp.fc1.weight'].T)
  np.testing.assert_array_equal(public.read('pos_embed'), given['pos_embed'][0])
  np.testing.assert_array_equal(public.read('cls_token'), given['cls_token'][0])
  np.testing.assert_array_equal(public.read('norm.bias'), given['norm.bias'])


def test_every_network_has_a_source():
  assert set(SOURCES) == set(TIMM) == set(vit.SHAPES)
  assert SOURCES['dino_vits8'] == (
      'https://dl.fbaipublicfiles.com/dino/dino_deitsmall8_300ep_pretrain/'
      'dino_deitsmall8_300ep_pretrain.pth')

"""HRNet's names and shapes against the table of the public files', and its arrays as they come."""

import math
import pathlib
import re

import keras
import numpy as np
import pytest

from network.common import hrnet
from network.common.layers import LayerOptions
from network.common.pretrained_hrnet import PublicHRNet, is_hrnet, public_name

TABLE = pathlib.Path(__file__).parent / 'testdata' / 'hrnetv2.txt'
NETWORKS = ('hrnet_w18', 'hrnet_w32', 'hrnet_w48')
NORM = ('weight', 'bias', 'running_mean', 'running_var')


def table(network):
  """Sections of the table: name -> shape."""
  sections = {}
  for line in TABLE.read_text(encoding='utf-8').splitlines():
    if line.startswith('['):
      section = sections.setdefault(line.strip('[]'), {})
    elif not line.startswith('#'):
      name, *shapes = line.split()
      shape = tuple(map(int, shapes[NETWORKS.index(network)].split('x')))
      if name.endswith(('.weight', '.bias')):
        section[name] = shape
      else:
        section.update({f'{name}.{part}': shape for part in NORM})
  return sections


def parameters(section):
  """Number of trained values."""
  return sum(math.prod(shape) for name, shape in section.items() if '.running_' not in name)


def trunk(network, width=1.0):
  images = keras.Input([None, None, 3])
  channels = hrnet.branch_channels(network, width)
  return keras.Model(
      images, hrnet.hrnet(images, network, channels, LayerOptions(), width=width))


def public_shapes(model):
  """Shapes of a network's variables as the public files would have them, by their names there."""
  shapes = {}
  for variable in model.variables:
    layer, _, part = variable.path.rpartition('/')
    part = {'kernel': 'weights', 'bias': 'biases'}.get(part, part)
    name = public_name(f'{layer.replace(".", "/")}/{part}')
    assert name not in shapes
    shape = tuple(variable.shape)
    shapes[name] = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
  return shapes


@pytest.mark.parametrize('network, classifier, segmentation, with_ocr', [
    ('hrnet_w18', 21_299_004, 9_641_119, 12_080_818),
    ('hrnet_w32', 41_232_680, 29_546_515, 32_953_894),
    ('hrnet_w48', 77_469_864, 65_859_379, 70_372_678)])
def test_the_tables_counts_are_the_published_ones(network, classifier, segmentation, with_ocr):
  counts = {name: parameters(section) for name, section in table(network).items()}
  assert counts['trunk'] + counts['classifier'] == classifier
  assert counts['trunk'] + counts['hrnet head'] == segmentation
  assert counts['trunk'] + counts['ocr head'] == with_ocr


@pytest.mark.slow
@pytest.mark.parametrize('network', NETWORKS)
def test_a_trunk_has_the_public_files_names_and_shapes(network):
  model = trunk(network)
  expected = table(network)['trunk']
  assert public_shapes(model) == expected
  assert sum(math.prod(variable.shape) for variable in model.trainable_variables) == (
      parameters(expected))


def test_so_has_a_shallow_one(monkeypatch):
  """In a second: one module and one unit of each, W48's channels."""
  monkeypatch.setattr(hrnet, '_MODULES', dict.fromkeys((2, 3, 4), 1))
  monkeypatch.setattr(hrnet, '_UNITS', 1)
  shapes = public_shapes(trunk('hrnet_w48'))
  deeper = re.compile(r'(stage[34]\.[1-9]|layer1\.[1-3]|.*\.branches\.\d\.[1-3])\.')
  assert shapes == {name: shape for name, shape in table('hrnet_w48')['trunk'].items()
                    if not deeper.match(name)}


@pytest.mark.parametrize('name, expected', [
    ('net/block5/fc1_voc12/weights', None), ('net/block5/aspp0/BatchNorm/gamma', None),
    ('net/block5/logits/biases', 'last_layer.3.bias'),
    ('net/block5/ocr/key2/BatchNorm/moving_mean',
     'ocr_distri_head.object_context_block.f_object.3.0.running_mean'),
    ('net/stage4/module_3/fuse_1_to_4/conv2/BatchNorm/gamma',
     'stage4.2.fuse_layers.3.0.1.1.weight'),
    ('net/stage3/module_4/fuse_3_to_1/weights', 'stage3.3.fuse_layers.0.2.0.weight'),
    ('net/block1/unit_1/bottleneck_v1/conv1/weights', None)])
def test_names(name, expected):
  assert public_name(name) == expected


@pytest.mark.parametrize('section, layers, folded', [
    ('hrnet head', ('conv1', 'logits'), {'last_layer.0.bias'}),
    ('ocr head', ('auxiliary/conv1', 'auxiliary/logits', 'ocr/logits', *(f'ocr/{name}' for name in (
        'pixels', 'query1', 'query2', 'key1', 'key2', 'value', 'context', 'joined'))),
     {'aux_head.0.bias', 'conv3x3_ocr.0.bias'})])
def test_every_array_of_the_public_heads_is_wanted(section, layers, folded):
  norm = [f'BatchNorm/{part}' for part in ('gamma', 'beta', 'moving_mean', 'moving_variance')]
  wanted = {public_name(f'net/block5/{layer}/{part}') for layer in layers
            for part in ('weights', *(['biases'] if layer.endswith('logits') else norm))}
  assert set(table('hrnet_w18')[section]) == wanted | folded


class Arrays(dict):
  """What utils/checkpoints.Archive offers."""

  def names(self):
    return list(self)

  def shape(self, name):
    return self[name].shape

  def read(self, name):
    return self[name]


def test_arrays_are_turned_and_biases_folded():
  random = np.random.default_rng(0)
  arrays = Arrays({f'model.{name}': value for name, value in {
      'conv2.weight': random.normal(size=(4, 3, 5, 2)),
      'last_layer.0.weight': random.normal(size=(4, 3, 1, 1)),
      'last_layer.0.bias': random.normal(size=4),
      'last_layer.1.running_mean': random.normal(size=4),
      'bn1.running_mean': random.normal(size=4),
      'last_layer.3.bias': random.normal(size=2),
      'bn1.num_batches_tracked': np.int64(7)}.items()})
  public = PublicHRNet(arrays)
  assert set(public.names()) == {
      'conv2.weight', 'last_layer.0.weight', 'last_layer.1.running_mean', 'bn1.running_mean',
      'last_layer.3.bias'}
  kernel = arrays['model.conv2.weight']
  assert public.shape('conv2.weight') == (5, 2, 3, 4)
  assert public.read('conv2.weight')[4, 1, 2, 3] == kernel[3, 2, 4, 1]
  np.testing.assert_array_equal(
      public.read('last_layer.1.running_mean'),
      arrays['model.last_layer.1.running_mean'] - arrays['model.last_layer.0.bias'])
  np.testing.assert_array_equal(
      public.read('bn1.running_mean'), arrays['model.bn1.running_mean'])


def test_a_public_file_is_told_from_others():
  names = table('hrnet_w18')['trunk']
  assert is_hrnet(names) and is_hrnet([f'module.model.{name}' for name in names])
  assert not is_hrnet(['conv1.weight', 'conv2.weight', 'layer1.0.conv1.weight'])

"""ResNet v1: names, sizes, and the law that dilation and stride compute the same values."""

import keras
import numpy as np
import pytest

from network.common.layers import LayerOptions
from network.common.resnet_v1 import BLOCKS, resnet_v1


def network(output_stride=8, blocks=(1, 2, 2, 1), padding='explicit', width=0.0625,
            deep_stem=False):
  images = keras.Input([None, None, 3])
  features = resnet_v1(
      images, 'net', blocks, LayerOptions(), output_stride=output_stride, width=width,
      padding=padding, deep_stem=deep_stem)
  return keras.Model(images, features)


def scramble(model):
  """Gives statistics and offsets values that a wrong network would not be blind to."""
  random = np.random.default_rng(1)
  for variable in model.variables:
    if variable.path.endswith(('gamma', 'moving_variance')):
      variable.assign(random.uniform(0.5, 1.5, variable.shape))
    elif variable.path.endswith(('beta', 'moving_mean')):
      variable.assign(random.normal(size=variable.shape) * 0.2)


@pytest.fixture(scope='module')
def model():
  made = network()
  scramble(made)
  return made


def image(*size):
  return np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32) * 50


def test_blocks_are_the_papers():
  assert BLOCKS == {
      'resnet50': (3, 4, 6, 3), 'resnet101': (3, 4, 23, 3), 'resnet152': (3, 8, 36, 3)}


def test_names_are_slims(model):
  paths = [variable.path for variable in model.variables]
  norm = ('gamma', 'beta', 'moving_mean', 'moving_variance')
  units = [f'net.block{block}.unit_{unit}.bottleneck_v1'
           for block, count in enumerate((1, 2, 2, 1), start=1) for unit in range(1, count + 1)]
  convs = ['net.conv1']
  for unit in units:
    convs += [f'{unit}.conv{index}' for index in (1, 2, 3)]
    if '.unit_1.' in unit:
      convs.append(f'{unit}.shortcut')
  expected = {f'{name}/kernel' for name in convs}
  expected |= {f'{name}.BatchNorm/{part}' for name in convs for part in norm}
  assert set(paths) == expected
  assert len(paths) == len(expected)


def test_any_size_gives_its_ceiling(model):
  for size in ((32, 48), (33, 47), (9, 40), (1, 7)):
    features = model(image(*size))
    assert features['output'].shape == (1, -(-size[0] // 8), -(-size[1] // 8), 128)
    assert features['auxiliary'].shape == (1, -(-size[0] // 8), -(-size[1] // 8), 64)
    assert features['low_level'].shape[:3] == (1, -(-size[0] // 4), -(-size[1] // 4))


@pytest.mark.parametrize('size', [(48, 64), (41, 55)])
def test_stride_16_subsamples_stride_8(model, size):
  coarse = network(output_stride=16)
  for mine, theirs in zip(coarse.variables, model.variables, strict=True):
    mine.assign(theirs)
  x = image(*size)
  dense, sparse = model(x), coarse(x)
  scale = np.abs(dense['output']).max()
  assert scale > 0.1
  np.testing.assert_allclose(
      sparse['output'], dense['output'][:, ::2, ::2], atol=1e-5 * scale)
  np.testing.assert_allclose(sparse['low_level'], dense['low_level'], rtol=1e-5, atol=1e-5)


def test_padding_of_the_pool_matters_on_even_maps_only(model):
  slim = network(padding='same')
  for mine, theirs in zip(slim.variables, model.variables, strict=True):
    mine.assign(theirs)

  def differ(size):
    return not np.allclose(model(image(*size))['output'], slim(image(*size))['output'], atol=1e-4)
  assert differ((32, 32))
  assert not differ((33, 33))  # conv1's map is 17 x 17: both pad (1, 1)


def test_the_deep_stem_is_three_convolutions_in_the_place_of_one(model):
  deep = network(deep_stem=True)
  names = {variable.path for variable in deep.variables}
  mine = {name for name in names if name.startswith('net.conv1')}
  assert names - mine == {variable.path for variable in model.variables
                          if not variable.path.startswith('net.conv1')}
  shapes = {variable.path: tuple(variable.shape) for variable in deep.variables}
  assert [shapes[f'net.conv1_{index}/kernel'] for index in (1, 2, 3)] == [
      (3, 3, 3, 4), (3, 3, 4, 4), (3, 3, 4, 8)]
  assert len(mine) == 3 * 5
  strides = [deep.get_layer(f'net.conv1_{index}').strides for index in (1, 2, 3)]
  assert strides == [(2, 2), (1, 1), (1, 1)]
  for size in ((32, 48), (33, 47)):
    assert deep(image(*size))['output'].shape == model(image(*size))['output'].shape

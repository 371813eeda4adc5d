"""The comparison of networks: the stored output is met, and what is off is found."""

import zlib

import numpy as np
import pytest

from seg_models.models import ModelConfig, build_model, variable_names
from seg_models.reference_network import compare_network, formula_weights
from utils.shared_data import shared

SHAPES = {'output_dim': 5, 'width': 0.0625, 'blocks': (1, 1, 2, 1)}
SIZE = (48, 40)


def made(model_name, size=SIZE, **fields):
  """A file as the original would have written it, of a small network that is built here."""
  fields = {**SHAPES, **fields}
  model = build_model(ModelConfig(name=model_name, **fields))
  names = variable_names(model)
  for name, variable in names.items():
    variable.assign(formula_weights(name, tuple(variable.shape)))
  x = np.random.RandomState(7).uniform(-120, 130, (1, *size, 3)).astype(np.float32)
  return {
      'out': model(x, training=False).numpy(), 'names': np.array(list(names)),
      'shapes': np.array([str(tuple(variable.shape)) for variable in names.values()])}


@pytest.fixture(scope='module')
def psp():
  return made('pspnet_resnet101', head_dim=7)


def errors(arrays, model_name='pspnet_resnet101'):
  return {entry.name: entry.error for entry in compare_network(arrays, model_name)}


def test_formula_is_that_of_the_readme():
  random = np.random.RandomState(zlib.crc32(b'a/weights') & 0x7fffffff)
  expected = random.standard_normal((2, 2, 3, 4)).astype(np.float32) * np.sqrt(1 / 12)
  np.testing.assert_allclose(formula_weights('a/weights', (2, 2, 3, 4)), expected, rtol=1e-6)


def test_every_shape_is_read_from_the_file(psp):
  comparisons = compare_network(psp, 'pspnet_resnet101')
  assert [entry.name for entry in comparisons] == ['names', 'shapes', 'out']
  assert all(entry.ok for entry in comparisons)


@pytest.mark.parametrize('name, fields', [
    ('deeplab_resnet101', {}), ('deeplab_v3_resnet50', {'head_dim': 6}), ('fcn_resnet50', {})])
def test_every_shape_of_other_networks_is_too(name, fields):
  assert all(entry.ok for entry in compare_network(made(name, **fields), name))


def test_a_missing_variable_is_found(psp):
  fewer = {**psp, 'names': psp['names'][:-1], 'shapes': psp['shapes'][:-1]}
  assert errors(fewer) == {'names': 1, 'shapes': 0, 'out': float('inf')}


def test_deeplab_of_another_size():
  arrays = made('deeplab_resnet101', size=(41, 50))
  with_size = {**arrays, 'input_size': np.array([41, 50])}
  assert errors(with_size, 'deeplab_resnet101')['out'] < 1e-5
  # Without the size it is taken to be a multiple of 8, which this one is not.
  assert errors(arrays, 'deeplab_resnet101')['out'] > 1e-3


def test_an_input_in_the_file_is_used(psp):
  x = np.random.RandomState(7).uniform(-120, 130, (1, *SIZE, 3)).astype(np.float32)
  assert errors({**psp, 'input': x})['out'] < 1e-5
  assert errors({**psp, 'input': x + 1})['out'] > 1e-4


def test_one_number_off_is_found(psp):
  out = psp['out'].copy()
  out[0, 1, 1, 2] += 1e-3 * np.abs(out).max()
  comparisons = compare_network({**psp, 'out': out}, 'pspnet_resnet101')
  assert [entry.ok for entry in comparisons] == [True, True, False]


def test_other_names_and_shapes_are_counted(psp):
  names = psp['names'].astype('U99')
  names[3] += '_2'
  assert errors({**psp, 'names': names}) == {'names': 2, 'shapes': 0, 'out': float('inf')}
  shapes = psp['shapes'].astype('U99')
  shapes[1] = '(3,)'
  assert errors({**psp, 'shapes': shapes}) == {'names': 0, 'shapes': 1, 'out': float('inf')}


def test_what_is_lacking_is_not_compared(psp):
  assert set(errors({key: psp[key] for key in ('names', 'shapes')})) == {'names', 'shapes'}
  assert compare_network({'names': psp['names']}, 'pspnet_resnet101') == []
  assert compare_network({'unknown': psp['names']}, 'pspnet_resnet101') == []
  with pytest.raises(ValueError, match='unknown'):
    compare_network(psp, 'pspnet_resnet18')


@pytest.mark.slow
def test_the_originals_pspnet():
  path = shared('reference', 'pspnet_resnet101_240.npz')
  with np.load(path, allow_pickle=False) as file:
    comparisons = compare_network(dict(file), 'pspnet_resnet101')
  assert [entry.name for entry in comparisons if entry.ok] == ['names', 'shapes', 'out']

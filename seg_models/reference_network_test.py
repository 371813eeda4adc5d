"""The comparison with stored networks: it passes where it must, and one wrong number fails."""

import numpy as np
import pytest

from seg_models.models import ModelConfig, build_model, variable_names
from seg_models.reference_network import compare_network, formula_weights
from utils.shared_data import shared

CONFIGS = {
    name: ModelConfig(name=name, output_dim=5, width=0.0625, blocks=(1, 2, 1, 1), **fields)
    for name, fields in {'pspnet_resnet101': {'head_dim': 6}, 'deeplab_resnet101': {},
                         'deeplab_v3_resnet50': {'head_dim': 6}, 'fcn_resnet50': {}}.items()}


def reference(name, size=(48, 64), batch=2):
  """A file as the original would write it of a small network, made by this implementation."""
  model = build_model(CONFIGS[name])
  variables = variable_names(model)
  for key, variable in variables.items():
    variable.assign(formula_weights(key, tuple(variable.shape)))
  images = np.random.RandomState(7).uniform(-120, 130, (batch, *size, 3)).astype(np.float32)
  return {
      'out': model(images, training=False).numpy(), 'names': np.array(list(variables)),
      'shapes': np.array([str(tuple(variable.shape)) for variable in variables.values()])}


def test_formula_weights_are_seeded_by_name_and_scaled_by_kind():
  random = np.random.RandomState(0xe8b7be43 & 0x7fffffff)  # crc32 of 'a'
  np.testing.assert_array_equal(
      formula_weights('a', (2, 3)), random.standard_normal((2, 3)).astype(np.float32) * np.float32(
          0.1))
  weights = formula_weights('scope/weights', (3, 3, 50, 40))
  np.testing.assert_allclose(weights.std(), np.sqrt(1 / 450), rtol=0.01)
  gamma, variance = (
      formula_weights(f'scope/{name}', (1000,)) for name in ('gamma', 'moving_variance'))
  np.testing.assert_allclose([gamma.mean(), gamma.std()], [1, 0.1], rtol=0.05)
  assert variance.min() >= 1 and variance.max() < 1.5
  assert {array.dtype for array in (weights, gamma, variance)} == {np.dtype(np.float32)}


@pytest.mark.parametrize('name', CONFIGS)
def test_shape_of_the_network_follows_from_the_file(name):
  comparisons = compare_network(reference(name), name)
  assert [entry.name for entry in comparisons] == ['names', 'shapes', 'out']
  assert all(entry.ok for entry in comparisons)
  assert comparisons[-1].tolerance == 1e-4


def test_one_number_off_by_a_thousandth_of_the_scale_is_found():
  arrays = reference('pspnet_resnet101')
  arrays['out'].flat[17] += 1e-3 * np.abs(arrays['out']).max()
  names, shapes, out = compare_network(arrays, 'pspnet_resnet101')
  assert names.ok and shapes.ok and not out.ok
  np.testing.assert_allclose(out.error, 1e-3, rtol=0.05)


def test_a_missing_and_a_misshapen_variable_are_found():
  arrays = reference('fcn_resnet50')
  fewer = {key: arrays[key][1:] for key in ('names', 'shapes')} | {'out': arrays['out']}
  names, _, out = compare_network(fewer, 'fcn_resnet50')
  assert names.error == 1 and out.error == np.inf
  shapes = arrays['shapes'].copy()
  shapes[2] = '(7,)'
  _, shapes, out = compare_network({**arrays, 'shapes': shapes}, 'fcn_resnet50')
  assert shapes.error == 1 and not out.ok


def test_what_the_file_lacks_is_not_compared():
  arrays = reference('fcn_resnet50')
  del arrays['out']
  assert [entry.name for entry in compare_network(arrays, 'fcn_resnet50')] == ['names', 'shapes']


def test_input_and_its_size_may_be_given():
  arrays = reference('fcn_resnet50', size=(41, 43), batch=1)
  assert arrays['out'].shape[1:3] == (6, 6)
  assert not compare_network(arrays, 'fcn_resnet50')[-1].ok  # 48 x 48 is another image
  assert compare_network({**arrays, 'input_size': np.array([41, 43])}, 'fcn_resnet50')[-1].ok
  images = np.random.RandomState(7).uniform(-120, 130, (1, 41, 43, 3)).astype(np.float32)
  assert compare_network({**arrays, 'input': images}, 'fcn_resnet50')[-1].ok


@pytest.mark.parametrize('arrays', [{}, {'names': np.array(['a'])}, {'other': np.zeros(1)}])
def test_a_file_without_a_network_is_told(arrays):
  with pytest.raises(ValueError, match='neither out nor names and shapes'):
    compare_network(arrays, 'fcn_resnet50')


def test_an_unknown_model_is_told():
  with pytest.raises(ValueError, match='--model pspnet_vgg'):
    compare_network({'out': np.zeros([1, 2, 2, 3])}, 'pspnet_vgg')


@pytest.mark.slow
def test_the_original_pspnet_is_matched():
  arrays = dict(np.load(shared('reference', 'pspnet_resnet101_240.npz'), allow_pickle=False))
  comparisons = compare_network(arrays, 'pspnet_resnet101')
  assert [entry.name for entry in comparisons if entry.ok] == ['names', 'shapes', 'out']

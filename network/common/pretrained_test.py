"""Names and conventions of foreign weights, held to Keras Applications' own outputs."""

import keras
import numpy as np
import pytest

from network.common import pretrained
from network.common.layers import LayerOptions
from network.common.preprocessing import MEAN_RGB
from network.common.pretrained import KerasResNet, Report, assign
from network.common.resnet_v1 import BLOCKS, resnet_v1


class Arrays(dict):
  """What `utils.checkpoints.Archive` is to this room."""

  def names(self):
    return list(self)

  def shape(self, name):
    return self[name].shape

  def read(self, name):
    return self[name]


def variables(**shapes):
  return {name: keras.Variable(np.zeros(shape, np.float32)) for name, shape in shapes.items()}


def test_arrays_are_assigned_by_name_and_listed():
  network = variables(a=(2, 3), b=(4,), c=(1,), d=(2,))
  arrays = Arrays(a=np.ones((2, 3)), d=np.full(2, 5.0), x=np.ones(7), c=np.ones(1))
  report = assign(network, arrays, leave=('c',))
  assert report == Report(loaded=('a', 'd'), missing=('b',), skipped=('c', 'x'), left=('c',))
  for name, value in {'a': 1.0, 'b': 0.0, 'c': 0.0, 'd': 5.0}.items():
    np.testing.assert_array_equal(network[name], np.full(network[name].shape, value))


def test_names_may_go_through_a_table():
  network = variables(a=(2,), b=(2,))
  arrays = Arrays(A=np.array([1.0, 2.0]), a=np.array([9.0, 9.0]))
  report = assign(network, arrays, names=str.upper)
  assert (report.loaded, report.missing, report.skipped) == (('a',), ('b',), ('a',))
  np.testing.assert_array_equal(network['a'], [1.0, 2.0])


@pytest.mark.parametrize('wrong, message', [
    (np.ones((3, 2)), r'1 of 2 arrays have another shape: b is \(2, 3\), b there \(3, 2\)'),
    (np.full((2, 3), np.nan), 'NaN or infinity in b'),
    (np.full((2, 3), np.inf), 'NaN or infinity in b')])
def test_nothing_is_assigned_where_one_array_is_wrong(wrong, message):
  network = variables(a=(2,), b=(2, 3))
  with pytest.raises(ValueError, match=message):
    assign(network, Arrays(a=np.ones(2), b=wrong))
  np.testing.assert_array_equal(network['a'], [0.0, 0.0])


def test_the_summary_counts_and_abbreviates():
  report = Report(
      loaded=('a', 'b'), missing=tuple(f'm{index}' for index in range(10)), skipped=(),
      left=('c',), training=('a/Momentum',))
  assert report.summary().splitlines() == [
      '2 variables loaded',
      '10 missing in the file, initialised anew: m0, m1, m2, m3, m4, m5, m6, m7, ... (2 more)',
      '1 left as initialised on request: c',
      '1 of a training run (momentum, memory, step), not used: a/Momentum']


def test_names_of_mobilenet_v2():
  for ours, theirs in {
      'mobilenet_v2/Conv1/weights': 'Conv1/kernel',
      'mobilenet_v2/bn_Conv1/moving_mean': 'bn_Conv1/moving_mean',
      'mobilenet_v2/block_1_depthwise/weights': 'block_1_depthwise/kernel',
      'mobilenet_v2/expanded_conv_project_BN/gamma': 'expanded_conv_project_BN/gamma'}.items():
    assert pretrained.keras_mobilenet_v2_name(ours) == theirs


@pytest.fixture(scope='module')
def resnet50():
  """Keras Applications' ResNet50 with random weights, biases and statistics."""
  model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 96, 3))
  random = np.random.default_rng(0)
  for variable in model.variables:
    if variable.name == 'kernel':
      scale = np.sqrt(2 / np.prod(variable.shape[:-1]))
      variable.assign(random.normal(size=variable.shape, scale=scale))
    elif variable.name in ('gamma', 'moving_variance'):
      variable.assign(random.uniform(0.5, 1.0, variable.shape))
    else:
      variable.assign(random.normal(size=variable.shape, scale=0.2))
  return model


def arrays_of(model):
  return Arrays({variable.path: variable.numpy() for variable in model.variables})


def converted(model, **kwargs):
  """Our network with the weights of Keras' one."""
  images = keras.Input([None, None, 3])
  options = LayerOptions(epsilon=pretrained.KERAS_RESNET_EPSILON)
  ours = keras.Model(images, resnet_v1(
      images, 'net', BLOCKS['resnet50'], options, output_stride=32)['output'])
  names = {variable.path.replace('.', '/').replace('kernel', 'weights'): variable
           for variable in ours.variables}
  report = assign(names, KerasResNet(arrays_of(model), 'net', **kwargs))
  assert len(report.loaded) == 53 * 5
  assert not report.missing and not report.skipped
  return ours


def test_a_keras_resnet_is_the_same_function(resnet50):
  x = np.random.default_rng(1).uniform(-120, 130, (1, 64, 96, 3)).astype(np.float32)
  expected = resnet50(x[..., ::-1], training=False).numpy()
  # As if Keras subtracted the house's mean: nothing to convert at the borders.
  result = converted(resnet50, mean_rgb=MEAN_RGB)(x, training=False)
  assert result.shape == (1, 2, 3, 2048) and np.abs(expected).max() > 1
  np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())


def test_a_keras_resnet_sees_the_same_colours(resnet50):
  rgb = np.random.default_rng(1).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
  ours = converted(resnet50)
  results = [
      keras.Model(model.input, model.get_layer(name).output)(x, training=False).numpy()
      for model, name, x in (
          (resnet50, 'conv1_bn', keras.applications.resnet.preprocess_input(rgb.copy())),
          (ours, 'net.conv1.BatchNorm', rgb - np.float32(MEAN_RGB)))]
  # Beyond the image there is the one mean colour or the other: at most two cells of conv1.
  inner = [result[:, 2:-2, 2:-2] for result in results]
  np.testing.assert_allclose(*inner, atol=1e-4 * np.abs(inner[0]).max())
  outer = [np.delete(result, np.s_[2:-2], axis=1) for result in results]
  assert 1e-4 < np.abs(outer[0] - outer[1]).max() / np.abs(outer[0]).max() < 0.05


def test_a_keras_resnet_is_told_from_others():
  names = ['conv1_conv/kernel', 'conv1_bn/gamma', 'conv2_block1_1_conv/kernel', 'probs/kernel']
  assert pretrained.is_keras_resnet(names)
  v2 = ['conv1_conv/kernel', 'conv2_block1_preact_bn/gamma', 'conv2_block1_1_conv/kernel']
  assert not pretrained.is_keras_resnet(v2)
  assert not pretrained.is_keras_resnet(['Conv1/kernel', 'bn_Conv1/gamma'])


def test_a_classifier_is_carried_along_by_its_own_name():
  arrays = Arrays({'conv1_conv/kernel': np.ones((7, 7, 3, 4)), 'conv1_conv/bias': np.ones(4),
                   'predictions/kernel': np.ones((2, 3)), 'predictions/bias': np.ones(3)})
  assert sorted(KerasResNet(arrays, 'net').names()) == [
      'net/conv1/weights', 'predictions/bias', 'predictions/kernel']

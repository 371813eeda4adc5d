"""OCR's head against NumPy, and its parts in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from network.common.layers import LayerOptions
from seg_models.models.ocr import ocr
from seg_models.models.registry import ModelConfig, variable_names

CLASSES, DIM = 3, 6


@pytest.fixture(scope='module')
def model():
  config = ModelConfig(name='ocr_hrnet_w18', output_dim=CLASSES, head_dim=DIM)
  output, auxiliary = keras.Input([None, None, 5]), keras.Input([None, None, 4])
  made = keras.Model([output, auxiliary], ocr(
      {'output': output, 'auxiliary': auxiliary}, 'net', config, LayerOptions()))
  random = np.random.default_rng(1)
  for name, variable in variable_names(made).items():
    if name.endswith(('gamma', 'moving_variance')):
      variable.assign(random.uniform(0.5, 1.5, variable.shape))
    else:
      variable.assign(random.normal(size=variable.shape) * 0.4)
  return made


def maps(*size):
  random = np.random.default_rng(0)
  return [random.normal(size=(2, *size, channels)).astype(np.float32) for channels in (5, 4)]


def softmax(x, axis):
  exponentials = np.exp(x - x.max(axis, keepdims=True))
  return exponentials / exponentials.sum(axis, keepdims=True)


def test_the_head_is_the_papers(model):
  values = {name.removeprefix('net/block5/'): variable.numpy().astype(np.float64)
            for name, variable in variable_names(model).items()}

  def linear(x, name):
    kernel = values[f'{name}/weights']
    pad = len(kernel) // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = x.shape[1:3]
    return sum(padded[:, row:row + height, column:column + width] @ kernel[row, column]
               for row in range(len(kernel)) for column in range(len(kernel)))

  def unit(x, name):
    norm = {part: values[f'{name}/BatchNorm/{part}']
            for part in ('gamma', 'beta', 'moving_mean', 'moving_variance')}
    scale = norm['gamma'] / np.sqrt(norm['moving_variance'] + LayerOptions().epsilon)
    return np.maximum((linear(x, name) - norm['moving_mean']) * scale + norm['beta'], 0)

  def logits(x, name):
    return linear(x, name) + values[f'{name}/biases']

  output, auxiliary = maps(5, 7)
  coarse = logits(unit(auxiliary, 'auxiliary/conv1'), 'auxiliary/logits')
  pixels = unit(output, 'ocr/pixels')
  flat = pixels.reshape(2, 35, DIM)
  share = softmax(coarse.reshape(2, 35, CLASSES), 1)  # of each pixel in each soft region
  regions = (share.transpose(0, 2, 1) @ flat)[:, :, np.newaxis]
  queries = unit(unit(pixels, 'ocr/query1'), 'ocr/query2').reshape(2, 35, DIM // 2)
  keys = unit(unit(regions, 'ocr/key1'), 'ocr/key2')[:, :, 0]
  relation = softmax(queries @ keys.transpose(0, 2, 1) / np.sqrt(DIM // 2), 2)
  context = relation @ unit(regions, 'ocr/value')[:, :, 0]
  context = unit(context.reshape(2, 5, 7, DIM // 2), 'ocr/context')
  joined = unit(np.concatenate([context, pixels], -1), 'ocr/joined')
  result = model([output, auxiliary], training=False)
  np.testing.assert_allclose(result['auxiliary'], coarse, atol=1e-4)
  expected = logits(joined, 'ocr/logits')
  assert expected.std() > 0.1
  np.testing.assert_allclose(result['logits'], expected, atol=1e-4)


def test_the_output_alone_teaches_the_soft_regions_too(model):
  with tf.GradientTape() as tape:
    value = tf.reduce_mean(tf.square(model(maps(5, 7), training=True)['logits']))
  for variable, gradient in zip(
      model.trainable_variables, tape.gradient(value, model.trainable_variables), strict=True):
    assert gradient is not None and np.isfinite(gradient).all(), variable.path
    # A constant added to all pixels of a softmax over pixels changes nothing.
    if not variable.path.startswith('net.block5.auxiliary.logits/bias'):
      assert np.abs(gradient).max() > 0, variable.path

import keras
import numpy as np
import pytest
import tensorflow as tf

from network.common import convolution
from network.common.convolution import Conv2D


def gradients(layer, x):
  x = tf.constant(x)
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = layer(x)
    loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
  return [y, *tape.gradient(loss, [x, *layer.trainable_variables])]


@pytest.mark.parametrize('rate', [1, 2, 5, 12, 36])
@pytest.mark.parametrize('padding', ['same', 'valid'])
def test_it_equals_keras(rate, padding):
  size = 2 * rate + 4 if padding == 'valid' else 13
  x = np.random.default_rng(rate).normal(size=(2, size, size + 2, 5)).astype('float32')
  ours, theirs = (
      layer(4, 3, padding=padding, dilation_rate=rate) for layer in (Conv2D, keras.layers.Conv2D))
  ours.build(x.shape)
  theirs.build(x.shape)
  theirs.set_weights(ours.get_weights())
  for found, expected in zip(gradients(ours, x), gradients(theirs, x), strict=True):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize('available', [False, True])
def test_no_batch_is_made_of_space_where_there_is_a_kernel(monkeypatch, available):
  monkeypatch.setattr(convolution, 'has_dilated_gradient', lambda dtype: available)
  layer = Conv2D(4, 3, padding='same', dilation_rate=6)
  graph = tf.function(layer, autograph=False).get_concrete_function(
      tf.TensorSpec([1, 20, 20, 3])).graph
  assert ('SpaceToBatchND' in {op.type for op in graph.get_operations()}) != available


def test_the_question_is_answered_by_trying():
  convolution.has_dilated_gradient.cache_clear()
  x, kernel = tf.ones([1, 5, 5, 1]), tf.ones([3, 3, 1, 1])
  works = True
  try:
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = tf.nn.conv2d(x, kernel, 1, 'SAME', dilations=2)
    tape.gradient(y, x)
  except tf.errors.InvalidArgumentError:
    works = False
  assert convolution.has_dilated_gradient() == works


@pytest.mark.parametrize('dtype', ['mixed_bfloat16', 'mixed_float16'])
def test_lower_precision_has_gradients(dtype):
  layer = Conv2D(4, 3, padding='same', dilation_rate=3, dtype=dtype)
  x = np.random.default_rng(0).normal(size=(1, 9, 9, 3)).astype('float32')
  assert all(np.isfinite(np.asarray(value, 'float32')).all() for value in gradients(layer, x))

import keras
import numpy as np
import pytest
import tensorflow as tf

from network.common.layers import LayerOptions
from network.contrast.projection import KINDS, projection


def build(kind, dim=5, channels=7, **options):
  keras.utils.set_random_seed(0)
  inputs = keras.Input([None, None, channels])
  model = keras.Model(inputs, projection(inputs, kind, dim, 'p', LayerOptions(**options)))
  random = np.random.default_rng(0)
  for variable in model.trainable_variables:
    variable.assign(random.normal(size=variable.shape))
  return model, {variable.path: variable.numpy().astype(np.float64) for variable in model.variables}


X = np.random.default_rng(1).normal(size=[2, 3, 4, 7]).astype(np.float32)


@pytest.mark.parametrize('kind', KINDS)
def test_it_equals_a_numpy_oracle(kind):
  model, weights = build(kind, epsilon=1e-5)
  x = X.astype(np.float64)
  if kind == 'convmlp':
    x = x @ weights['p.conv1/kernel'][0, 0]
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    x = (x - mean) / np.sqrt(variance + 1e-5)
    x = np.maximum(x * weights['p.conv1.BatchNorm/gamma'] + weights['p.conv1.BatchNorm/beta'], 0)
  x = x @ weights['p.conv2/kernel'][0, 0] + weights['p.conv2/bias']
  expected = x / np.linalg.norm(x, axis=-1, keepdims=True)
  np.testing.assert_allclose(model(X, training=True), expected, rtol=1e-4, atol=1e-5)
  assert len(weights) == {'linear': 2, 'convmlp': 7}[kind]


@pytest.mark.parametrize('dtype', ['mixed_float16', 'mixed_bfloat16'])
def test_unit_length_is_float32_under_every_policy(dtype):
  model, _ = build('convmlp', dtype=dtype)
  output = model(X, training=True)
  assert output.dtype == tf.float32
  np.testing.assert_allclose(np.linalg.norm(output, axis=-1), 1, rtol=1e-6)
  model.get_layer('p.conv2').kernel.assign(tf.zeros([1, 1, 7, 5]))
  model.get_layer('p.conv2').bias.assign(tf.zeros([5]))
  with tf.GradientTape() as tape:
    output = model(X, training=True)
    value = tf.reduce_sum(output)
  assert not np.any(output)
  assert all(np.isfinite(g).all() for g in tape.gradient(value, model.trainable_variables))

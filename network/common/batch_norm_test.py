"""Batch norm against NumPy in float64; frozen, in half precision, compiled, and on two replicas."""

import numpy as np
import pytest
import tensorflow as tf

from network.common.batch_norm import BatchNorm
from utils.training import make_strategy

EPSILON, DECAY = 1e-3, 0.9


def image(*shape, seed=0):
  return (np.random.default_rng(seed).normal(size=shape) * 2 + 3).astype(np.float32)


def layer(channels=3, **kwargs):
  """A layer whose four variables are not what they were initialised to."""
  norm = BatchNorm(decay=DECAY, epsilon=EPSILON, **kwargs)
  norm.build([None, None, None, channels])
  random = np.random.default_rng(5)
  for variable in norm.variables:
    variable.assign(random.uniform(0.5, 2.0, channels))
  return norm


def values(norm):
  return {variable.name: variable.numpy().astype(np.float64) for variable in norm.variables}


def normalized(x, mean, variance, before):
  return (x - mean) / np.sqrt(variance + EPSILON) * before['gamma'] + before['beta']


@pytest.mark.parametrize('jit_compile', [None, False, True])
def test_training_uses_the_batch_and_moves_the_statistics(jit_compile):
  norm, x = layer(), image(2, 3, 4, 3)
  call = norm if jit_compile is None else tf.function(norm, jit_compile=jit_compile)
  before, outputs = values(norm), None
  outputs = call(x, training=True)
  after = values(norm)
  mean, variance = x.mean((0, 1, 2), dtype=np.float64), x.var((0, 1, 2), dtype=np.float64)
  np.testing.assert_allclose(outputs, normalized(x, mean, variance, before), atol=1e-5)
  for name, batch in (('moving_mean', mean), ('moving_variance', variance)):
    # Of the batch itself: variance / n. With n - 1 the difference would be 4 %.
    np.testing.assert_allclose(
        after[name], DECAY * before[name] + (1 - DECAY) * batch, rtol=1e-5)
  np.testing.assert_array_equal(after['gamma'], before['gamma'])


@pytest.mark.parametrize('frozen, training', [(False, False), (True, True), (True, False)])
def test_inference_and_frozen_use_the_moving_statistics(frozen, training):
  norm, x = layer(frozen=frozen), image(2, 3, 4, 3)
  before = values(norm)
  expected = normalized(x, before['moving_mean'], before['moving_variance'], before)
  np.testing.assert_allclose(norm(x, training=training), expected, atol=1e-5)
  for name, value in values(norm).items():
    np.testing.assert_array_equal(value, before[name])
  assert len(norm.trainable_variables) == (0 if frozen else 2)


@pytest.mark.parametrize('dtype, atol', [('mixed_bfloat16', 0.03), ('mixed_float16', 0.004)])
def test_statistics_are_float32_under_half_precision(dtype, atol):
  norm = layer(dtype=dtype)
  # Far from zero, where a sum of 2,000 values has no half-precision value.
  x = tf.cast(image(2, 40, 25, 3) + 20, norm.compute_dtype)
  before = values(norm)
  wide = tf.cast(x, tf.float64).numpy()
  outputs = norm(x, training=True)
  assert outputs.dtype == norm.compute_dtype
  assert {variable.dtype for variable in norm.variables} == {'float32'}
  mean, variance = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
  np.testing.assert_allclose(
      tf.cast(outputs, tf.float64), normalized(wide, mean, variance, before), atol=4 * atol)
  np.testing.assert_allclose(
      values(norm)['moving_mean'], DECAY * before['moving_mean'] + (1 - DECAY) * mean, rtol=1e-4)
  evaluated = norm(x, training=False)
  after = values(norm)
  expected = normalized(wide, after['moving_mean'], after['moving_variance'], after)
  np.testing.assert_allclose(tf.cast(evaluated, tf.float64) / expected, 1, atol=atol)


def test_one_value_a_channel_has_no_variance():
  norm = layer()
  before = values(norm)
  outputs = norm(image(1, 1, 1, 3), training=True)
  np.testing.assert_allclose(outputs[0, 0, 0], before['beta'], atol=1e-5)
  np.testing.assert_allclose(
      values(norm)['moving_variance'], DECAY * before['moving_variance'], rtol=1e-6)


def test_two_replicas_equal_one_device_on_the_joined_batch():
  x, weight = image(4, 3, 2, 3), image(4, 3, 2, 3, seed=1)
  # The replicas' halves must differ in their means, or local statistics would do as well.
  x[2:] += 5

  def step(norm, x, weight):
    with tf.GradientTape() as tape:
      tape.watch(x)
      outputs = norm(x, training=True)
      value = tf.reduce_sum(outputs * weight)
    return outputs, *tape.gradient(value, [x, norm.gamma.value, norm.beta.value])
  single = layer()
  expected = step(single, tf.constant(x), weight)

  strategy = make_strategy(2)
  with strategy.scope():
    norm = layer(synchronized=True)

  def halves(value):
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(np.split(value, 2)[context.replica_id_in_sync_group]))

  @tf.function
  def run(x, weight):
    return strategy.run(lambda x, weight: step(norm, x, weight), args=(x, weight))
  outputs, to_x, to_gamma, to_beta = (
      strategy.experimental_local_results(value) for value in run(halves(x), halves(weight)))
  np.testing.assert_allclose(np.concatenate(outputs), expected[0], atol=1e-5)
  np.testing.assert_allclose(np.concatenate(to_x), expected[1], atol=1e-5)
  np.testing.assert_allclose(sum(to_gamma), expected[2], rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(sum(to_beta), expected[3], rtol=1e-4, atol=1e-4)
  for name, value in values(norm).items():
    np.testing.assert_allclose(value, values(single)[name], rtol=1e-5)

import numpy as np
import pytest
import tensorflow as tf

from network.common.cross_entropy import cross_entropy


@pytest.mark.parametrize('class_weights', [None, (0.5, 2.0, 0.0)])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_it_equals_a_numpy_oracle(class_weights, dtype):
  random = np.random.default_rng(0)
  logits = random.normal(size=[2, 3, 4, 3]).astype(dtype)
  labels = random.integers(-1, 4, [2, 3, 4]).astype(np.int32)
  labels[0, 0, 0] = 255
  total = weight = 0.0
  for place in np.ndindex(labels.shape):
    if 0 <= labels[place] < 3:
      shares = np.exp(logits[place].astype(np.float64))
      factor = class_weights[labels[place]] if class_weights else 1.0
      total -= factor * np.log(shares[labels[place]] / shares.sum())
      weight += factor
  actual = cross_entropy(tf.constant(logits), labels, class_weights)
  np.testing.assert_allclose(actual, [total, weight], rtol=1e-5)
  assert all(value.dtype == tf.float32 for value in actual)


def test_nothing_counted_is_zero_with_zero_gradient():
  logits = tf.ones([1, 2, 2, 3])
  with tf.GradientTape() as tape:
    tape.watch(logits)
    total, weight = cross_entropy(logits, tf.fill([1, 2, 2], 255))
  assert float(total) == float(weight) == 0
  assert not np.any(tape.gradient(total, logits))

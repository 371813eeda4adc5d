import numpy as np
import pytest
import tensorflow as tf

from utils.optimizer import MomentumSGD, polynomial_decay


def test_polynomial_decay_is_the_originals():
  assert polynomial_decay(2e-3, 0, 100, 0.9) == 2e-3
  assert polynomial_decay(2e-3, 75, 100, 0.9) == pytest.approx(2e-3 * 0.25 ** 0.9)


def test_steps_equal_a_numpy_oracle():
  random = np.random.default_rng(0)
  start = {name: random.normal(size=(3, 2)).astype(np.float32)
           for name in ('net/weights', 'net/biases', 'net/block5/weights')}
  multipliers = {'net/weights': 1, 'net/biases': 1, 'net/block5/weights': 10}
  variables = {name: tf.Variable(value) for name, value in start.items()}
  optimizer = MomentumSGD(
      variables, momentum=0.9, weight_decay=5e-2, rate_multipliers=multipliers)
  expected = {name: value.astype(np.float64) for name, value in start.items()}
  velocity = {name: np.zeros_like(value) for name, value in expected.items()}
  for rate in (0.1, 0.01, 0.5):  # a changing rate tells this form from Keras'
    gradients = {name: random.normal(size=(3, 2)) for name in start}
    optimizer.apply(
        {name: tf.constant(value, tf.float32) for name, value in gradients.items()},
        tf.constant(rate), tf.distribute.get_strategy())
    for name in start:
      decay = 5e-2 if 'weights' in name else 0.0
      velocity[name] = 0.9 * velocity[name] + gradients[name] + decay * expected[name]
      expected[name] -= rate * multipliers[name] * velocity[name]
  for name in start:
    np.testing.assert_allclose(variables[name].numpy(), expected[name], rtol=1e-5, atol=1e-6)


def test_slots_have_the_names_of_a_tf1_checkpoint():
  optimizer = MomentumSGD(
      {'conv1/weights': tf.Variable([1.0])}, momentum=0.9, weight_decay=0.0,
      rate_multipliers={'conv1/weights': 1.0})
  assert list(optimizer.slots()) == ['conv1/weights/Momentum']

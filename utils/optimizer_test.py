import numpy as np
import pytest
import tensorflow as tf

from utils.optimizer import Adam, MomentumSGD, make_optimizer, polynomial_decay
from utils.training import TrainingConfig


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


def test_adam_equals_a_float64_oracle_in_pytorchs_form():
  random = np.random.default_rng(0)
  start = {name: random.normal(size=(3, 2)).astype(np.float32)
           for name in ('head/weights', 'head/biases', 'probe/kernel')}
  multipliers = {'head/weights': 1, 'head/biases': 1, 'probe/kernel': 10}
  variables = {name: tf.Variable(value) for name, value in start.items()}
  optimizer = Adam(variables, weight_decay=0.05, rate_multipliers=multipliers)
  expected = {name: value.astype(np.float64) for name, value in start.items()}
  mean, square = ({name: np.zeros((3, 2)) for name in start} for _ in range(2))
  for step in range(1, 4):
    # Gradients as small as the epsilon tell where it is added.
    gradients = {name: random.normal(size=(3, 2)) * 1e-8 for name in start}
    optimizer.apply(
        {name: tf.constant(value, tf.float32) for name, value in gradients.items()},
        tf.constant(0.01), tf.distribute.get_strategy())
    for name, gradient in gradients.items():
      if name != 'head/biases':
        gradient = gradient + 0.05 * expected[name]
      mean[name] = 0.9 * mean[name] + 0.1 * gradient
      square[name] = 0.999 * square[name] + 0.001 * gradient ** 2
      scale = np.sqrt(square[name] / (1 - 0.999 ** step)) + 1e-8
      expected[name] -= 0.01 * multipliers[name] * mean[name] / (1 - 0.9 ** step) / scale
    for name in start:
      np.testing.assert_allclose(variables[name].numpy(), expected[name], rtol=2e-6, atol=1e-7)


def test_adams_bias_is_corrected_exactly_in_its_first_step():
  """1 - 0.999 in float32 would be wrong by 1e-5."""
  variable = tf.Variable([0.0])
  optimizer = Adam({'a': variable}, weight_decay=0.0, rate_multipliers={'a': 1.0})
  optimizer.apply({'a': tf.constant([2.0])}, tf.constant(1.0), tf.distribute.get_strategy())
  np.testing.assert_allclose(variable.numpy(), [-1.0], rtol=1e-6)


def test_adams_slots_go_on_where_they_were():
  def make():
    variables = {'a/weights': tf.Variable([1.0, -2.0])}
    return variables, Adam(variables, weight_decay=0.0, rate_multipliers={'a/weights': 1.0})

  def step(optimizer, gradient):
    optimizer.apply({'a/weights': tf.constant(gradient)}, tf.constant(0.1),
                    tf.distribute.get_strategy())

  variables, optimizer = make()
  assert sorted(optimizer.slots()) == ['a/weights/Adam', 'a/weights/Adam_1', 'adam/updates']
  step(optimizer, [1.0, 2.0])
  resumed, other = make()
  resumed['a/weights'].assign(variables['a/weights'])
  for name, slot in other.slots().items():
    slot.assign(optimizer.slots()[name])
  for each in (optimizer, other):
    step(each, [-3.0, 0.5])
  np.testing.assert_array_equal(resumed['a/weights'].numpy(), variables['a/weights'].numpy())


@pytest.mark.parametrize('name, kind', [('momentum', MomentumSGD), ('adam', Adam)])
def test_the_optimizer_by_its_name(name, kind):
  made = make_optimizer(TrainingConfig(optimizer=name), {}, {})
  assert type(made) is kind


def test_an_unknown_optimizer_is_refused():
  with pytest.raises(ValueError, match='--optimizer sgd: momentum or adam'):
    make_optimizer(TrainingConfig(optimizer='sgd'), {}, {})

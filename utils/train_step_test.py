import numpy as np
import pytest
import tensorflow as tf

from utils.train_step import LossScale, StepOutput, TrainStep, uses_xla
from utils.training import TrainingConfig, make_strategy


class Regression:
  """Least squares with one kernel: the smallest method that has every part of one."""

  def __init__(self, strategy, start):
    with strategy.scope():
      self.weights = tf.Variable(start)
    self.seen = []

  def initial_state(self):
    return {'count': np.int32(0)}

  def loss(self, batch, state, step, draw):
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    error = tf.linalg.matvec(batch['x'], self.weights) - batch['y']
    total = tf.reduce_sum(error ** 2)
    examples = tf.cast(tf.size(error), tf.float32)
    return StepOutput(
        total / (examples * replicas), {'error': (total, examples)},
        {'count': state['count'] + 1})


def make(replicas=1, method_class=Regression, **config):
  strategy = make_strategy(replicas)
  method = method_class(strategy, np.array([1.0, -2.0, 0.5], np.float32))
  step = TrainStep(
      method, {'net/weights': method.weights}, TrainingConfig(num_steps=10, **config), strategy,
      {'net/weights': 1.0})
  return method, step


def batches(count, size):
  random = np.random.default_rng(0)
  return [{'x': tf.constant(random.normal(size=(size, 3)), tf.float32),
           'y': tf.constant(random.normal(size=size), tf.float32)} for _ in range(count)]


def oracle(data, decay=5e-4, rate=1e-3):
  weights, velocity = np.array([1.0, -2.0, 0.5]), 0.0
  for step, batch in enumerate(data):
    x, y = batch['x'].numpy().astype(np.float64), batch['y'].numpy()
    gradient = 2 * (x @ weights - y) @ x / len(y) + decay * weights
    velocity = 0.9 * velocity + gradient
    weights = weights - rate * (1 - step / 10) ** 0.9 * velocity
  return weights


@pytest.mark.parametrize('options', [{}, {'jit_compile': True}, {'replicas': 2}])
def test_steps_equal_the_oracle(options):
  data = batches(3, 4)
  method, step = make(**options)
  for index, batch in enumerate(data):
    metrics = step([batch], index)
    if index == 0:
      error = batch['x'].numpy() @ [1.0, -2.0, 0.5] - batch['y'].numpy()
      np.testing.assert_allclose(float(metrics['loss']), np.mean(error ** 2), rtol=1e-5)
      np.testing.assert_allclose(float(metrics['error']), np.mean(error ** 2), rtol=1e-5)
  np.testing.assert_allclose(method.weights.numpy(), oracle(data), rtol=1e-5)
  assert step.state['count'].numpy() == 3


@pytest.mark.parametrize('replicas', [1, 2])
def test_accumulated_batches_equal_the_joined_batch(replicas):
  data = batches(4, 4)
  joined = [
      {name: tf.concat([first[name], second[name]], 0) for name in first}
      for first, second in zip(data[::2], data[1::2], strict=True)]
  method, step = make(iter_size=2, replicas=replicas)
  for index in range(2):
    metrics = step(data[2 * index:2 * index + 2], index)
  np.testing.assert_allclose(method.weights.numpy(), oracle(joined), rtol=1e-5)
  assert metrics['error'].shape == ()


class Diary(Regression):
  """Writes the batches' numbers and, once a step, the step's own as digits."""
  once_a_step = 'steps',

  def initial_state(self):
    return {'draws': np.int32(0), 'steps': np.int32(0)}

  def loss(self, batch, state, step, draw):
    output = super().loss(batch, {'count': 0}, step, draw)
    return output._replace(
        state={'draws': 10 * state['draws'] + draw, 'steps': 10 * state['steps'] + step + 1})


@pytest.mark.parametrize('options', [{}, {'jit_compile': True}, {'replicas': 2}])
@pytest.mark.parametrize('size, draws', [(1, 12), (2, 12345), (3, 12345678)])
def test_each_batch_of_a_step_has_a_number_and_some_state_moves_once(options, size, draws):
  _, step = make(iter_size=size, method_class=Diary, **options)
  data = batches(3 * size, 4)
  for index in range(3):
    step(data[index * size:(index + 1) * size], index)
  assert step.state['draws'].numpy() == draws
  assert step.state['steps'].numpy() == 123


def test_the_step_is_traced_once():
  _, step = make()
  for index, batch in enumerate(batches(3, 4)):
    step([batch], index)
  assert step._whole.experimental_get_tracing_count() == 1


@pytest.mark.parametrize('jit_compile', [False, True])
def test_float16_overflow_changes_nothing_and_halves_the_scale(jit_compile):
  method, step = make(precision='mixed_float16', jit_compile=jit_compile)
  data = batches(1, 4)[0]
  before = float(step.loss_scale.scale)
  metrics = step([{**data, 'y': data['y'] * np.inf}], 0)
  np.testing.assert_array_equal(method.weights.numpy(), np.float32([1.0, -2.0, 0.5]))
  assert float(step.loss_scale.scale) == float(metrics['loss_scale']) == before / 2
  assert not np.isfinite(metrics['gradient_norm'])
  metrics = step([data], 0)
  assert float(metrics['loss_scale']) == before / 2
  np.testing.assert_allclose(method.weights.numpy(), oracle([data]), rtol=1e-4)


class Moving(Regression):
  """A forward pass moves a statistic, like batch norm's, and the state."""

  def __init__(self, strategy, start):
    super().__init__(strategy, start)
    with strategy.scope():
      self.mean = tf.Variable(
          0.0, trainable=False, aggregation=tf.VariableAggregation.MEAN)

  def loss(self, batch, state, step, draw):
    self.mean.assign(self.mean + tf.reduce_mean(batch['x']))
    return super().loss(batch, state, step, draw)


@pytest.mark.parametrize('options', [
    {}, {'jit_compile': True}, {'replicas': 2}, {'iter_size': 2},
    {'iter_size': 2, 'jit_compile': True}, {'iter_size': 2, 'replicas': 2}])
def test_a_step_that_overflows_leaves_what_its_forward_pass_moved(options):
  strategy, size = make_strategy(options.pop('replicas', 1)), options.get('iter_size', 1)
  method = Moving(strategy, np.array([1.0, -2.0, 0.5], np.float32))
  step = TrainStep(
      method, {'net/weights': method.weights, 'net/moving_mean': method.mean},
      TrainingConfig(num_steps=10, precision='mixed_float16', **options), strategy,
      {'net/weights': 1.0})
  data = batches(2 * size, 4)
  step(data[:size], 0)
  before = {name: value.numpy() for name, value in step.saved_variables().items()}
  assert before['state/count'] == size and before['net/moving_mean'] != 0
  for place in range(size):  # whichever batch overflows
    group = list(data[size:])
    group[place] = {**group[place], 'y': group[place]['y'] * np.inf}
    assert not np.isfinite(step(group, 1)['gradient_norm'])
    after = step.saved_variables()
    for name in set(after) - {'loss_scale/scale', 'loss_scale/good_steps'}:
      np.testing.assert_array_equal(after[name], before[name], err_msg=name)
  step(data[size:], 1)
  assert step.state['count'].numpy() == 2 * size
  total = sum(batch['x'].numpy().mean() for batch in data)
  np.testing.assert_allclose(method.mean.numpy(), total, rtol=1e-5)


@pytest.mark.parametrize('options', [
    {}, {'jit_compile': True}, {'replicas': 2}, {'iter_size': 2},
    {'precision': 'mixed_float16'}])
def test_adam_is_the_same_however_the_step_is_done(options):
  """At a constant rate; a step that overflows in float16 changes none of its state."""
  data = batches(4, 4)
  method, step = make(optimizer='adam', power=0.0, weight_decay=0.0, learning_rate=0.1, **options)
  size = options.get('iter_size', 1)
  if 'precision' in options:
    step([{**data[0], 'y': data[0]['y'] * np.inf}], 0)
    assert int(step.optimizer.updates) == 0
  weights, mean, square = np.array([1.0, -2.0, 0.5]), 0.0, 0.0
  for index in range(len(data) // size):
    group = data[index * size:(index + 1) * size]
    metrics = step(group, index)
    assert float(metrics['learning_rate']) == np.float32(0.1)
    gradient = 0.0
    for batch in group:
      x, y = batch['x'].numpy().astype(np.float64), batch['y'].numpy()
      gradient = gradient + 2 * (x @ weights - y) @ x / len(y) / size
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient ** 2
    scale = np.sqrt(square / (1 - 0.999 ** (index + 1))) + 1e-8
    weights = weights - 0.1 * mean / (1 - 0.9 ** (index + 1)) / scale
  np.testing.assert_allclose(method.weights.numpy(), weights, rtol=1e-5)


def test_loss_scale_grows_after_patience():
  scale = LossScale(True, initial=4.0, patience=2)
  for _ in range(2):
    scale.update(tf.constant(True))
  assert float(scale.scale) == 8.0
  assert int(scale.good_steps) == 0


def test_compiling_for_several_replicas_is_refused():
  with pytest.raises(ValueError, match='--jit_compile.*one device'):
    make(replicas=2, jit_compile=True)


@pytest.mark.parametrize('choice, gpus, replicas, expected', [
    (None, 0, 1, False), (None, 1, 1, True), (None, 2, 2, False), (True, 0, 1, True),
    (False, 1, 1, False), (False, 2, 2, False)])
def test_compiled_as_chosen_or_as_suits_the_device(
    monkeypatch, choice, gpus, replicas, expected):
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: [kind] * gpus)
  assert uses_xla(choice, replicas) is expected


def test_a_loss_of_less_than_float32_is_refused():
  class Half(Regression):
    def loss(self, batch, state, step, draw):
      output = super().loss(batch, state, step, draw)
      return output._replace(loss=tf.cast(output.loss, tf.bfloat16))

  strategy = make_strategy(1)
  method = Half(strategy, np.zeros(3, np.float32))
  step = TrainStep(
      method, {'net/weights': method.weights}, TrainingConfig(), strategy, {'net/weights': 1.0})
  with pytest.raises(TypeError, match='Half has a loss of bfloat16'):
    step(batches(1, 4), 0)

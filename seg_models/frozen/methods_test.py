import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from seg_models.datasets import dataset_for
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.run import CONFIGS
from utils.train_step import TrainStep
from utils.training import TrainingConfig, make_strategy

_FIELDS = {field.name for cls in CONFIGS for field in dataclasses.fields(cls)}


@pytest.mark.parametrize('name', FROZEN_METHODS)
def test_a_method_keeps_to_the_protocol(name):
  method = FROZEN_METHODS[name]
  assert method.name == name
  own = {field.name for field in dataclasses.fields(method.Config)}
  assert not own & _FIELDS  # flags are unique
  for settings in (method.DEFAULTS, *method.PRESETS.values()):
    assert set(settings) <= own | _FIELDS
  for preset in method.PRESETS.values():
    assert preset['resampling'] == 'nearest'  # what thresholds were set for
  config = method.Config()
  made = method(method.build_head(12, config, 0), dataset_for(None, 3), config, 2, 0)
  assert set(made.rate_multipliers()) == set(made.variables())
  assert isinstance(made.initial_state(), dict)


_OPTIONS = {
    'stego': {'dim': 6, 'feature_samples': 3, 'neg_samples': 2, 'rec_weight': 0.3,
              'crf_weight': 0.1, 'crf_samples': 30},
    'smooseg': {'dim': 6, 'num_clusters': 7}, 'dino_kmeans': {}, 'dino_linear': {}}


def _batch(seed):
  """Four images of which the halves differ, in features as in how many pixels are labelled."""
  random = np.random.default_rng(seed)
  features = random.normal(size=[2, 4, 5, 6, 12]) + [[[[0.0]]], [[[0.2]]], [[[1.0]]], [[[0.4]]]]
  label = random.integers(0, 3, [4, 10, 12])
  label[:2, 2:] = -1
  image = random.normal(size=[4, 10, 12, 3]) * 60
  return {'features': tf.constant(features[0], tf.float32),
          'partner_features': tf.constant(features[1], tf.float32),
          'label': tf.constant(label, tf.int32), 'image': tf.constant(image, tf.float32)}


@functools.cache
def _after_two_steps(name, replicas=1, **options):
  """Metrics of each step, and all that a checkpoint would hold; of a step that is traced once."""
  # So small a rate that no pixel comes to another cluster by rounding.
  loop = TrainingConfig(batch_size=4, num_steps=10, learning_rate=1e-4, weight_decay=0.0, **options)
  strategy, method = make_strategy(replicas), FROZEN_METHODS[name]
  config = method.Config(**_OPTIONS[name])
  with strategy.scope():
    made = method(method.build_head(12, config, 0), dataset_for(None, 3), config, 4, 0)
  step = TrainStep(made, made.variables(), loop, strategy, made.rate_multipliers())
  metrics = [step([_batch(index)], index) for index in range(2)]
  assert step._whole.experimental_get_tracing_count() == 1
  return metrics, {
      key: value.numpy() for key, value in step.saved_variables().items()}


@pytest.mark.parametrize('name, options', [
    pytest.param(name, options, marks=[pytest.mark.slow] * (name in ('stego', 'smooseg')))
    for name in FROZEN_METHODS
    for options in ({'replicas': 2}, {'jit_compile': True}, {'precision': 'mixed_float16'})
    if name != 'dino_kmeans' or 'replicas' in options])  # which trains as dino_linear does
def test_on_replicas_compiled_or_scaled_a_step_is_that_of_one_device(name, options):
  """Metrics, weights, state and, by momentum's velocities, gradients; twice, for the state.

  Of float16 the loss's scale is left, for a head computes in float32 whatever its trunk does.
  """
  (expected, before), (found, after) = _after_two_steps(name), _after_two_steps(name, **options)
  for values, others in zip(expected, found, strict=True):
    assert values.keys() == others.keys() - {'loss_scale'}
    for key, value in values.items():
      np.testing.assert_allclose(others[key], value, rtol=1e-4, atol=1e-6, err_msg=key)
  assert np.any(before['linear_probe/kernel/Momentum'])
  assert before.keys() == after.keys() - {'loss_scale/scale', 'loss_scale/good_steps'}
  for key, value in before.items():
    scale = max(np.abs(value).max(), 1e-3)  # gradients that vanish but for rounding
    np.testing.assert_allclose(after[key], value, atol=1e-4 * scale, rtol=0, err_msg=key)


def graph_of(method):
  """Names, kinds and inputs of all operations of a step's loss and gradients."""
  config = method.Config()
  made = method(method.build_head(8, config, 0), dataset_for(None, 3), config, 2, 0)

  @tf.function(autograph=False)
  def gradients(batch, state):
    with tf.GradientTape() as tape:
      loss = made.loss(batch, state, 3, 3).loss
    return tape.gradient(loss, [variable.value for variable in made.variables().values()])

  batch = {'features': np.zeros([2, 4, 4, 8], np.float32), 'label': np.zeros([2, 8, 8], np.int32)}
  batch['partner_features'] = batch['features']
  batch, state = (tf.nest.map_structure(tf.constant, values)
                  for values in (batch, made.initial_state()))
  operations = gradients.get_concrete_function(batch, state).graph.get_operations()
  return [(operation.name, operation.type, [value.name for value in operation.inputs])
          for operation in operations]


@pytest.mark.parametrize('name', ['stego', 'smooseg'])
def test_a_step_is_the_same_whatever_the_process_has_built_before(name):
  """TensorFlow orders the terms of sums by operations' names, and Keras counts what it names: a
  resumed run would go another way."""
  expected = graph_of(FROZEN_METHODS[name])
  for _ in range(2):
    image = keras.Input([4, 4, 3])
    keras.Model(image, keras.layers.Dense(3)(keras.layers.Activation('relu')(image)))
  assert graph_of(FROZEN_METHODS[name]) == expected and len(expected) > 100

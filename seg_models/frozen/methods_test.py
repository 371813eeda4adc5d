import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from seg_models.datasets import dataset_for
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.run import CONFIGS

_FIELDS = {field.name for cls in CONFIGS for field in dataclasses.fields(cls)}


@pytest.mark.parametrize('name', FROZEN_METHODS)
def test_a_method_keeps_to_the_protocol(name):
  method = FROZEN_METHODS[name]
  assert method.name == name
  own = {field.name for field in dataclasses.fields(method.Config)}
  assert not own & _FIELDS  # flags are unique
  for settings in (method.DEFAULTS, *method.PRESETS.values()):
    assert set(settings) <= own | _FIELDS
  config = method.Config()
  made = method(method.build_head(12, config, 0), dataset_for(None, 3), config, 2, 0)
  assert set(made.rate_multipliers()) == set(made.variables())
  assert isinstance(made.initial_state(), dict)


def graph_of(method):
  """Names, kinds and inputs of all operations of a step's loss and gradients."""
  config = method.Config()
  made = method(method.build_head(8, config, 0), dataset_for(None, 3), config, 2, 0)

  @tf.function(autograph=False)
  def gradients(batch, state):
    with tf.GradientTape() as tape:
      loss = made.loss(batch, state, tf.constant(3)).loss
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

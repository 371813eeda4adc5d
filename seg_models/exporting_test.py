import gzip
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from seg_models import exporting
from seg_models.methods.methods_test import CASES, batch_of, make
from utils import stablehlo
from utils.train_step import StepOutput, TrainStep
from utils.training import TrainingConfig


class Walk:
  """One kernel and one bias, a state, and a random number of each step."""

  def __init__(self, seed):
    self.seed = seed
    self.variables = {'net/weights': tf.Variable([[1.0, -2.0], [0.5, 3.0]]),
                      'net/biases': tf.Variable([0.0, 1.0])}

  def initial_state(self):
    return {'total': np.float32(0)}

  def loss(self, batch, state, step, draw):
    values = tf.linalg.matvec(self.variables['net/weights'], batch['image'])
    noise = tf.cast(tf.stack([self.seed, step])[0] % 7, tf.float32)
    loss = tf.reduce_mean((values + self.variables['net/biases'] + noise) ** 2)
    return StepOutput(loss, {'noise': (noise, tf.constant(1.0))}, {'total': state['total'] + loss})


BATCH = {'image': tf.constant([[1.0, 2.0], [0.0, 1.0]]), 'index': tf.constant([4, 5], tf.int64)}


def walk(**config):
  method = Walk(seed=12)
  return TrainStep(
      method, method.variables, TrainingConfig(num_steps=4, learning_rate=0.1, **config),
      tf.distribute.get_strategy(), dict.fromkeys(method.variables, 1.0))


def test_the_program_is_the_step():
  step = walk()
  program = exporting.export_step(step, BATCH, seed=12)
  assert step.method.seed == 12
  assert [argument.name for argument in program.arguments[:4]] == [
      'batch/image', 'learning_rate', 'seed', 'step']
  assert {argument.name for argument in program.arguments[4:]} == set(step.saved_variables())
  metrics, error = exporting.check_program(program, step, BATCH, steps=3)
  assert error < 1e-6
  for values in metrics:
    assert {'loss', 'noise', 'gradient_norm', 'learning_rate'} == set(values)
    for expected, found in values.values():
      assert found == pytest.approx(expected, rel=1e-6)
  assert metrics[0]['loss'][0] != metrics[2]['loss'][0]
  assert metrics[2]['learning_rate'][1] == pytest.approx(0.1 * 0.5 ** 0.9)


def test_rate_and_seed_are_arguments():
  program = exporting.export_step(walk(), BATCH, seed=12)
  values = {argument.name: argument.value for argument in program.arguments}

  def call(**others):
    results = stablehlo.load(program.text)(
        *(tf.constant(value) for value in {**values, **others}.values()))
    return {result.name: value.numpy()
            for result, value in zip(program.results, results, strict=True)}
  plain = call()
  assert call(seed=np.int32(13))['metrics/noise'] == 13 % 7 != plain['metrics/noise']
  still = call(learning_rate=np.float32(0))
  np.testing.assert_array_equal(still['net/weights'], values['net/weights'])
  assert (plain['net/weights'] != values['net/weights']).all()


def test_a_skipped_float16_step_is_one_in_the_program_too():
  step = walk(precision='mixed_float16')
  batch = {'image': BATCH['image'] * np.float32(1e17)}
  program = exporting.export_step(step, batch, seed=12)
  before = step.variables['net/weights'].numpy()
  metrics, error = exporting.check_program(program, step, batch, steps=1)
  assert metrics[0]['loss_scale'] == (2.0 ** 14, 2.0 ** 14) and error == 0
  np.testing.assert_array_equal(step.variables['net/weights'].numpy(), before)


@pytest.mark.parametrize('random_weights', [False, True])
def test_files_say_what_they_hold(tmp_path, random_weights):
  program = exporting.export_step(walk(), BATCH, seed=12)
  exporting.save_program(program, tmp_path, {'batch_size': 2}, random_weights)
  assert gzip.decompress((tmp_path / 'step.mlir.gz').read_bytes()).decode() == program.text
  described = json.loads((tmp_path / 'step.json').read_text())
  assert described['batch_size'] == 2
  with np.load(tmp_path / 'inputs.npz', allow_pickle=False) as inputs:
    for place, argument in enumerate(described['arguments']):
      kernel = argument['name'] == 'net/weights'
      assert argument['in_inputs'] == (f'arg{place}' in inputs) == (not (random_weights and kernel))
      if argument['in_inputs']:
        array = inputs[f'arg{place}']
        np.testing.assert_array_equal(array, program.arguments[place].value)
        assert (list(array.shape), array.dtype.name) == (argument['shape'], argument['dtype'])
  followed = {argument['name']: argument['next_is_result'] for argument in described['arguments']}
  for place, result in enumerate(described['results']):
    if result['name'].startswith('metrics/'):
      assert result['next_is_argument'] is None
    else:
      assert followed.pop(result['name']) == place
      assert described['arguments'][result['next_is_argument']]['name'] == result['name']
  assert {name for name, place in followed.items() if place is None} == set(followed) == {
      'batch/image', 'learning_rate', 'seed', 'step'}


def test_steps_of_several_batches_are_refused():
  with pytest.raises(ValueError, match='--iter_size 2'):
    exporting.export_step(walk(iter_size=2), BATCH, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize('name, options', CASES)
def test_every_method_has_a_program_of_static_shapes_whose_state_is_fed_back(name, options):
  step = make(name, options)
  program = exporting.export_step(step, batch_of(0), seed=step.config.seed)
  fed = {result.name for result in program.results if result.argument is not None}
  assert fed == set(step.saved_variables())
  assert not re.search(r'custom_call|mhlo|tensor<\?', program.text)
  if name == 'segsort':
    metrics, error = exporting.check_program(program, step, batch_of(0), steps=1)
    assert error < 1e-3
    assert metrics[0]['loss'][1] == pytest.approx(metrics[0]['loss'][0], rel=1e-4)

"""A training step as a program that runs without TensorFlow, with its inputs and what they are."""

import gzip
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from utils import files, stablehlo
from utils.optimizer import polynomial_decay

# Of batches: names the images, for messages; no step looks at it.
_UNUSED = ('index',)


class Argument(NamedTuple):
  """An argument of the program.

  name: `batch/...`, `step`, `learning_rate`, `seed`, or a variable's name in checkpoints.
  value: np.ndarray of the first call.
  drawn: whether it is a kernel as initialised, for which random numbers do as well.
  """
  name: str
  value: np.ndarray
  drawn: bool


class Result(NamedTuple):
  """A result of the program: `metrics/...`, or an argument's value for the next step.

  argument: place of that argument, None for metrics.
  """
  name: str
  argument: int | None


class Program(NamedTuple):
  """A step as StableHLO text; see `export_step`."""
  text: str
  arguments: list
  results: list


def export_step(train_step, batch, seed):
  """The step that `train_step` does next, as a program.

  Everything that changes from step to step is an argument: the batch, the number of the step, the
  learning rate, the seed of what is random, weights, momenta, the method's memory.

  Args:
    train_step: `utils.train_step.TrainStep` of one replica, on one batch a step.
    batch: dict of tensors, as `training_batches` gives it.
    seed: int, the run's.

  Returns:
    `Program`. A step returns the metrics and the new values of arguments.

  Raises:
    ValueError: the step is of several replicas or batches.
  """
  config, method = train_step.config, train_step.method
  if train_step.strategy.num_replicas_in_sync > 1 or config.iter_size > 1:
    raise ValueError(f'--iter_size {config.iter_size}: a program is a step of one replica on one '
                     'batch')
  rate = polynomial_decay(config.learning_rate, 0, config.num_steps, config.power)
  given = {
      'batch': {name: value for name, value in batch.items() if name not in _UNUSED},
      'learning_rate': tf.constant(rate, tf.float32), 'seed': tf.constant(seed, tf.int32),
      'step': tf.constant(0, tf.int32)}

  @tf.function(jit_compile=True, autograph=False)
  def whole_step(given):
    method.seed, own = given['seed'], getattr(method, 'seed', None)
    try:
      return train_step.whole_step(given['batch'], given['step'], given['learning_rate'])
    finally:
      method.seed = own

  # What is traced by being called can tell that XLA compiles it; `program` itself is not called,
  # and its own tracing would not say so (network/segsort/compilation.py).
  program = tf.function(lambda given: whole_step(given), jit_compile=True, autograph=False)

  concrete = program.get_concrete_function(given)
  text, updates = stablehlo.lower(program, given)
  arguments = [
      Argument(name, value.numpy(), False) for name, value in _flatten(given)] + [
          _captured(train_step, tensor) for tensor in concrete.captured_inputs]
  metrics = [f'metrics/{name}' for name, _ in _flatten(concrete.structured_outputs)]
  results = [Result(name, None) for name in metrics] + [
      Result(arguments[updates[place]].name, updates[place])
      for place in range(len(metrics), len(metrics) + len(updates))]
  _check_signature(text, arguments, results)
  return Program(text, arguments, results)


def _flatten(values, prefix=''):
  """Yields (name, tensor) of nested dicts in the order of `tf.nest.flatten`."""
  for name in sorted(values):
    if isinstance(values[name], dict):
      yield from _flatten(values[name], f'{prefix}{name}/')
    else:
      yield f'{prefix}{name}', values[name]


def _captured(train_step, tensor):
  """The argument that a captured tensor becomes: a variable by its name, or a constant."""
  for name, variable in train_step.saved_variables().items():
    handle = getattr(getattr(variable, 'value', variable), 'handle', None)
    handle = variable.handle if handle is None else handle
    if handle is tensor:
      kernel = name in train_step.trainable and len(variable.shape) > 1
      return Argument(name, variable.numpy(), kernel)
  return Argument('constant', tensor.numpy(), False)


def _check_signature(text, arguments, results):
  declared, returned = stablehlo.signature(text)
  found = [(value.shape, value.dtype.name) for _, value, _ in arguments]
  if declared != found or len(returned) != len(results):
    raise RuntimeError('the program does not have the arguments and results that were expected of '
                       'it: its form has changed with the version of TensorFlow')


def save_program(program, directory, settings, random_weights=False):
  """Writes step.mlir.gz, inputs.npz and step.json.

  Args:
    program: `Program`.
    directory: path.
    settings: dict of JSON values that says what the step is of; goes into step.json.
    random_weights: leave kernels out of inputs.npz: what runs the program draws them.
  """
  directory = pathlib.Path(directory)
  shapes, types = stablehlo.signature(program.text)
  result_of = {result.argument: place for place, result in enumerate(program.results)}
  with files.replacing(directory / 'step.mlir.gz') as file:
    with gzip.GzipFile('', 'wb', fileobj=file, mtime=0) as packed:
      packed.write(program.text.encode())
  given = [not (random_weights and argument.drawn) for argument in program.arguments]
  with files.replacing(directory / 'inputs.npz') as file:
    np.savez_compressed(file, **{
        f'arg{place}': argument.value for place, argument in enumerate(program.arguments)
        if given[place]})
  files.write_json(directory / 'step.json', {
      **settings,
      'arguments': [
          {'name': argument.name, 'shape': shape, 'dtype': dtype, 'in_inputs': given[place],
           'next_is_result': result_of.get(place)}
          for place, (argument, (shape, dtype)) in enumerate(
              zip(program.arguments, shapes, strict=True))],
      'results': [
          {'name': result.name, 'shape': shape, 'dtype': dtype,
           'next_is_argument': result.argument}
          for result, (shape, dtype) in zip(program.results, types, strict=True)]})


def check_program(program, train_step, batch, steps=2):
  """Runs a program here, by TensorFlow's XLA, beside the step that it was made of.

  Args:
    program: of `export_step`; `train_step` has not moved since. It does `steps` steps now.
    batch: of every step.

  Returns:
    The metrics of each step, a list of name -> (of the step, of the program); and the largest
    difference of a variable after the first step, relative to its largest entry (for momenta, to
    1e-3 of the largest momentum at least: some vanish but for rounding).
  """
  run = stablehlo.load(program.text)
  places = {argument.name: place for place, argument in enumerate(program.arguments)}
  values = [tf.constant(argument.value) for argument in program.arguments]
  metrics, errors = [], []
  for step in range(steps):
    expected = {name: float(value) for name, value in train_step([batch], step).items()}
    values[places['step']] = tf.constant(step)
    values[places['learning_rate']] = tf.constant(expected['learning_rate'])
    results = run(*values)
    found = {result.name: value for result, value in zip(program.results, results, strict=True)}
    for result, value in zip(program.results, results, strict=True):
      if result.argument is not None:
        values[result.argument] = value
    metrics.append({
        name: (value, float(found[f'metrics/{name}'])) for name, value in expected.items()})
    if step == 0:
      errors = list(_errors(train_step.saved_variables(), found))
  return metrics, max(errors)


def _errors(variables, found):
  momenta = [np.abs(value.numpy()).max() for name, value in variables.items()
             if name.endswith('/Momentum')]
  for name, variable in variables.items():
    expected = variable.numpy().astype(np.float64)
    floor = 1e-3 * max(momenta) if name.endswith('/Momentum') else 0.0
    if name in found and expected.size:
      error = np.abs(found[name].numpy().astype(np.float64) - expected).max()
      yield error / max(np.abs(expected).max(), floor, 1e-30)

"""Comparison of a whole network with a stored output of the original implementation.

The file's format is that of pspnet_resnet101_240.npz: `names` and `shapes` of the variables and
`out`, what the original computes with weights and an input that are formulas, so that both sides
can make them. The weights go through a checkpoint on disk and `--restore_from`'s own code.
"""

import ast
import pathlib
import tempfile
import zlib

import numpy as np

from seg_models.models import (
    BACKBONES,
    ModelConfig,
    build_model,
    output_stride_of,
    variable_names,
)
from seg_models.models.restoring import config_for, restore_model
from utils import checkpoints
from utils.comparison import Comparison, mismatches, relative_error

TOLERANCE = 1e-4
# Keys that say what the network is given; without them input and size follow from `out`.
INPUTS = ('input', 'input_size')


def formula_weights(name, shape):
  """The weights that a variable has by its name alone.

  Args:
    name: of the variable, in the original's spelling.
    shape: tuple of ints.

  Returns:
    float32 array.
  """
  random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7fffffff)
  normal = random.standard_normal(shape).astype(np.float32)
  if name.endswith('weights'):
    return normal * np.float32(np.sqrt(1.0 / np.prod(shape[:-1])))
  if name.endswith('gamma'):
    return 1 + np.float32(0.1) * normal
  if name.endswith('variance'):
    return 1 + np.float32(0.1) * np.abs(normal)
  return np.float32(0.1) * normal


def compare_network(arrays, model_name):
  """Builds the network that a file describes and compares what it computes.

  Args:
    arrays: mapping of names to arrays, as of `np.load`: `names` and `shapes` (text such as
      '(7, 7, 3, 64)'), `out` [B, h, w, D]; `input` [B, H, W, 3] or `input_size` (H, W) where H
      and W are not h and w times the output stride.
    model_name: a name of `seg_models.models`, such as 'pspnet_resnet101'.

  Returns:
    List of `Comparison` of those of `names`, `shapes` (number of variables that differ) and `out`
    (relative to its largest magnitude) that are in the file. Where variables are missing, the
    error of `out` is infinite.

    Empty for a file with neither `out` nor `names` and `shapes`: nothing can be compared.

  Raises:
    ValueError: there is no such model.
  """
  ModelConfig(name=model_name)
  if 'out' not in arrays and not {'names', 'shapes'} <= set(arrays):
    return []
  shapes = {}
  if {'names', 'shapes'} <= set(arrays):
    texts = (str(text) for text in arrays['shapes'])
    shapes = {str(name): tuple(ast.literal_eval(text))
              for name, text in zip(arrays['names'], texts, strict=True)}
  config = _config(model_name, shapes, arrays)
  own = {name: tuple(value.shape) for name, value in variable_names(build_model(config)).items()}
  shapes = shapes or own

  comparisons = []
  if 'names' in arrays:
    names = {str(name) for name in arrays['names']}
    comparisons.append(Comparison('names', float(len(names ^ set(own))), 0.0))
  if 'shapes' in arrays:
    common = [name for name in own if name in shapes]
    differing = mismatches([str(own[name]) for name in common],
                           [str(shapes[name]) for name in common])
    comparisons.append(Comparison('shapes', differing, 0.0))
  if 'out' in arrays:
    error = float('inf')
    if all(shapes.get(name) == shape for name, shape in own.items()):
      error = relative_error(_run(config, shapes, arrays), arrays['out'])
    comparisons.append(Comparison('out', error, TOLERANCE))
  return comparisons


def _config(model_name, shapes, arrays):
  """The configuration of the network whose variables have these shapes."""
  config = ModelConfig(name=model_name)
  scope = BACKBONES[config.parts()[1]]

  def filters(*names):
    found = [shapes[f'{scope}/{name}'][-1] for name in names if f'{scope}/{name}' in shapes]
    return found[0] if found else None
  fields = {'output_dim': filters('block5/fc1_voc12/weights', 'fc1_c0/weights')}
  if not fields['output_dim'] and 'out' in arrays:
    fields['output_dim'] = arrays['out'].shape[-1]
  if config.head_dim is not None:
    fields['head_dim'] = filters('block5/conv2/weights', 'block5/projection/weights')
  if config.blocks:
    fields['width'] = (filters('conv1/weights') or 64) / 64
    fields['blocks'] = tuple(
        sum(name.startswith(f'{scope}/block{block}/') and name.endswith('/conv1/weights')
            for name in shapes) for block in range(1, 5))
    if 0 in fields['blocks']:
      del fields['blocks']
  return ModelConfig(name=model_name, **{
      name: value for name, value in fields.items() if value is not None})


def _run(config, shapes, arrays):
  """Output of the network after the weights went through a checkpoint of the original's kind."""
  with tempfile.TemporaryDirectory(prefix='segsort_reference_') as folder:
    prefix = str(pathlib.Path(folder) / 'model.ckpt-0')
    checkpoints.save(prefix, {
        name: formula_weights(name, shape) for name, shape in shapes.items()})
    config = config_for(prefix, config)
    model = build_model(config)
    restore_model(model, prefix)
  return model(_input(arrays, output_stride_of(config)), training=False).numpy()


def _input(arrays, stride):
  """float32 [B, H, W, 3]: the file's own, or the formula's at the file's size."""
  if 'input' in arrays:
    return np.asarray(arrays['input'], np.float32)
  batch, *cells = np.asarray(arrays['out']).shape[:3]
  size = [count * stride for count in cells]
  if 'input_size' in arrays:
    size = np.broadcast_to(np.asarray(arrays['input_size'], int).reshape(-1), [2]).tolist()
  random = np.random.RandomState(7)
  return random.uniform(-120, 130, (batch, *size, 3)).astype(np.float32)

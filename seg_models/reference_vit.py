"""Comparison of the vision transformer with stored outputs of the original implementation.

Two formats, maps as [B, C, h, w], images as the original's network takes them (normalised):

- dino_vit.npz: `inputs/<H>x<W>`, `<model>/params/<public name>` and
  `<model>/<H>x<W>/<quantity>_<f32 or f64>`;
- smooseg.npz: `vit/param/<public name>`, `vit/<H>x<W>/<quantity>` with an `img` each, and
  `pos<n>/in`, `pos<n>/out<H>[x<W>]`, a position embedding of n x n patches and what it is for an
  image of that size, patches of 8.

The weights go through `--restore_from`'s own code. Patch, width, depth, and grid are those of the
parameters; the heads those of a stored attention, else of `<model>/heads`, else 3.
"""

import math
import re

import keras
import numpy as np
import tensorflow as tf

from network.common import vision_transformer as vit
from network.common.layers import LayerOptions
from network.common.position_embedding import resample_positions
from network.common.preprocessing import MEAN_RGB
from network.common.pretrained import assign
from network.common.pretrained_vit import PublicTransformer, public_name
from seg_models.models import variable_names
from utils.comparison import Comparison, relative_error

TOLERANCE = 1e-4
_POSITION_TOLERANCE = 1e-5
_SIZE = re.compile(r'(\d+)x(\d+)')
# What the two formats call a quantity -> what it is called here.
_QUANTITIES = {
    'tokens': 'tokens', 'patch_tokens_nchw': 'output', 'featmap': 'output',
    'pos_embed_interp': 'positions', 'pos': 'positions', 'embedded': 'embedded',
    'last_attn': 'attention', 'KK_feat_nchw': 'keys'}
_MAPS = ('output', 'keys')


class _Arrays(dict):
  """Arrays as the readers of weights want them."""

  def names(self):
    return list(self)

  def shape(self, name):
    return self[name].shape

  def read(self, name):
    return self[name]


class _Model:
  """A transformer with the weights of a file, and what it computes at each size."""

  def __init__(self, params, heads):
    arrays = PublicTransformer(_Arrays(params))
    there = set(arrays.names())
    lacking = {'patch_embed.proj.weight', 'pos_embed', 'blocks.0.norm1.weight'} - there
    if lacking:
      raise ValueError(f'{min(lacking)} is not among the parameters')
    patch, _, _, channels = arrays.shape('patch_embed.proj.weight')
    depth = len({name.split('.')[1] for name in there if name.startswith('blocks.')})
    shape = vit.Shape(
        patch, channels, depth, heads, math.isqrt(arrays.shape('pos_embed')[0] - 1),
        'blocks.0.ls1.gamma' in there)
    images = keras.Input([None, None, 3])
    self._network = keras.Model(
        images, vit.vision_transformer(images, 'vit', shape, LayerOptions()))
    report = assign(variable_names(self._network), arrays, public_name)
    left = [*report.missing, *(name for name in report.skipped if name != 'mask_token')]
    if left:
      raise ValueError(f'{left[0]} is in the network alone or in the file alone')
    self._table, self._patch = arrays.read('pos_embed'), patch
    self._results = {}

  def quantity(self, name, size, inputs):
    """One of the values of `_QUANTITIES`, for the images [B, 3, H, W] of a size, such as 48x80.

    Raises:
      KeyError: there are no images of the size, and they are needed.
    """
    if name == 'positions':
      return positions(self._table, map(int, size.split('x')), self._patch)
    if size not in self._results:
      x = np.moveaxis(inputs[size], 1, -1) * vit.IMAGENET_DEVIATION + vit.IMAGENET_MEAN
      self._results[size] = self._network((255 * x - MEAN_RGB).astype(np.float32), training=False)
    value = self._results[size][name].numpy()
    return np.moveaxis(value, -1, 1) if name in _MAPS else value


def positions(table, size, patch):
  """[1, 1 + h * w, C] for an image of a size (H, W), from a table [1 + n * n, C]."""
  height, width = (-(-side // patch) for side in size)
  return resample_positions(tf.constant(table, tf.float32), height, width).numpy()[np.newaxis]


def compare_vit(arrays):
  """Computes every quantity of a file in the format of dino_vit.npz that is known here.

  Args:
    arrays: mapping of names to arrays, as of `np.load`; which models and sizes there are is open.

  Returns:
    comparisons: list of `Comparison`, in the order of the file.
    not_compared: dict of the names that are neither inputs nor compared, with the reason.

  Raises:
    ValueError: the parameters of a model are not those of one transformer.
  """
  inputs = {name.partition('/')[2]: np.asarray(value) for name, value in arrays.items()
            if name.startswith('inputs/')}
  rest = {name: np.asarray(value) for name, value in arrays.items()
          if not name.startswith('inputs/')}
  comparisons, not_compared = [], {}
  for model in dict.fromkeys(name.partition('/')[0] for name in rest):
    prefix = f'{model}/'
    values = {name[len(prefix):]: value for name, value in rest.items() if name.startswith(prefix)}
    if model in rest:
      not_compared[model] = 'not known'
    found, left = _compare_model(model, values, 'params/', inputs)
    comparisons += [Comparison(prefix + entry.name, entry.error, entry.tolerance)
                    for entry in found]
    not_compared.update({prefix + name: reason for name, reason in left.items()})
  return comparisons, not_compared


def compare_vit_keys(arrays):
  """Likewise for the part of a file in the format of smooseg.npz: names `vit/...` and `pos<n>/...`.

  Other names are neither compared nor listed.
  """
  comparisons, not_compared = [], {}
  values = {name[4:]: np.asarray(value) for name, value in arrays.items()
            if name.startswith('vit/')}
  inputs = {name.removesuffix('/img'): value for name, value in values.items()
            if name.endswith('/img')}
  values = {name: value for name, value in values.items() if not name.endswith('/img')}
  found, left = _compare_model('vit', values, 'param/', inputs)
  comparisons += [Comparison(f'vit/{entry.name}', entry.error, entry.tolerance) for entry in found]
  not_compared.update({f'vit/{name}': reason for name, reason in left.items()})
  for name, expected in arrays.items():
    match = re.fullmatch(r'(pos\d+)/(?:in|out(\d+)(?:x(\d+))?)', name)
    if match is None:
      if re.match(r'pos\d+/', name):
        not_compared[name] = 'not known'
    elif match.group(2):
      source = f'{match.group(1)}/in'
      if source not in arrays:
        not_compared[name] = f'{source} is not in the file'
        continue
      height, width = int(match.group(2)), int(match.group(3) or match.group(2))
      actual = positions(np.asarray(arrays[source])[0], (height, width), 8)
      comparisons.append(
          Comparison(name, relative_error(actual, expected), _POSITION_TOLERANCE))
  return comparisons, not_compared


def _compare_model(label, values, params, inputs):
  """Comparisons and what is left out of one model; inputs by the text of their size."""
  weights = {name.removeprefix(params): value for name, value in values.items()
             if name.startswith(params)}
  heads = values.get('heads', 3)
  values = {name: value for name, value in values.items()
            if not name.startswith(params) and name != 'heads'}
  for name, value in values.items():
    if name.rpartition('/')[2].startswith('last_attn'):
      heads = value.shape[1]
  comparisons, not_compared, model = [], {}, None
  for name, expected in values.items():
    size, _, quantity = name.partition('/')
    quantity = _QUANTITIES.get(re.sub(r'_f(32|64)$', '', quantity))
    if quantity is None or not _SIZE.fullmatch(size):
      not_compared[name] = 'not known'
    elif not weights:
      not_compared[name] = "the model's parameters are not in the file"
    elif size not in inputs and quantity != 'positions':
      not_compared[name] = f'there is no input of the size {size}'
    else:
      try:
        model = model or _Model(weights, int(heads))
      except ValueError as error:
        raise ValueError(f'{label}: {error}') from error
      actual = model.quantity(quantity, size, inputs)
      tolerance = _POSITION_TOLERANCE if quantity == 'positions' else TOLERANCE
      comparisons.append(Comparison(name, relative_error(actual, expected), tolerance))
  return comparisons, not_compared

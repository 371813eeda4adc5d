"""Comparison of SmooSeg with stored outputs of the original implementation.

The file's format is that of smooseg.npz: names `<case>/<quantity>`, of cases with a loss
`<case>/f32/<quantity>` or f64, maps as [B, C, h, w]. What kind of case it is shows in the
quantities that it has; a large array X may be given by numbers about it, `X_stats` (mean, standard
deviation, least, greatest, mean square), `X_b0` (of the first image's first pixel), `X_norm` and
`X_row0`. Losses and maps are to agree within 1e-5 of their scale, gradients within 1e-4, labels
exactly.
"""

import re

import numpy as np
import tensorflow as tf

from network.smooseg.losses import closeness, label_distance
from network.smooseg.predictor import teacher_cosines
from network.stego.pairing import faithful_pairing
from seg_models.reference_contrast_parts import NotComparable, maps_of
from seg_models.reference_smooseg_parts import (
  GRADIENT_TOLERANCE,
  LOSS_TOLERANCE,
  TEMPERATURE,
  THRESHOLDS,
  channels_first,
  compare_inference,
  compare_pairing,
  compare_scores,
  compare_training,
  compared,
  losses,
  make_projector,
  masks_of,
  projector_variables,
)
from seg_models.reference_vit import compare_vit_keys
from utils.comparison import Comparison

_WEIGHTS = tuple(f'{name}{kind}' for name in ('c1', 'c2a', 'c2b') for kind in 'wb')
_INPUTS = {'feats', 'mask0', 'mask1', 'mask2', 'perm_draw', 'local', 'global', 'b1b2', *_WEIGHTS}
# Numbers about a large array instead of the array.
_ABOUT = {
    '_stats': lambda x: np.array(
        [x.mean(), x.std(ddof=1), x.min(), x.max(), (x.astype(np.float64) ** 2).mean()]),
    '_b0': lambda x: x[0, :, 0, 0] if x.ndim == 4 else x[0, 0, 0],
    '_norm': np.linalg.norm, '_row0': lambda x: x[0]}
_UNCENTRED = 'nopointwise_'


def compare_smooseg(arrays):
  """Computes every quantity of a file of outputs that is known here.

  Args:
    arrays: mapping of names to arrays, as of `np.load`; which cases there are is open.

  Returns:
    comparisons: list of `Comparison`.
    not_compared: dict of the names that are neither inputs nor compared, with the reason.
  """
  of_trunk = {name: arrays[name] for name in arrays if re.match(r'(vit|pos\d+)/', name)}
  comparisons, not_compared = compare_vit_keys(of_trunk)
  cases = {}
  for name in arrays:
    if name not in of_trunk:
      case, _, quantity = name.partition('/')
      cases.setdefault(case, {})[quantity] = np.asarray(arrays[name])
  for case, values in cases.items():
    compared_here, left = _compare_case(values, cases)
    comparisons += [Comparison(f'{case}/{entry.name}', entry.error, entry.tolerance)
                    for entry in compared_here]
    not_compared.update(
        {f'{case}/{name}' if name else case: reason for name, reason in left.items()})
  return comparisons, not_compared


def _compare_case(values, cases):
  """Comparisons and what is left out of one case, by the names of its quantities."""
  if any(name.startswith('draw') for name in values):
    return compare_pairing(values)
  if {'code1', 'code2_of_flipped', 'proto'} <= values.keys():
    return compare_inference(values)
  if {'init/c1w', 'feats', 'masks', 'perms'} <= values.keys():
    return compare_training(values)
  if 'pred' in values:
    return compare_scores(values, cases.get('metric', {}).get('label'))
  if any(name.startswith(('f32/', 'f64/')) for name in values):
    return _compare_loss(values)
  return [], dict.fromkeys(values, 'not known')


def _compare_loss(values):
  """A case with a loss: what is of float32 and of float64 is the same of the same inputs."""
  inputs = {}
  for name, value in values.items():
    precision, _, quantity = name.partition('/')
    if precision == 'f32' or quantity not in inputs:
      inputs[quantity] = value
  case = _LossCase(inputs)
  comparisons, not_compared = [], {}
  for name, expected in values.items():
    quantity = name.partition('/')[2]
    # A pairing is to be found from its draw, and is given without.
    if quantity in _INPUTS or quantity == 'perm' and 'perm_draw' not in inputs:
      continue
    if quantity == 'centring_identity_maxerr':
      not_compared[name] = 'an error of rounding of the original'
      continue
    try:
      actual = case.quantity(quantity)
    except NotComparable as reason:
      not_compared[name] = str(reason)
      continue
    gradient = quantity.removeprefix(_UNCENTRED).startswith('g_')
    comparisons.append(compared(
        name, actual, expected, GRADIENT_TOLERANCE if gradient else LOSS_TOLERANCE))
  return comparisons, not_compared


class _LossCase:
  """The inputs of a case and, computed when first asked for, what follows from them."""

  def __init__(self, inputs):
    self._inputs = inputs
    self._results = {}

  def quantity(self, name):
    """The array of that name; a `NotComparable` says why there is none."""
    pointwise = not name.startswith(_UNCENTRED)
    results = self._result(pointwise)
    name = name.removeprefix(_UNCENTRED)
    # Of the loss without centring the bare names are used.
    for known in (name, f'loss_{name}'):
      if known in results:
        return results[known]()
    for suffix, about in _ABOUT.items():
      if name.endswith(suffix) and name.removesuffix(suffix) in results:
        return about(results[name.removesuffix(suffix)]())
    raise NotComparable('not known')

  def _input(self, name):
    if name not in self._inputs:
      raise NotComparable(f'{name} is not in the file')
    return self._inputs[name]

  def _partner(self):
    if 'perm' in self._inputs:
      return self._inputs['perm'].astype(np.int32)
    return faithful_pairing(self._input('perm_draw').astype(np.int32)).numpy()

  def _result(self, pointwise):
    if pointwise not in self._results:
      self._results[pointwise] = self._compute(pointwise)
    return self._results[pointwise]

  def _compute(self, pointwise):
    """Name -> function that returns the quantity."""
    projector = make_projector({name: self._input(name) for name in _WEIGHTS
                                if name in self._inputs or name[:2] == 'c1'})
    student = tf.Variable(self._input('local'))
    teacher = tf.constant(self._input('global'))
    features = tf.constant(maps_of(self._input('feats')))
    masks = masks_of(np.stack([self._input(f'mask{place}') for place in range(3)]))
    thresholds = self._inputs.get('b1b2', np.array(THRESHOLDS)).tolist()
    partner = self._partner()
    with tf.GradientTape() as tape:
      result = losses(
          projector, student, teacher, features, masks, partner, thresholds, pointwise)
    weights = {**projector_variables(projector), 'local': student}
    sources = {'code': result['code'], **weights}
    gradients = dict(zip(
        sources, tape.gradient(result['total'], list(sources.values())), strict=True))

    def gradient(name):
      value = gradients[name].numpy()
      return channels_first(value) if name == 'code' else value.T if name[0] == 'c' else value

    found = {
        'perm': lambda: faithful_pairing(self._input('perm_draw').astype(np.int32)).numpy(),
        'code': lambda: channels_first(result['code']),
        'student': lambda: channels_first(result['student']),
        'teacher': lambda: channels_first(result['teacher']),
        'target': lambda: tf.argmax(result['teacher'], -1).numpy(),
        'eval_code': lambda: channels_first(projector(features)),
        'eval_teacher': lambda: channels_first(teacher_cosines(projector(features), teacher)),
        'P': lambda: channels_first(tf.nn.softmax(result['teacher'] / TEMPERATURE)),
        'loss_smooth': lambda: (result['within'].loss + result['across'].loss).numpy(),
        'loss_data': lambda: result['data'].numpy(),
        'loss_total': lambda: result['total'].numpy()}
    for name, term, other in (('intra', 'within', None), ('inter', 'across', partner)):
      found.update(self._pairs(name, result, other, pointwise))
      found[f'loss_{name}'] = result[term].loss.numpy
      found[f'cd_{name}'] = result[term].distance.numpy
    for name in gradients:
      found[f'g_{name}'] = lambda name=name: gradient(name)
    return found

  @staticmethod
  def _pairs(name, result, partner, pointwise):
    """What there is of all pixel pairs, [B, h, w, h, w], for one of the terms."""
    def of_others(x):
      return x if partner is None else tf.gather(x, partner)

    def maps(values):
      count, height, width, _ = result['dropped'].shape
      return values.numpy().reshape(count, height, width, height, width)

    def weights(centred):
      dropped = result['dropped']
      return lambda: maps(closeness(dropped, of_others(dropped), centred))

    labels = result['labels']
    return {f'W_{name}': weights(pointwise), f'rawW_{name}': weights(False),
            f'd_{name}': lambda: maps(label_distance(labels, of_others(labels)))}

"""Comparison of STEGO with stored outputs of the original implementation.

The file's format is that of stego.npz: names `<group>/[<case>/]<quantity>[_f32|_f64]`, maps as
[B, C, h, w]. Losses, samples and probabilities are to agree within 1e-5 of their scale, gradients
and weights after training within 1e-4, labels and permutations exactly.

Where a code is zero, the original's gradient is that of the others divided by its epsilon, and ours
is zero: gradients are compared at the other pixels, and what is left out is listed.
"""

import re

import numpy as np
import tensorflow as tf

from network.stego import crf_loss, probes
from network.stego.correspondence import centred, correspondence_loss
from network.stego.pairing import faithful_pairing
from network.stego.sampling import bilinear_samples
from seg_models.reference_frozen import compare_frozen
from seg_models.reference_stego_parts import (
    GRADIENT_TOLERANCE,
    LOSS_TOLERANCE,
    CorrespondenceInputs,
    NotComparable,
    maps_of,
    nchw,
    reordered,
    zero_pixels,
)
from seg_models.reference_stego_scores import scores
from seg_models.reference_stego_training import HeadCase, evaluation
from utils.comparison import Comparison, mismatches, relative_error

# Inputs, whatever the case is called.
_INPUTS = re.compile(
    r'sample/(feat|coords)|corr/(feats|feats_pos|code|code_pos|coords1|coords2|raw_perms)|'
    r'corr/[^/]+/cfg/\w+|super_perm/[^/]+/raw|cluster/(x|clusters)|crfloss/(guidance|code|'
    r'coords_row_col)|head/(c1_[wb]|c2[ab]_[wb]|lin_[wb]|label|clusters)|'
    r'eval/(code|code_of_flipped)|metrics/[^/]+/(preds|labels)')
_TERMS = {'pos_intra': 'itself', 'pos_inter': 'neighbour', 'neg_inter': 'random'}


def compare_stego(arrays):
  """Computes every quantity of a file of outputs that is known here.

  Args:
    arrays: mapping of names to arrays, as of `np.load`; which names there are is open.

  Returns:
    comparisons: list of `Comparison`, in the order of the file, features' last.
    not_compared: dict of the names that are neither inputs nor compared, with the reason; what is
      left out of a gradient is called `<name>[pixels]`.
  """
  arrays = {name: np.asarray(value) for name, value in arrays.items()}
  of_features, inputs = compare_frozen(arrays)
  inputs |= {entry.name for entry in of_features}
  case = _File(arrays)
  comparisons, not_compared = [], {}
  for name, expected in arrays.items():
    if name in inputs or _INPUTS.fullmatch(name):
      continue
    try:
      entry, left_out = case.compare(name, expected)
    except NotComparable as reason:
      not_compared[name] = str(reason)
      continue
    comparisons.append(entry)
    not_compared.update(left_out)
  return comparisons + of_features, not_compared


class _File:
  """A file's arrays and, computed when first asked for, what follows from them."""

  def __init__(self, arrays):
    self._arrays = arrays
    self._results = {}

  def compare(self, name, expected):
    """The `Comparison` of a quantity, and what was left out of it: name -> reason."""
    if expected.dtype.kind == 'f' and not np.all(np.isfinite(expected)):
      raise NotComparable("the original's value is not finite")
    quantity = re.sub('_f(32|64)$', '', name)
    actual = self._compute(quantity)
    if 'grad' in quantity or 'after' in quantity:
      left_out = {}
      pixels = self._zero_pixels(quantity)
      if pixels is not None and pixels.any():
        where = ' '.join(f'[{b},:,{y},{x}]' for b, y, x in np.argwhere(pixels))
        left_out[f'{name}{where}'] = 'of a zero code, which the original divides by its epsilon'
        actual, expected = (np.where(pixels[:, np.newaxis], 0, x) for x in (actual, expected))
      return Comparison(name, relative_error(actual, expected), GRADIENT_TOLERANCE), left_out
    if expected.dtype.kind in 'iub' or quantity.endswith('onehot'):
      return Comparison(name, mismatches(actual, expected), 0.0), {}
    return Comparison(name, relative_error(actual, expected), LOSS_TOLERANCE), {}

  def _compute(self, quantity):
    for pattern, compute in self._quantities().items():
      if match := re.fullmatch(pattern, quantity):
        return compute(*match.groups())
    raise NotComparable('not known')

  def _quantities(self):
    """Pattern of a quantity's name -> function of the pattern's groups that computes it."""
    return {
        'sample/out': self._samples,
        'corr/perms': lambda: self._pairings('corr/raw_perms'),
        'super_perm/([^/]+)/result': lambda case: self._pairings(f'super_perm/{case}/raw'),
        'corr/inter_fd_raw': lambda: self._feature_similarities(False),
        'corr/inter_fd_centered': lambda: self._feature_similarities(True),
        'corr/([^/]+)/(pos_intra|pos_inter|neg_inter)_loss': (
            lambda case, term: self._pairs(case, term).loss.numpy().mean(dtype=np.float64)),
        'corr/([^/]+)/(pos_intra|pos_inter|neg_inter)_loss_elem': (
            lambda case, term: self._reordered(self._pairs(case, term).loss)),
        'corr/([^/]+)/(pos_intra|pos_inter|neg_inter)_cd': (
            lambda case, term: self._reordered(self._pairs(case, term).similarity)),
        'corr/([^/]+)/total': lambda case: self._correspondence(case)[1],
        'corr/([^/]+)/(grad_code|grad_code_pos)': (
            lambda case, which: nchw(self._correspondence(case)[2][which])),
        r'cluster/(hard|soft[\d.]+)_(loss|onehot|probs|grad_clusters|grad_x)': self._cluster,
        r'cluster/log_probs_alpha([\d.]+)': self._cluster_log_probs,
        'crfloss/out': self._crf,
        'head/(code|code_up|lin_logits_up|steps_corr_linear_cluster)': (
            lambda what: self._head().quantity(what)),
        r'head/after(\d+)/(\w+)': lambda steps, what: self._head().after(int(steps), what),
        r'eval/(code_up|linear_logprobs|cluster_logprobs_alpha([\d.]+))': (
            lambda what, alpha: evaluation(self._input, self._eval_size(), what, alpha)),
        r'metrics/([^/]+)/(\w+)': (
            lambda case, what: scores(self._case(f'metrics/{case}/'), case, what)),
    }

  def _input(self, name):
    if name not in self._arrays:
      raise NotComparable(f'{name} is not in the file')
    return self._arrays[name]

  def _case(self, prefix):
    return {name.removeprefix(prefix): value for name, value in self._arrays.items()
            if name.startswith(prefix)}

  def _cached(self, key, compute):
    if key not in self._results:
      self._results[key] = compute()
    return self._results[key]

  def _zero_pixels(self, quantity):
    """Pixels of a map whose gradient it is at which the map is zero, bool [B, h, w]; or None."""
    for ending, source in (('grad_code', 'corr/code'), ('grad_code_pos', 'corr/code_pos'),
                           ('grad_x', 'cluster/x')):
      if quantity.endswith(ending):
        return zero_pixels(self._input(source))
    return None

  def _samples(self):
    points = np.float32(self._input('sample/coords'))
    batch, rows, columns, _ = points.shape
    sampled = bilinear_samples(
        maps_of(self._input('sample/feat')), points.reshape(batch, -1, 2)).numpy()
    return sampled.reshape(batch, rows, columns, -1).transpose(0, 3, 2, 1)

  def _pairings(self, name):
    return np.stack([faithful_pairing(tf.constant(raw)).numpy() for raw in self._input(name)])

  def _inputs(self, case):
    return CorrespondenceInputs(self._input, f'corr/{case}/cfg/')

  def _correspondence(self, case):
    """`Correspondence`, the weighted total, and gradients by the codes' names."""
    def compute():
      inputs = self._inputs(case)
      codes = [tf.constant(maps_of(self._input(f'corr/{name}'))) for name in ('code', 'code_pos')]
      with tf.GradientTape() as tape:
        tape.watch(codes)
        result, total = inputs.loss(*codes)
      gradients = [value.numpy() for value in tape.gradient(total, codes)]
      names = 'grad_code', 'grad_code_pos'
      return result, total.numpy(), dict(zip(names, gradients, strict=True))
    return self._cached(('corr', case), compute)

  def _pairs(self, case, term):
    return getattr(self._correspondence(case)[0], _TERMS[term])

  def _reordered(self, pairs):
    return reordered(pairs.numpy(), self._input('corr/coords1').shape[1:3])

  def _feature_similarities(self, with_centring):
    """Of the images with their neighbours; these depend on no setting."""
    def compute():
      inputs = CorrespondenceInputs(self._input, None)
      features = inputs.features
      result = correspondence_loss(
          *features, *features, *inputs.points, inputs.pairing,
          self_shift=0.0, neighbour_shift=0.0, random_shift=0.0)
      return result.neighbour.feature_similarity
    similarity = self._cached('features', compute)
    return self._reordered(centred(similarity) if with_centring else similarity)

  def _cluster(self, kind, what):
    alpha = None if kind == 'hard' else float(kind.removeprefix('soft'))

    def compute():
      x = tf.constant(maps_of(self._input('cluster/x')))
      centroids = tf.constant(self._input('cluster/clusters'), tf.float32)
      with tf.GradientTape() as tape:
        tape.watch([x, centroids])
        loss = probes.cluster_loss(x, centroids, alpha)
      of_x, of_centroids = (value.numpy() for value in tape.gradient(loss, [x, centroids]))
      share = probes.cluster_assignment(probes.cluster_similarities(x, centroids), alpha)
      return {'loss': loss.numpy(), 'grad_x': nchw(of_x), 'grad_clusters': of_centroids,
              'onehot' if alpha is None else 'probs': nchw(share)}
    values = self._cached(('cluster', kind), compute)
    if what not in values:
      raise NotComparable('not known')
    return values[what]

  def _cluster_log_probs(self, alpha):
    return nchw(probes.cluster_log_probs(
        maps_of(self._input('cluster/x')), np.float32(self._input('cluster/clusters')),
        float(alpha)))

  def _crf(self):
    places = tf.constant(self._input('crfloss/coords_row_col').T, tf.int32)
    return crf_loss.crf_pair_loss(
        maps_of(self._input('crfloss/guidance')), maps_of(self._input('crfloss/code')), places)

  def _head(self):
    return self._cached('head', lambda: HeadCase(self._input, self._inputs('default')))

  def _eval_size(self):
    for name, value in self._arrays.items():
      if name.startswith('eval/') and not _INPUTS.fullmatch(name):
        return value.shape[2:]
    raise AssertionError('called for none of them')

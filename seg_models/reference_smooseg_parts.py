"""The parts of `reference_smooseg` around the loss: pairing, inference, scores, training steps."""

import numpy as np
import tensorflow as tf

from network.common.layers import resize_bilinear
from network.smooseg.losses import (
    data_loss,
    gather_summary,
    smoothness,
    summarize,
    unit_labels,
)
from network.smooseg.predictor import (
    log_probabilities,
    next_teacher,
    student_cosines,
    teacher_cosines,
)
from network.smooseg.projector import Projector
from network.stego.pairing import faithful_pairing
from seg_models.reference_contrast_parts import NotComparable, maps_of
from utils.cluster_matching import ClusterCounts, match, matched_confusion
from utils.comparison import Comparison, mismatches, relative_error
from utils.metrics import counted_pixels
from utils.optimizer import Adam

TEMPERATURE = 0.1
MOMENTUM = 0.998
TEST_SCALE = 2.0
# Of the projector and of the prototypes.
RATES = 1e-4, 5e-4
THRESHOLDS = -0.02, 0.50
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
IGNORED = -1
# The original's names of the projector's convolutions.
_CONVOLUTIONS = {'c1': 'linear', 'c2a': 'hidden', 'c2b': 'last'}


def make_projector(values):
  """A `Projector` with the original's weights `c1w` [out, in], `c1b`, `c2aw` and so on."""
  dim, channels = values['c1w'].shape
  projector = Projector(channels, dim, projection='nonlinear' if 'c2aw' in values else 'linear')
  for name, variable in projector_variables(projector).items():
    variable.assign(values[name].T)
  return projector


def projector_variables(projector):
  """The original's name -> variable; kernels are transposed there."""
  variables = {}
  for short, long in _CONVOLUTIONS.items():
    if hasattr(projector, long):
      layer = getattr(projector, long)
      variables.update({f'{short}w': layer.kernel, f'{short}b': layer.bias})
  return variables


def losses(projector, student, teacher, features, masks, partner, thresholds, pointwise=True):
  """One step's losses, (within, across, data) of `network.smooseg.losses`, the code and the like.

  Args:
    features: float32 [B, h, w, C].
    masks: float32 [3, B, 1, 1, C].
    partner: int32 [B].

  Returns:
    dict of tensors; within and across are `Smoothness`.
  """
  code, dropped = projector.project(features, masks)
  by_student, by_teacher = student_cosines(code, student), teacher_cosines(code, teacher)
  labels = unit_labels(by_teacher, TEMPERATURE)
  own = summarize(dropped, labels)
  within = smoothness(own, own, thresholds[0], pointwise)
  across = smoothness(own, gather_summary(own, partner), thresholds[1], pointwise)
  data = data_loss(by_student, by_teacher)
  return {'code': code, 'dropped': dropped, 'student': by_student, 'teacher': by_teacher,
          'labels': labels, 'within': within, 'across': across, 'data': data,
          'total': within.loss + across.loss + data}


def masks_of(values):
  """[3, B, C, 1, 1] -> float32 [3, B, 1, 1, C]."""
  return tf.constant(np.moveaxis(np.asarray(values, np.float32), 2, -1))


def compare_pairing(values):
  """`draw<n>` [draws, n], random permutations, and `used<n>`, what the original makes of them."""
  comparisons, not_compared = [], {}
  for name, expected in values.items():
    number = name.removeprefix('used')
    if name.startswith('draw'):
      continue
    if name == number:
      not_compared[name] = 'not known'
    elif f'draw{number}' not in values:
      not_compared[name] = 'its draws are not in the file'
    else:
      actual = np.stack([faithful_pairing(tf.constant(draw)) for draw in values[f'draw{number}']])
      comparisons.append(Comparison(name, mismatches(actual, expected), 0.0))
  return comparisons, not_compared


def compare_inference(values):
  """`code1` and `code2_of_flipped` [B, D, h, w] with `proto` [K, D], to CRF potentials."""
  def average():
    return (maps_of(values['code1']) + maps_of(values['code2_of_flipped'])[:, :, ::-1]) / 2

  def size():
    known = [values[name].shape[2:] for name in ('up', 'cos', 'logp') if name in values]
    if not known:
      raise NotComparable('the size is not in the file')
    return known[0]

  def enlarged():
    return resize_bilinear(tf.constant(average()), size())

  def cosines():
    return teacher_cosines(enlarged(), tf.constant(values['proto']))

  def logs():
    return log_probabilities(enlarged(), tf.constant(values['proto']), TEST_SCALE)

  def potentials():
    unary = -tf.math.log(tf.clip_by_value(tf.exp(logs()), 1e-5, 1.0)).numpy()
    return np.moveaxis(unary, -1, 1).reshape(len(unary), unary.shape[-1], -1)

  quantities = {
      'code': lambda: channels_first(average()), 'up': lambda: channels_first(enlarged()),
      'cos': lambda: channels_first(cosines()), 'logp': lambda: channels_first(logs()),
      'pred': lambda: tf.argmax(logs(), -1).numpy(), 'crf_unary': potentials}
  return compare_each(values, quantities, ('code1', 'code2_of_flipped', 'proto'))


def compare_scores(values, labels=None):
  """`pred` against `label`, or against another case's `labels`: Hungarian matching and IoU.

  Clusters beyond the number of classes are dropped first, as the original does; here they count.
  """
  labels = values.get('label', labels)
  if labels is None or 'pred' not in values:
    return [], dict.fromkeys(values, 'label and pred are not in the file')
  shapes = [values[name].shape[0] for name in ('iou', 'stats_pred_by_gt', 'hist')
            if name in values]
  if not shapes:
    return [], dict.fromkeys(values, 'the number of classes is not in the file')
  number = shapes[0]
  counted = (labels >= 0) & (labels < number)
  counted &= (values['pred'] >= 0) & (values['pred'] < number)
  truth, clusters = counted_pixels(np.where(counted, labels, IGNORED), values['pred'], IGNORED)
  counts = ClusterCounts(number, IGNORED, number)
  counts.update(truth, clusters)
  classes = match(counts.counts)
  matrix = matched_confusion(counts.counts, classes, IGNORED)

  def assignment():
    # A cluster without pixels may have any class that is left over.
    empty = ~counts.counts.any(axis=1)
    return np.where(empty, values['assign_class_of_cluster'], classes)

  quantities = {
      'stats_pred_by_gt': lambda: counts.counts, 'assign_class_of_cluster': assignment,
      'hist': lambda: matrix.counts.T, 'iou': matrix.iou,
      'mIoU': lambda: 100 * np.float64(matrix.mean_iou_occurring()),
      'acc': lambda: 100 * np.float64(matrix.pixel_accuracy())}
  return compare_each(values, quantities, ('label', 'pred'))


def compare_training(values):
  """Steps of Adam and of the teacher, from `init/*` over `feats`, `masks` and `perms` of each."""
  initial = {name[5:]: value for name, value in values.items() if name.startswith('init/')}
  projector = make_projector(initial)
  student, teacher = tf.Variable(initial['local']), tf.Variable(initial['glob'])
  weights = {**projector_variables(projector), 'local': student}
  ratio = RATES[1] / RATES[0]
  optimizer = Adam(weights, weight_decay=0.0,
                   rate_multipliers={name: ratio if name == 'local' else 1.0 for name in weights})
  found = {'losses': []}
  for step, features in enumerate(values['feats']):
    with tf.GradientTape() as tape:
      result = losses(
          projector, student, teacher, tf.constant(maps_of(features)),
          masks_of(values['masks'][step]), values['perms'][step].astype(np.int32),
          values.get('b1b2', np.array(THRESHOLDS)).tolist())
    found['losses'].append([float(part) for part in (
        result['within'].loss, result['across'].loss, result['data'], result['total'])])
    # Before the student moves, as in the original.
    teacher.assign(next_teacher(teacher, student, MOMENTUM))
    gradients = tape.gradient(result['total'], list(weights.values()))
    optimizer.apply(dict(zip(weights, gradients, strict=True)), tf.constant(RATES[0]),
                    tf.distribute.get_strategy())
    for name, variable in {**weights, 'glob': teacher}.items():
      found[f'step{step}/{name}'] = variable.numpy().T if name[0] == 'c' else variable.numpy()
  quantities = {name: lambda value=value: np.array(value) for name, value in found.items()}
  inputs = ('feats', 'masks', 'perms', 'b1b2', *(f'init/{name}' for name in initial))
  return compare_each(values, quantities, inputs)


def channels_first(x):
  """[B, h, w, C] -> [B, C, h, w]."""
  return np.moveaxis(np.asarray(x), -1, 1)


def compare_each(values, quantities, inputs=(), tolerances=None):
  """Comparisons of all values that are known, and the reasons why others are not.

  Args:
    values: name -> expected array.
    quantities: name -> function that computes it.
    inputs: names that are neither.
    tolerances: name -> tolerance where it is not LOSS_TOLERANCE; integers are to be equal.

  Returns:
    comparisons: list of `Comparison`.
    not_compared: dict, name -> reason.
  """
  comparisons, not_compared = [], {}
  for name, expected in values.items():
    if name in inputs:
      continue
    if name not in quantities:
      not_compared[name] = 'not known'
      continue
    try:
      actual = quantities[name]()
    except NotComparable as reason:
      not_compared[name] = str(reason)
      continue
    comparisons.append(compared(name, actual, expected,
                                (tolerances or {}).get(name, LOSS_TOLERANCE)))
  return comparisons, not_compared


def compared(name, actual, expected, tolerance):
  """A `Comparison`: integers are to be equal, NaN is to be where it is expected."""
  actual, expected = np.asarray(actual), np.asarray(expected)
  if expected.dtype.kind in 'iu':
    return Comparison(name, mismatches(actual, expected), 0.0)
  undefined = np.isnan(expected)
  if actual.shape != expected.shape or not np.array_equal(np.isnan(actual), undefined):
    return Comparison(name, float('inf'), tolerance)
  return Comparison(name, relative_error(actual[~undefined], expected[~undefined]), tolerance)

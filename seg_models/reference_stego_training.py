"""The parts of `reference_stego` around the head: its training with the probes, and evaluation."""

import keras
import numpy as np
import tensorflow as tf

from network.common.layers import resize_bilinear
from network.stego import probes
from network.stego.head import SegmentationHead
from seg_models.reference_stego_parts import NotComparable, maps_of, nchw
from utils.optimizer import Adam

# The original's, of the head; the probes learn ten times as fast.
LEARNING_RATE = 5e-4
_PROBES = ('lin_w', 'lin_b', 'clusters')
_CONVOLUTIONS = {'c1': 'linear', 'c2a': 'hidden', 'c2b': 'last'}


class HeadCase:
  """A head and probes with given weights, as they are and after some steps.

  Args:
    find: function of an array's name that returns it, or raises `NotComparable`.
    inputs: `CorrespondenceInputs`: the features, and what the loss is computed with.
  """

  def __init__(self, find, inputs):
    self._find = find
    self._inputs = inputs
    self._label = tf.constant(find('head/label'), tf.int32)
    self._losses = []
    dim, channels = find('head/c1_w').shape[:2]
    self._head = SegmentationHead(channels, dim)
    self._variables = {}
    for theirs, ours in _CONVOLUTIONS.items():
      layer = getattr(self._head, ours)
      self._variables[f'{theirs}_w'], self._variables[f'{theirs}_b'] = layer.kernel, layer.bias
    for name in _PROBES:
      self._variables[name] = keras.Variable(_ours(find(f'head/{name}')))
    for name, variable in self._variables.items():
      variable.assign(_ours(find(f'head/{name}')))
    self._weights = [self._current()]
    self._optimizer = Adam(
        self._variables, weight_decay=0.0,
        rate_multipliers={name: 10.0 if name in _PROBES else 1.0 for name in self._variables})
    self._initial = self._outputs()

  def quantity(self, name):
    """The code, enlarged codes and logits before training, or the losses of the steps."""
    if name == 'steps_corr_linear_cluster':
      self._train(len(self._find_any('head/steps_corr_linear_cluster')))
      return np.array(self._losses)
    return self._initial[name]

  def after(self, steps, name):
    """A weight after so many steps, in the original's layout."""
    if name not in self._variables:
      raise NotComparable('not known')
    self._train(steps)
    return _theirs(self._weights[steps][name], self._find(f'head/{name}').ndim)

  def _find_any(self, name):
    """An output, of whichever precision there is."""
    try:
      return self._find(f'{name}_f64')
    except NotComparable:
      return self._find(f'{name}_f32')

  def _current(self):
    return {name: np.array(variable.numpy()) for name, variable in self._variables.items()}

  def _logits(self, code):
    return probes.linear_logits(code, self._variables['lin_w'], self._variables['lin_b'])

  def _outputs(self):
    code = self._head(self._inputs.features[0])
    size = self._label.shape[1:]
    logits = resize_bilinear(self._logits(code), size).numpy()
    return {'code': nchw(code), 'code_up': nchw(resize_bilinear(code, size)),
            'lin_logits_up': logits.reshape(-1, logits.shape[-1])}

  def _train(self, steps):
    """Trains until so many steps are done."""
    names = list(self._variables)
    for _ in range(len(self._losses), steps):
      with tf.GradientTape() as tape:
        codes = [self._head(features) for features in self._inputs.features]
        _, correspondence = self._inputs.loss(*codes)
        code = tf.stop_gradient(codes[0])
        total, count = probes.linear_loss(self._logits(code), self._label)
        linear = tf.math.divide_no_nan(total, count)
        cluster = probes.cluster_loss(code, tf.convert_to_tensor(self._variables['clusters']))
        loss = correspondence + linear + cluster
      gradients = tape.gradient(loss, list(self._variables.values()))
      self._optimizer.apply(
          dict(zip(names, gradients, strict=True)), LEARNING_RATE, tf.distribute.get_strategy())
      self._losses.append([float(value) for value in (correspondence, linear, cluster)])
      self._weights.append(self._current())


def evaluation(find, size, what, alpha):
  """Flip-averaged codes, enlarged, and what the probes read from them: [B, C or K, H, W].

  Args:
    find: function of an array's name that returns it, or raises `NotComparable`.
    size: (height, width) of the labels.
    what: 'code_up', 'linear_logprobs', or the clusters' with the text `alpha`.
  """
  code = (maps_of(find('eval/code')) + maps_of(find('eval/code_of_flipped'))[:, :, ::-1]) / 2
  code = resize_bilinear(code, size)
  if what == 'code_up':
    return nchw(code)
  if alpha is None:
    logits = probes.linear_logits(
        code, _ours(find('head/lin_w')), np.float32(find('head/lin_b')))
    return nchw(tf.nn.log_softmax(logits))
  return nchw(probes.cluster_log_probs(code, np.float32(find('head/clusters')), float(alpha)))


def _ours(weight):
  """[out, in, 1, 1] -> float32 [in, out]; other arrays stay as they are."""
  weight = np.float32(weight)
  return weight[:, :, 0, 0].T if weight.ndim == 4 else weight


def _theirs(weight, ndim):
  return weight.T[:, :, np.newaxis, np.newaxis] if ndim == 4 else weight

"""Training steps that were begun and whose numbers are still to be looked at."""

import collections

import numpy as np
import tensorflow as tf


class NonFiniteError(ArithmeticError):
  """The loss or a gradient became infinite or NaN."""


def fetch(metrics):
  """Name -> float of name -> float32 scalar tensor, brought from the device in one piece."""
  return dict(zip(metrics, tf.stack(list(metrics.values())).numpy().tolist(), strict=True))


class PendingSteps:
  """A queue between a device that computes steps and a loop that shows what they gave.

  To read a number of a step is to wait for it. A GPU is kept busy by reading those of the step
  before, once the next one is begun.

  Args:
    where: function of a step's batches: the end of an error's message, which names the images.
  """

  def __init__(self, where):
    self._where = where
    self._steps = collections.deque()

  def add(self, step, batches, metrics):
    """Takes a step: its number, its batches, and name -> scalar tensor as `TrainStep` gave it."""
    self._steps.append((step, batches, metrics))

  def collect(self, ahead=0):
    """Waits for all steps but the last `ahead` ones.

    Returns:
      The metrics of the last one waited for, name -> float; none if that was no step at all.

    Raises:
      NonFiniteError: a step's loss or gradient is not finite.
    """
    metrics = {}
    while len(self._steps) > ahead:
      step, batches, tensors = self._steps.popleft()
      metrics = fetch(tensors)
      self._check_finite(step, batches, metrics)
    return metrics

  def _check_finite(self, step, batches, metrics):
    # A float16 gradient may overflow: the loss scale then skips the step, and only a loss that is
    # not finite, or a scale that has sunk to nothing, is a failure.
    scale = metrics.get('loss_scale')
    names = ['loss', 'gradient_norm'] if scale is None else ['loss']
    wrong = [name for name in names if not np.isfinite(metrics[name])]
    if scale is not None and scale < 2.0 ** -14:
      wrong.append('gradient_norm (at any loss scale)')
    if wrong:
      raise NonFiniteError(
          f'step {step}: {" and ".join(wrong)} not finite. {self._where(batches)} Lower '
          '--learning_rate, or look at the images and masks.')

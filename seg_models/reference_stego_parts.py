"""What the parts of `reference_stego` share: layouts, and the inputs of the correspondence."""

import numpy as np
import tensorflow as tf

from network.stego.correspondence import correspondence_loss

LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4


class NotComparable(Exception):
  """The file gives nothing to compare a quantity with, or it is not known; the message says why."""


def maps_of(x):
  """[B, C, h, w] -> float32 [B, h, w, C]."""
  return np.moveaxis(np.asarray(x, np.float32), 1, -1)


def nchw(x):
  """[B, h, w, C] -> [B, C, h, w]."""
  return np.moveaxis(np.asarray(x), -1, 1)


def zero_pixels(maps):
  """Pixels of maps [B, C, h, w] where all channels are zero: bool [B, h, w]."""
  return ~np.any(maps, axis=1)


def reordered(pairs, grid):
  """Values of pairs [..., B, N, N] of points of a grid in the original's order.

  Args:
    pairs: of several draws or of one.
    grid: rows, columns; N = rows * columns.

  Returns:
    [draws * B, columns, rows, columns, rows]: the original transposes its sampling grids.
  """
  pairs = pairs.reshape(-1, *grid, *grid)
  return pairs.transpose(0, 2, 1, 4, 3)


class CorrespondenceInputs:
  """What the correspondence of a file is computed from, but for the codes.

  Args:
    find: function of an array's name that returns it, or raises `NotComparable`.
    settings: what the names of the settings begin with; None where none are needed.

  Attributes:
    features: the images' and their neighbours', float32 [B, h, w, C].
    points: the anchors' and the others', float32 [B, N, 2].
    pairing: int32 [R, B].
  """

  def __init__(self, find, settings):
    self._find = find
    self._settings = settings
    self.features = [tf.constant(maps_of(find(f'corr/{name}'))) for name in ('feats', 'feats_pos')]
    points = [np.float32(find(f'corr/{name}')) for name in ('coords1', 'coords2')]
    self.points = [tf.constant(x.reshape(len(x), -1, 2)) for x in points]
    self.pairing = tf.constant(find('corr/perms'), tf.int32)

  def loss(self, code, partner_code):
    """`Correspondence`, and the weighted sum of its three means: float32 scalar."""
    def setting(name):
      return self._find(f'{self._settings}{name}').item()

    result = correspondence_loss(
        *self.features, code, partner_code, *self.points, self.pairing,
        self_shift=setting('pos_intra_shift'), neighbour_shift=setting('pos_inter_shift'),
        random_shift=setting('neg_inter_shift'), pointwise=setting('pointwise'),
        zero_clamp=setting('zero_clamp'), stabilize=setting('stabalize'))
    weights = [setting(f'{name}_weight') for name in ('pos_intra', 'pos_inter', 'neg_inter')]
    return result, tf.add_n([
        weight * tf.reduce_mean(pairs.loss)
        for weight, pairs in zip(weights, result, strict=True)])

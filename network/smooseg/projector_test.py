import numpy as np
import tensorflow as tf

from network.common.channel_dropout import channel_masks
from network.smooseg.projector import Projector


def naive(layer, first, second):
  """The formula in float64."""
  def conv(x, name):
    kernel, bias = (weight.numpy().astype(np.float64) for weight in getattr(layer, name).weights)
    return x @ kernel + bias

  hidden = conv(second, 'hidden')
  return conv(first, 'linear') + conv(hidden / (1 + np.exp(-hidden)), 'last')


def features(seed=0):
  return np.random.default_rng(seed).normal(size=[3, 2, 4, 9]).astype(np.float32) * 3


def test_without_dropout():
  layer, x = Projector(9, 5, seed=3), features()
  code = layer(x)
  assert code.dtype == tf.float32
  np.testing.assert_allclose(code, naive(layer, x, x), rtol=1e-5, atol=1e-6)


def test_the_three_masks_are_of_the_two_branches_and_the_loss():
  layer, x = Projector(9, 5, seed=3), features()
  masks = channel_masks([1, 2], 3, 9, 0.4, count=3)
  code, dropped = layer.project(x, masks)
  first, second, third = masks.numpy()
  np.testing.assert_allclose(code, naive(layer, x * first, x * second), rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(dropped, x * third)

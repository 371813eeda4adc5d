import numpy as np
import tensorflow as tf

from seg_models.datasets import dataset_for
from seg_models.methods.softmax import Softmax, SoftmaxConfig


class Fixed:
  """A network whose logits are given."""

  def __init__(self, logits):
    self.logits = tf.constant(logits, tf.float32)

  def __call__(self, images, training):
    return self.logits


def make(logits, labels):
  method = Softmax(Fixed(logits), dataset_for(None, 3), SoftmaxConfig(), 2, seed=0)
  batch = {'image': tf.zeros([2, 16, 24, 3]),
           'label': tf.constant(np.repeat(np.repeat(labels, 8, 1), 8, 2), tf.int32)}
  return method, batch


def test_loss_equals_a_numpy_oracle():
  random = np.random.default_rng(0)
  logits = random.normal(size=[2, 2, 3, 3])
  labels = random.integers(0, 3, [2, 2, 3])
  labels[0, 0] = 255
  method, batch = make(logits, labels)
  output = method.loss(batch, {}, 0, 0)
  shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  losses, correct = [], []
  for place in np.ndindex(labels.shape):
    if labels[place] != 255:
      losses.append(-np.log(shares[place][labels[place]]))
      correct.append(shares[place].argmax() == labels[place])
  np.testing.assert_allclose(float(output.loss), np.mean(losses), rtol=1e-5)
  total, weight = output.metrics['pixel_accuracy']
  assert float(total) / float(weight) == np.mean(correct)


def test_nothing_valid_gives_zero_loss_and_gradient():
  method, batch = make(np.ones([2, 2, 3, 3]), np.full([2, 2, 3], 255))
  with tf.GradientTape() as tape:
    tape.watch(method.model.logits)
    output = method.loss(batch, {}, 0, 0)
  assert float(output.loss) == 0
  assert not np.any(tape.gradient(output.loss, method.model.logits))


def test_maps_are_the_most_likely_classes():
  logits = np.random.default_rng(1).normal(size=[2, 2, 3, 3])
  method, batch = make(logits, np.zeros([2, 2, 3], int))
  np.testing.assert_array_equal(method.maps(batch)['prediction'], logits.argmax(-1))

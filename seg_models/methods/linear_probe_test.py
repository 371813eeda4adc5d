import numpy as np
import pytest
import tensorflow as tf

from network.common.layers import resize_bilinear
from seg_models.methods.linear_probe import LinearProbe

DIM, CLASSES = 5, 3


def inputs(seed=0):
  random = np.random.default_rng(seed)
  code = tf.constant(random.normal(size=[2, 3, 4, DIM]), tf.float32)
  labels = random.integers(0, CLASSES, [2, 12, 16]).astype(np.int32)
  labels[:, :5], labels[:, 5] = -1, CLASSES
  return code, labels


def test_the_loss_is_the_mean_over_labelled_pixels_and_the_code_learns_nothing():
  code, labels = inputs()
  probe = LinearProbe(DIM, CLASSES, seed=1)
  with tf.GradientTape() as tape:
    tape.watch(code)
    loss, metrics = probe.loss(code, tf.constant(labels))
  logits = code.numpy() @ probe.kernel.numpy() + probe.bias.numpy()
  logits = resize_bilinear(tf.constant(logits), [12, 16]).numpy().astype(np.float64)[:, 6:]
  shares = np.exp(logits - logits.max(-1, keepdims=True))
  shares /= shares.sum(-1, keepdims=True)
  costs = -np.log(np.take_along_axis(shares, labels[:, 6:, :, np.newaxis], -1))
  np.testing.assert_allclose(loss, costs.mean(), rtol=1e-5)
  total, count = metrics['linear_loss']
  assert float(count) == costs.size and float(total / count) == pytest.approx(float(loss))
  to_code, *others = tape.gradient(loss, [code, *probe.variables().values()])
  assert to_code is None and all(np.abs(gradient).max() > 0 for gradient in others)


def test_without_labels_nothing_is_learned():
  code, labels = inputs()
  probe = LinearProbe(DIM, CLASSES, seed=1)
  with tf.GradientTape() as tape:
    loss, metrics = probe.loss(code, tf.fill(labels.shape, -1))
  assert float(loss) == 0 and float(metrics['linear_loss'][1]) == 0
  assert not any(np.any(gradient) for gradient in tape.gradient(
      loss, list(probe.variables().values())))


def test_log_probs_are_of_the_logits_and_weights_of_the_seed():
  code, _ = inputs()
  probe = LinearProbe(DIM, CLASSES, seed=1)
  logits = code.numpy() @ probe.kernel.numpy() + probe.bias.numpy()
  expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  np.testing.assert_allclose(probe.log_probs(code), expected, rtol=1e-5, atol=1e-6)
  assert probe.variables().keys() == {'linear_probe/kernel', 'linear_probe/bias'}
  again, other = LinearProbe(DIM, CLASSES, seed=1), LinearProbe(DIM, CLASSES, seed=2)
  np.testing.assert_array_equal(probe.kernel, again.kernel)
  assert np.any(probe.kernel.numpy() != other.kernel.numpy())
  assert np.abs(probe.kernel).max() <= DIM ** -0.5

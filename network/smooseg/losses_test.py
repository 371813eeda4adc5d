import math

import numpy as np
import pytest
import tensorflow as tf

from network.smooseg.losses import (
    closeness,
    data_loss,
    gather_summary,
    label_distance,
    smoothness,
    summarize,
    unit_labels,
)

B, H, W, C, K = 4, 3, 5, 7, 4


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def inputs(seed=0, offset=1.0):
  """Features with a common direction, as a backbone's have, and the teacher's cosines."""
  random = np.random.default_rng(seed)
  features = (random.normal(size=[B, H, W, C]) + offset) * random.uniform(0.5, 3, [B, H, W, 1])
  return features, np.tanh(random.normal(size=[B, H, W, K]))


def naive(features, cosines, partner, threshold, pointwise, temperature=0.1):
  """The sum over all pairs as the paper writes it, in float64: loss, mean W, mean d."""
  labels = np.exp(cosines / temperature)
  labels = unit(labels / labels.sum(-1, keepdims=True)).reshape(B, -1, K)
  features = unit(features).reshape(B, -1, C)
  close = np.stack([features[b] @ features[i].T for b, i in enumerate(partner)])
  distance = np.stack([1 - labels[b] @ labels[i].T for b, i in enumerate(partner)])
  if pointwise:
    close = close - close.mean(axis=2, keepdims=True) + close.mean()
  return ((close - threshold) * distance).mean(), close.mean(), distance.mean(), close, distance


def constant(x):
  return tf.constant(x, tf.float32)


@pytest.mark.parametrize('pointwise', [True, False])
@pytest.mark.parametrize('partner', [[0, 1, 2, 3], [2, 0, 3, 1], [1, 2, 1, 0]])
def test_the_moments_give_the_mean_over_all_pairs(partner, pointwise):
  features, cosines = inputs()
  own = summarize(constant(features), unit_labels(constant(cosines), 0.1))
  actual = smoothness(own, gather_summary(own, partner), 0.3, pointwise)
  expected = naive(features, cosines, partner, 0.3, pointwise)[:3]
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('pointwise', [True, False])
@pytest.mark.parametrize('partner', [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_the_gradient_flows_through_the_labels_of_both_images(partner, pointwise):
  features, cosines = inputs()
  given = constant(features), constant(cosines)
  with tf.GradientTape() as tape:
    tape.watch(given)
    own = summarize(given[0], unit_labels(given[1], 0.5))
    loss = smoothness(own, gather_summary(own, partner), 0.3, pointwise).loss
  to_features, gradient = tape.gradient(loss, given)
  assert to_features is None
  for place in ((0, 1, 2, 3), (2, 0, 4, 0), (3, 2, 2, 1)):
    step = np.zeros_like(cosines)
    step[place] = 1e-6
    ends = (naive(features, cosines + sign * step, partner, 0.3, pointwise, 0.5)[0]
            for sign in (1, -1))
    slope = np.subtract(*ends) / 2e-6
    np.testing.assert_allclose(gradient[place], slope, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize('pointwise', [True, False])
def test_closeness_and_distance_are_those_of_the_pairs(pointwise):
  features, cosines = inputs()
  labels = unit_labels(constant(cosines), 0.1)
  partner = [2, 0, 3, 1]
  close = closeness(constant(features), constant(features[partner]), pointwise)
  distance = label_distance(labels, tf.gather(labels, partner))
  *_, expected_close, expected_distance = naive(features, cosines, partner, 0.3, pointwise)
  np.testing.assert_allclose(close, expected_close, atol=1e-6)
  np.testing.assert_allclose(distance, expected_distance, atol=1e-6)


def test_labels_alike_cost_nothing():
  features, _ = inputs()
  cosines = tf.tile(constant([[[[0.9, -0.2, 0.1, 0.3]]]]), [B, H, W, 1])
  summary = summarize(constant(features), unit_labels(cosines, 0.1))
  result = smoothness(summary, summary, -0.02)
  np.testing.assert_allclose([result.loss, result.distance], [0, 0], atol=1e-6)


def test_close_features_draw_labels_together_and_others_push_them_apart():
  """Two halves of one image, alike in themselves and orthogonal to each other."""
  features = np.zeros([1, 2, 6, 2])
  features[0, 0, :, 0] = features[0, 1, :, 1] = 1.0
  right, constant_labels, wrong = (np.zeros([1, 2, 6, 2]) for _ in range(3))
  right[0, 0, :, 0] = right[0, 1, :, 1] = 1.0
  constant_labels[..., 0] = 1.0
  wrong[0, :, ::2, 0] = wrong[0, :, 1::2, 1] = 1.0
  losses = []
  for labels in (right, constant_labels, wrong):
    summary = summarize(constant(features), unit_labels(constant(labels), 0.1))
    losses.append(float(smoothness(summary, summary, 0.3).loss))
  assert losses[0] < losses[1] - 0.1 and losses[1] < losses[2] - 0.05
  # Right: half of the pairs, of closeness 0, at distance 1. Wrong: half of the pairs, of mean 0.5.
  np.testing.assert_allclose(losses, [-0.15, 0.0, 0.1], atol=1e-3)


def test_a_zero_feature_and_float16_are_taken():
  features, cosines = inputs()
  features[0, 0, 0] = 0.0
  with tf.GradientTape() as tape:
    cosines = constant(cosines)
    tape.watch(cosines)
    own = summarize(tf.constant(features, tf.float16), unit_labels(cosines, 0.1))
    loss = smoothness(own, own, 0.3).loss
  assert loss.dtype == tf.float32 and np.isfinite(loss)
  assert np.isfinite(tape.gradient(loss, cosines)).all()


def test_the_data_loss_is_the_cross_entropy_with_the_teachers_choice():
  random = np.random.default_rng(0)
  student, teacher = random.uniform(-1, 1, [2, B, H, W, K])
  teacher[0, 0, 0] = 0.5  # equals: the first
  logits = student.reshape(-1, K)
  chosen = logits[np.arange(len(logits)), teacher.argmax(-1).ravel()]
  expected = (np.log(np.exp(logits).sum(-1)) - chosen).mean()
  given = constant(student), constant(teacher)
  with tf.GradientTape() as tape:
    tape.watch(given)
    loss = data_loss(*given)
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  to_student, to_teacher = tape.gradient(loss, given)
  assert to_teacher is None and np.abs(to_student).max() > 0


@pytest.mark.parametrize('classes, floor', [(27, 2.323), (3, 0.369)])
def test_the_data_loss_has_a_floor(classes, floor):
  """Cosines of the best K directions: 1 with the own one, -1 / (K - 1) with the others."""
  cosines = np.eye(classes) * (1 + 1 / (classes - 1)) - 1 / (classes - 1)
  loss = float(data_loss(constant(cosines), constant(cosines)))
  assert loss == pytest.approx(math.log1p((classes - 1) * math.exp(-classes / (classes - 1))))
  assert loss == pytest.approx(floor, abs=1e-3)

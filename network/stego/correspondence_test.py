import numpy as np
import pytest
import tensorflow as tf

from network.stego.correspondence import centred, correspondence_loss, pair_loss
from network.stego.pairing import pairings
from network.stego.sampling import uniform_points
from utils.training import make_strategy

SHIFTS = {'self_shift': 0.18, 'neighbour_shift': 0.12, 'random_shift': 0.46}
DRAWS, POINTS = 3, 7


def batch(images=4, seed=0):
  """Features, partners', code, partners', points, other points, pairing."""
  random = np.random.default_rng(seed)
  sizes = [9, 9, 5, 5]
  maps = [random.normal(size=[images, 4, 6, size]).astype(np.float32) + 0.3 for size in sizes]
  points = [uniform_points([seed, i], images, POINTS) for i in (1, 2)]
  return *maps, *points, pairings([seed, 3], images, DRAWS)


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def oracle(features, others, code, other_code, shift, pointwise, zero_clamp, stabilize):
  """The loss of pairs in float64, written as the specification has it."""
  target = np.einsum('bnc,bmc->bnm', unit(features), unit(others))
  if pointwise:
    mean = target.mean()
    target = target - target.mean(2, keepdims=True)
    target = target - target.mean() + mean
  similarity = np.einsum('bnd,bmd->bnm', unit(code), unit(other_code))
  lowest, highest = 0 if zero_clamp else -9999, 0.8 if stabilize else np.inf
  return -np.clip(similarity, lowest, highest) * (target - shift), similarity


@pytest.mark.parametrize('pointwise', [False, True])
@pytest.mark.parametrize('zero_clamp', [False, True])
@pytest.mark.parametrize('stabilize', [False, True])
def test_pairs_equal_the_oracle(pointwise, zero_clamp, stabilize):
  random = np.random.default_rng(1)
  features, others, code, other_code = (
      random.normal(size=[3, count, size]) + 0.2
      for count, size in ((5, 8), (6, 8), (5, 4), (6, 4)))
  options = {'pointwise': pointwise, 'zero_clamp': zero_clamp, 'stabilize': stabilize}
  pairs = pair_loss(features, others, code, other_code, 0.1, **options)
  loss, similarity = oracle(features, others, code, other_code, 0.1, **options)
  np.testing.assert_allclose(pairs.loss, loss, atol=1e-6)
  np.testing.assert_allclose(pairs.similarity, similarity, atol=1e-6)
  assert similarity.min() < 0 and similarity.max() > 0.8  # all options matter
  np.testing.assert_allclose(
      pairs.feature_similarity, np.einsum('bnc,bmc->bnm', unit(features), unit(others)), atol=1e-6)


def test_every_draw_has_a_mean_of_its_own():
  random = np.random.default_rng(2)
  features, others = random.normal(size=[2, 3, 4]), random.normal(size=[3, 2, 3, 4])
  together = pair_loss(features, others, features, others, 0.3).loss
  for draw in range(3):
    alone = pair_loss(features, others[draw], features, others[draw], 0.3).loss
    np.testing.assert_allclose(together[draw], alone, atol=1e-6)


def test_centring_keeps_the_mean_of_all_and_evens_the_points():
  similarity = np.random.default_rng(3).uniform(size=[4, 5, 6]).astype(np.float32)
  found = centred(similarity).numpy()
  np.testing.assert_allclose(found.mean(-1), np.full([4, 5], similarity.mean()), rtol=1e-5)
  np.testing.assert_allclose(
      found - found[..., :1], similarity - similarity[..., :1], atol=1e-6)


@pytest.mark.parametrize('options, low, high', [
    ({'zero_clamp': False}, True, True), ({}, False, True), ({'stabilize': True}, False, False),
    ({'zero_clamp': False, 'stabilize': True}, True, False)])
def test_clamped_pairs_have_no_gradient(options, low, high):
  """Cosines -0.6, 0 and 0.96: at the bound itself the gradient passes."""
  code = tf.constant([[[1.0, 0.0]]])
  for angle, passes in ((-0.6, low), (0.0, True), (0.96, high)):
    other = tf.constant([[[angle, np.sqrt(1 - angle ** 2)]]], tf.float32)
    with tf.GradientTape() as tape:
      tape.watch([code, other])
      loss = pair_loss(code, code, code, other, 0.2, pointwise=False, **options).loss
    assert all(np.any(value) == passes for value in tape.gradient(loss, [code, other])), angle


def test_features_have_no_gradient_and_codes_of_both_sides_have():
  values = [tf.constant(value) for value in batch()[:4]]
  rest = batch()[4:]
  with tf.GradientTape() as tape:
    tape.watch(values)
    result = correspondence_loss(*values, *rest, **SHIFTS)
    loss = sum(tf.reduce_mean(pairs.loss) for pairs in result)
  gradients = tape.gradient(loss, values)
  assert gradients[0] is None and gradients[1] is None
  assert all(np.any(value) for value in gradients[2:])


def test_gradients_equal_differences():
  """Of the whole loss by the codes, in one random direction."""
  features, partners, code, partner_code, *rest = batch()
  random = np.random.default_rng(5)
  direction = [random.normal(size=code.shape) for _ in range(2)]

  def loss(step):
    codes = [tf.constant(value + step * move, tf.float32) for value, move in zip(
        (code, partner_code), direction, strict=True)]
    with tf.GradientTape() as tape:
      tape.watch(codes)
      result = correspondence_loss(
          features, partners, *codes, *rest, **SHIFTS, zero_clamp=False)
      value = sum(tf.reduce_mean(pairs.loss) for pairs in result)
    return float(value), tape.gradient(value, codes)
  slope = sum(np.sum(gradient * move) for gradient, move in zip(
      loss(0)[1], direction, strict=True))
  np.testing.assert_allclose((loss(5e-3)[0] - loss(-5e-3)[0]) / 1e-2, slope, rtol=2e-3)


@pytest.mark.parametrize('size', [0.0, 1e-30])
def test_a_zero_code_has_neither_infinite_nor_huge_gradients(size):
  """The original's is 1e10 times the others'."""
  features, partners, code, partner_code, _, _, pairing = batch()
  corner = tf.fill([4, POINTS, 2], -1.0)
  code[0, 0, 0] = size
  code = tf.constant(code)
  with tf.GradientTape() as tape:
    tape.watch(code)
    result = correspondence_loss(
        features, partners, code, partner_code, corner, corner, pairing, **SHIFTS)
    loss = sum(tf.reduce_mean(pairs.loss) for pairs in result)
  gradient = tape.gradient(loss, code).numpy()
  assert np.isfinite(float(loss)) and np.isfinite(gradient).all()
  assert not gradient[0, 0, 0].any() and gradient[1, 0, 0].any() and abs(gradient).max() < 1


def test_the_three_kinds_are_what_they_are_called():
  features, partners, code, partner_code, points, others, pairing = batch()
  result = correspondence_loss(
      features, partners, code, partner_code, points, others, pairing, **SHIFTS)
  assert result.itself.loss.shape == result.neighbour.loss.shape == (4, POINTS, POINTS)
  assert result.random.loss.shape == (DRAWS, 4, POINTS, POINTS)
  # Each point is compared with itself too.
  np.testing.assert_allclose(
      tf.linalg.diag_part(result.itself.similarity), np.ones([4, POINTS]), rtol=1e-5)
  # The random others are the images that the pairing names, at the anchor's second points.
  for draw in range(DRAWS):
    chosen = pairing[draw].numpy()
    swapped = correspondence_loss(
        features, features[chosen], code, code[chosen], points, others, pairing,
        **{**SHIFTS, 'neighbour_shift': SHIFTS['random_shift']})
    np.testing.assert_allclose(swapped.neighbour.loss, result.random.loss[draw], atol=1e-6)


def value_and_gradients(*arguments):
  *maps, points, others, pairing = arguments
  with tf.GradientTape() as tape:
    tape.watch(maps[2:])
    result = correspondence_loss(*maps, points, others, pairing, **SHIFTS)
    losses = [tf.reduce_mean(pairs.loss) for pairs in result]
    total = tf.add_n(losses)
  return losses, tape.gradient(total, maps[2:])


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_equals_eager(jit_compile):
  arguments = [tf.constant(value) for value in batch()]
  found = tf.function(value_and_gradients, jit_compile=jit_compile)(*arguments)
  for actual, expected in zip(
      tf.nest.flatten(found), tf.nest.flatten(value_and_gradients(*arguments)), strict=True):
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_two_replicas_compute_what_one_device_does():
  data = batch()
  expected, expected_gradients = value_and_gradients(*map(tf.constant, data))
  strategy = make_strategy(2)

  def parts(value, axis=0):
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            np.split(np.array(value), 2, axis)[context.replica_id_in_sync_group]))
  arguments = [*map(parts, data[:-1]), parts(data[-1], axis=1)]
  losses, gradients = tf.function(
      lambda: strategy.run(value_and_gradients, args=arguments))()
  for value, wanted in zip(losses, expected, strict=True):
    values = strategy.experimental_local_results(value)
    np.testing.assert_allclose(np.mean(values), wanted, rtol=1e-5)
  for value, wanted in zip(gradients, expected_gradients, strict=True):
    joined = np.concatenate(strategy.experimental_local_results(value)) / 2
    np.testing.assert_allclose(joined, wanted, atol=1e-6)

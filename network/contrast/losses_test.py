import numpy as np
import pytest
import tensorflow as tf

from network.contrast import losses
from network.contrast.losses import contrast_loss
from network.contrast.sampling import sample_anchors
from network.segsort.losses import mean_over_valid

BASE = 0.07


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def case(seed=0, count=24, dim=5, classes=3, missing=4):
  random = np.random.default_rng(seed)
  features = unit(random.normal(size=[count, dim])).astype(np.float32)
  labels = random.integers(0, classes, count).astype(np.int32)
  return features, labels, np.arange(count) < count - missing


def oracle(anchors, labels, valid, temperature, keys=None, remove_own=None):
  """Loss, validity and similarities of each anchor, and the gradient of the mean, in float64."""
  x = np.asarray(anchors, np.float64)
  in_batch = keys is None
  k, key_labels, key_valid = (x, labels, valid) if in_batch else keys
  k = np.asarray(k, np.float64)
  remove_own = in_batch if remove_own is None else remove_own
  count = len(x)
  loss, counted = np.zeros(count), np.zeros(count)
  similarity = np.zeros([2, count])
  slopes = np.zeros([count, len(k)])  # of each loss by each similarity
  for i in range(count):
    there = [j for j in range(len(k)) if valid[i] and key_valid[j]]
    positive = [j for j in there if key_labels[j] == labels[i] and not (remove_own and j == i)]
    negative = [j for j in there if key_labels[j] != labels[i]]
    s = x[i] @ k.T
    for place, members in enumerate((positive, negative)):
      similarity[place, i] = s[members].mean() if members else 0
    if not positive:
      continue
    counted[i] = 1
    if not negative:
      continue
    s = s / temperature
    gap = np.logaddexp.reduce(s[negative]) - s[positive]
    factor = temperature / BASE / len(positive)
    loss[i] = factor * np.logaddexp(0, gap).sum()
    slope = factor * np.exp(-np.logaddexp(0, -gap)) / temperature
    slopes[i, positive] -= slope
    slopes[i, negative] += slope.sum() * np.exp(s[negative] - np.logaddexp.reduce(s[negative]))
  slopes /= max(counted.sum(), 1)
  gradient = slopes @ k + (slopes.T @ x if in_batch else 0)
  return loss, counted, *similarity, gradient


def check(anchors, labels, valid, temperature, keys=None, rtol=1e-5, **options):
  """Compares value and gradient with the oracle; returns the loss."""
  anchors = tf.convert_to_tensor(anchors)
  with tf.GradientTape() as tape:
    tape.watch(anchors)
    result = contrast_loss(
        anchors, labels, valid, temperature=temperature, base_temperature=BASE, keys=keys,
        **options)
    loss = mean_over_valid(result.per_anchor, result.valid)
  gradient = tape.gradient(loss, anchors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
  *expected, expected_gradient = oracle(
      tf.cast(anchors, tf.float64).numpy(), labels, valid, temperature, keys,
      options.get('faithful') or None)
  for actual, wanted in zip(result, expected, strict=True):
    assert actual.dtype == tf.float32
    scale = max(1.0, np.abs(wanted).max())
    np.testing.assert_allclose(actual, wanted, atol=rtol * scale)
  gradient = tf.cast(gradient, tf.float64).numpy()
  step = {tf.float16: 1e-3, tf.bfloat16: 8e-3}.get(anchors.dtype, 0.0)
  np.testing.assert_allclose(
      gradient, expected_gradient,
      atol=(10 * rtol + step) * max(np.abs(expected_gradient).max(), 1e-7))
  return float(loss)


@pytest.mark.parametrize('temperature', [0.005, 0.01, 0.018, 0.07, 0.3, 1.0])
def test_it_equals_the_oracle_at_every_temperature(temperature):
  for seed in range(2):
    # Similarities are exact to 1e-7, and divided by the temperature.
    assert check(*case(seed), temperature, rtol=1e-5 + 2e-7 / temperature) > 0


@pytest.mark.parametrize('temperature', [0.005, 0.01, 0.07])
def test_separated_classes_cost_nothing_and_are_no_nan(temperature):
  """What is NaN in the original below a temperature of 0.02."""
  labels = np.repeat([0, 1], 6).astype(np.int32)
  features = np.where(labels[:, np.newaxis] == [0, 1], 1, 0).astype(np.float32)
  features[:, 0] -= labels
  loss = check(unit(features).astype(np.float32), labels, np.ones(12, bool), temperature)
  assert loss < 1e-5


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_precision_is_compared_in_float32(dtype):
  features, labels, valid = case()
  assert check(tf.cast(features, dtype), labels, valid, 0.07) > 0


@pytest.mark.parametrize('length', [30.0, 1000.0])
def test_features_without_unit_length(length):
  features, labels, valid = case(count=12)
  assert np.isfinite(check(features * np.float32(length), labels, valid, 0.07))


@pytest.mark.parametrize('labels, valid, loss, counted', [
    ([2, 2, 2, 2], [1, 1, 1, 1], 0, 4),  # no negative
    ([0, 1, 2, 3], [1, 1, 1, 1], 0, 0),  # no positive
    ([0, 0, 1, 1], [0, 0, 0, 0], 0, 0),  # nothing at all
    ([0, 0, 1, 2], [1, 1, 1, 1], None, 2),
    ([0, 0, 1, 1], [1, 0, 1, 1], None, 2)])
def test_what_is_missing(labels, valid, loss, counted):
  features = case(count=4)[0]
  labels, valid = np.array(labels, np.int32), np.array(valid, bool)
  value = check(features, labels, valid, 0.1)
  assert value == loss if loss is not None else value > 0
  result = contrast_loss(features, labels, valid, temperature=0.1, base_temperature=BASE)
  assert result.valid.numpy().sum() == counted


def memory(seed=0, classes=3, size=13, dim=5, missing=3):
  random = np.random.default_rng(seed)
  count = classes * size
  return (unit(random.normal(size=[count, dim])).astype(np.float32),
          np.repeat(np.arange(classes), size).astype(np.int32), np.arange(count) % size >= missing)


@pytest.mark.parametrize('entries', [39 * 7, 39, 1, 2 ** 23])
@pytest.mark.parametrize('temperature', [0.005, 0.07, 1.0])
def test_a_memory_in_blocks_of_any_size(monkeypatch, entries, temperature):
  monkeypatch.setattr(losses, '_BLOCK_ENTRIES', entries)
  assert check(*case(), temperature, memory(), rtol=1e-5 + 2e-7 / temperature) > 0


def test_never_are_more_similarities_held_than_a_block_has(monkeypatch):
  held, compare = [], losses._compare

  def measured(anchors, labels, valid, own, keys, *scales):
    held.append(anchors.shape[0] * keys[0].shape[0])
    return compare(anchors, labels, valid, own, keys, *scales)
  monkeypatch.setattr(losses, '_compare', measured)
  monkeypatch.setattr(losses, '_BLOCK_ENTRIES', 39 * 7)
  check(*case(), 0.07, memory())
  assert held and max(held) == 39 * 7


def test_an_empty_memory():
  features, labels, valid = case()
  keys, key_labels, key_valid = memory()
  assert check(features, labels, valid, 0.07, (keys, key_labels, np.zeros_like(key_valid))) == 0
  assert check(features, labels, valid, 0.07, (keys[:0], key_labels[:0], key_valid[:0])) == 0


def test_anchors_whose_class_has_no_key_do_not_count():
  features, labels, valid = case()
  keys, key_labels, key_valid = memory()
  key_valid = key_valid & (key_labels != 1)
  assert check(features, labels, valid, 0.07, (keys, key_labels, key_valid)) > 0
  result = contrast_loss(
      features, labels, valid, temperature=0.07, base_temperature=BASE,
      keys=(keys, key_labels, key_valid))
  np.testing.assert_array_equal(result.valid, valid & (labels != 1))


def test_faithful_removes_a_column_and_needs_enough_keys():
  features, labels, valid = case()
  keys = memory()
  assert check(features, labels, valid, 0.07, keys, faithful=True) != check(
      features, labels, valid, 0.07, keys)
  with pytest.raises(ValueError, match='12 keys for 24 anchors'):
    check(features, labels, valid, 0.07, tuple(value[:12] for value in keys), faithful=True)


def test_keys_take_no_gradient():
  features, labels, valid = case()
  keys, *others = memory()
  keys = tf.constant(keys)
  with tf.GradientTape() as tape:
    tape.watch(keys)
    result = contrast_loss(features, labels, valid, temperature=0.07, base_temperature=BASE,
                           keys=(keys, *others))
    loss = tf.reduce_sum(result.per_anchor)
  assert tape.gradient(loss, keys) is None


@pytest.mark.parametrize('jit_compile', [False, True])
@pytest.mark.parametrize('with_memory', [False, True])
def test_compiled_equals_eager(monkeypatch, jit_compile, with_memory):
  monkeypatch.setattr(losses, '_BLOCK_ENTRIES', 39 * 7)
  keys = tuple(map(tf.constant, memory())) if with_memory else None

  def value_and_gradient(features, labels, valid):
    with tf.GradientTape() as tape:
      tape.watch(features)
      result = contrast_loss(
          features, labels, valid, temperature=0.07, base_temperature=BASE, keys=keys)
      loss = mean_over_valid(result.per_anchor, result.valid)
    return loss, tape.gradient(loss, features)
  arguments = tuple(map(tf.constant, case()))
  compiled = tf.function(value_and_gradient, jit_compile=jit_compile)
  for actual, expected in zip(
      compiled(*arguments), value_and_gradient(*arguments), strict=True):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


DEGENERATE = {
    'one class only': (np.zeros([2, 6, 6]), 20, 4, 2),
    'no eligible class': (np.arange(72).reshape(2, 6, 6) % 4, 20, 9, 0),
    'all ignored': (np.full([2, 6, 6], -1), 20, 4, 0),
    'one view': (np.arange(72).reshape(2, 6, 6) // 12 % 3, 20, 1, 6),
    'views of one kind': (np.arange(72).reshape(2, 6, 6) // 18, 20, 5, 4),
    'more groups than samples': (np.arange(72).reshape(2, 6, 6) % 4, 5, 3, 2)}


@pytest.mark.parametrize('name', DEGENERATE)
@pytest.mark.parametrize('with_memory', [False, True])
def test_degenerate_batches_give_finite_losses_and_gradients(name, with_memory):
  labels, max_samples, max_views, groups = DEGENERATE[name]
  labels = labels.astype(np.int32)
  random = np.random.default_rng(4)
  for dtype, length, temperature in (
      ('float32', 1, 0.07), ('float32', 40, 0.005), ('float16', 1, 0.005), ('bfloat16', 1, 1.0)):
    embedding = tf.cast(length * unit(random.normal(size=[2, 6, 6, 5])), dtype)
    keys = None
    if with_memory:  # of class 1 and 2 alone
      keys, key_labels, key_valid = memory()
      keys = keys, key_labels, key_valid & (key_labels > 0)
    with tf.GradientTape() as tape:
      tape.watch(embedding)
      anchors = sample_anchors(
          embedding, tf.constant(labels), tf.zeros_like(labels), num_classes=4,
          max_samples=max_samples, max_views=max_views, seed=[0, 1])
      result = contrast_loss(*anchors[:3], temperature=temperature, base_temperature=BASE,
                             keys=keys)
      loss = mean_over_valid(result.per_anchor, result.valid)
    gradient = tape.gradient(loss, embedding, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float64).numpy()
    assert int(anchors.num_groups) == groups
    expected, counted, *_ = oracle(*(value.numpy() for value in anchors[:3]), temperature, keys)
    np.testing.assert_allclose(result.per_anchor, expected, rtol=1e-4,
                               atol=1e-5 + 3e-7 * length ** 2 / temperature)
    np.testing.assert_array_equal(result.valid, counted)
    assert np.isfinite(float(loss)) and np.isfinite(gradient).all()
    assert np.any(gradient) == (float(loss) > 0)

import numpy as np
import pytest
import tensorflow as tf

from network.segsort import sorted_contrast


def unit(x):
  return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def example(seed=0, pixels=60, size=12, memory=7, dim=4):
  """Classes 0 to 3, of which 3 is only in the memory, and 9, which has one prototype."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 3, size).astype(np.int32)
  labels[4] = 9
  valid = rng.uniform(size=size) < 0.8
  valid[4] = True
  own = rng.integers(-1, size, pixels).astype(np.int32)
  return (unit(rng.standard_normal([pixels, dim])), own, unit(rng.standard_normal([size, dim])),
          labels, valid, unit(rng.standard_normal([memory, dim])),
          rng.integers(0, 4, memory).astype(np.int32), rng.uniform(size=memory) < 0.8)


def value_and_gradients(arrays, weights, concentration=10.0):
  embedding, own, prototypes, labels, valid, memory, *of_memory = arrays
  embedding, prototypes = tf.constant(embedding), tf.constant(prototypes)
  with tf.GradientTape() as tape:
    tape.watch([embedding, prototypes])
    groups = sorted_contrast.group_by_class(own, labels, valid, *of_memory)
    loss = sorted_contrast.class_contrast(embedding, prototypes, memory, groups, concentration)
    total = tf.reduce_sum(loss * weights)
  return [loss.numpy(), *(x.numpy() for x in tape.gradient(total, [embedding, prototypes]))]


def masked(arrays, weights, concentration):
  """The same with masks over all pixels and prototypes, in float64, by TensorFlow's gradient."""
  embedding, own, prototypes, labels, valid, memory, memory_labels, memory_valid = arrays
  embedding, prototypes = (tf.constant(x, tf.float64) for x in (embedding, prototypes))
  counted = (own >= 0) & valid[own]
  all_labels = np.concatenate([labels, memory_labels])
  usable = np.concatenate([valid, memory_valid])
  same = (labels[own][:, None] == all_labels) & usable
  positive = same & (np.arange(len(all_labels)) != own[:, None])
  positive = np.where(positive.any(axis=1, keepdims=True), positive, same)
  with tf.GradientTape() as tape:
    tape.watch([embedding, prototypes])
    logits = concentration * tf.matmul(
        embedding, tf.concat([prototypes, tf.constant(memory, tf.float64)], 0), transpose_b=True)

    def log_sum(mask):
      return tf.reduce_logsumexp(tf.where(mask, logits, -1e9), axis=1)

    loss = tf.where(counted, log_sum(positive | (usable & ~same)) - log_sum(positive), 0.0)
    total = tf.reduce_sum(loss * weights)
  return [loss.numpy(), *(x.numpy() for x in tape.gradient(total, [embedding, prototypes]))]


def test_groups_hold_each_pixel_and_prototype_that_counts_once_and_by_class():
  _, own, _, labels, valid, _, memory_labels, memory_valid = example()
  groups = sorted_contrast.group_by_class(own, labels, valid, memory_labels, memory_valid)
  pixels, order = groups.pixels.numpy(), groups.order.numpy()
  assert sorted(pixels) == list(np.flatnonzero((own >= 0) & valid[own]))
  assert sorted(order) == list(np.flatnonzero(valid))
  np.testing.assert_array_equal(order[groups.own], own[pixels])
  classes = sorted(set(labels[valid]))
  assert len(groups.rows) == len(classes) + 2
  assert groups.rows[1] == groups.columns[1] == groups.memory_end[0] == 0  # the empty group
  for number, label in enumerate(classes, 1):
    assert set(labels[own[pixels[groups.rows[number]:groups.rows[number + 1]]]]) <= {label}
    assert set(labels[order[groups.columns[number]:groups.columns[number + 1]]]) == {label}
    remembered = groups.memory_order[groups.memory_begin[number]:groups.memory_end[number]]
    assert sorted(remembered.numpy()) == list(
        np.flatnonzero(memory_valid & (memory_labels == label)))


@pytest.mark.parametrize('part', [5, 1024])  # groups in several parts, and in one
@pytest.mark.parametrize('weighting', ['equal', 'one by one'])
@pytest.mark.parametrize('concentration', [10.0, 100.0])
def test_loss_and_gradients_equal_masked_ones(monkeypatch, part, weighting, concentration):
  monkeypatch.setattr(sorted_contrast, 'PART', part)
  arrays = example()
  weights = np.full(60, 0.3, np.float32)
  if weighting == 'one by one':
    weights = np.random.default_rng(1).uniform(-1, 1, 60).astype(np.float32)
  actual = value_and_gradients(arrays, weights, concentration)
  for a, b in zip(actual, masked(arrays, weights, concentration), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(np.abs(b).max(), 1.0))


def test_a_graph_of_open_sizes_serves_every_batch():
  traces = []

  @tf.function(input_signature=[
      tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 4]),
      tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.bool), tf.TensorSpec([None, 4]),
      tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.bool)])
  def loss(embedding, own, prototypes, labels, valid, memory, *of_memory):
    traces.append(1)
    groups = sorted_contrast.group_by_class(own, labels, valid, *of_memory)
    return sorted_contrast.class_contrast(embedding, prototypes, memory, groups, 10.0)

  for arrays in (example(1), example(2, pixels=33, size=9, memory=0)):
    expected = masked(arrays, 1.0, 10.0)[0]
    np.testing.assert_allclose(loss(*arrays), expected, rtol=1e-5, atol=1e-5)
  assert len(traces) == 1

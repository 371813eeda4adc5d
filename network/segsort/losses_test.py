import numpy as np
import pytest
import tensorflow as tf

from network.segsort import losses


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def naive_loss(embedding, own, prototypes, labels, valid, concentration, memory=None):
  """Loops in float64 over pixels and prototypes: loss and mean cosines of each pixel."""
  members = [(p, y) for p, y in zip(prototypes, labels, strict=True)]
  usable = list(valid)
  if memory is not None:
    members += list(zip(memory[0], memory[1], strict=True))
    usable += list(memory[2])
  results = []
  for vector, index in zip(embedding, own, strict=True):
    if index < 0:
      results.append((0.0, 0.0, 0.0))
      continue
    positive, negative = [], []
    for j, (prototype, label) in enumerate(members):
      if usable[j] and j != index:
        cosine = sum(a * b for a, b in zip(vector, prototype, strict=True))
        (positive if label == labels[index] else negative).append(cosine)
    positive = positive or [vector @ members[index][0]]
    # exp(kappa * (c - 1)) cannot overflow, and in float64 it does not underflow in these tests.
    numerator = sum(np.exp(concentration * (c - 1)) for c in positive)
    rest = sum(np.exp(concentration * (c - 1)) for c in negative)
    results.append((-np.log(numerator / (numerator + rest)), np.mean(positive),
                    np.mean(negative) if negative else 0.0))
  return np.array(results).T


def example(seed=0, pixels=24, size=7, dim=4, classes=3):
  """Pixels, some not counted, and prototypes, some not valid; the label 9 is there only once."""
  rng = np.random.default_rng(seed)
  prototypes = unit(rng.standard_normal([size, dim]))
  labels = rng.integers(0, classes, size).astype(np.int32)
  valid = np.ones(size, bool)
  valid[[1, size - 1]] = False
  labels[0] = 9
  own = rng.choice([-1, 0, *np.flatnonzero(valid)], pixels).astype(np.int32)
  embedding = unit(rng.standard_normal([pixels, dim]))
  return embedding, own, prototypes, labels, valid


def bank(seed=1, size=5, dim=4):
  rng = np.random.default_rng(seed)
  return (unit(rng.standard_normal([size, dim])), rng.integers(0, 3, size).astype(np.int32),
          np.array([True, False, True, True, False])[:size])


def single(*arrays):
  """The same arrays with float32 in the place of float64."""
  return [np.asarray(a, np.float32) if np.asarray(a).dtype == np.float64 else a for a in arrays]


def value_and_gradients(arrays, concentration, memory=None, block_size=128):
  embedding, own, prototypes, labels, valid = single(*arrays)
  embedding, prototypes = tf.constant(embedding), tf.constant(prototypes)
  memory = None if memory is None else single(*memory)
  with tf.GradientTape() as tape:
    tape.watch([embedding, prototypes])
    result = losses.supervised_segsort_loss(
        embedding, own, prototypes, labels, valid, concentration, memory, block_size)
    loss = losses.mean_over_valid(result.per_pixel, result.valid)
  gradients = tape.gradient(
      loss, [embedding, prototypes], unconnected_gradients=tf.UnconnectedGradients.ZERO)
  return result, loss, [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


@pytest.mark.parametrize('with_memory', [False, True])
@pytest.mark.parametrize('concentration', [1.0, 10.0, 40.0, 40.5, 100.0])
def test_supervised_loss_equals_loops(concentration, with_memory):
  arrays, memory = example(), bank() if with_memory else None
  result, loss, _ = value_and_gradients(arrays, concentration, memory)
  expected, positive, negative = naive_loss(*arrays, concentration, memory)
  np.testing.assert_allclose(result.per_pixel, expected, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(result.positive_similarity, positive, atol=1e-6)
  np.testing.assert_allclose(result.negative_similarity, negative, atol=1e-6)
  counted = arrays[1] >= 0
  np.testing.assert_array_equal(result.valid, counted)
  np.testing.assert_allclose(loss, expected[counted].mean(), rtol=1e-5)


@pytest.mark.parametrize('concentration', [10.0, 100.0])
def test_gradients_equal_finite_differences_of_the_loops(concentration):
  arrays, memory = example(pixels=6, size=5), bank()
  _, _, gradients = value_and_gradients(arrays, concentration, memory)
  counted = arrays[1] >= 0

  def loss(embedding, prototypes):
    values, _, _ = naive_loss(
        embedding, arrays[1], prototypes, *arrays[3:], concentration, memory)
    return values[counted].mean()

  inputs = [arrays[0], arrays[2]]
  for place, gradient in enumerate(gradients):
    expected = np.zeros_like(inputs[place])
    for index in np.ndindex(expected.shape):
      values = []
      for change in (1e-6, -1e-6):
        changed = [array.copy() for array in inputs]
        changed[place][index] += change
        values.append(loss(*changed))
      expected[index] = (values[0] - values[1]) / 2e-6
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize('block_size', [1, 3, 4, 12])
def test_block_size_changes_nothing(block_size):
  arrays, memory = example(), bank()
  expected = value_and_gradients(arrays, 10.0, memory)
  actual = value_and_gradients(arrays, 10.0, memory, block_size)
  np.testing.assert_allclose(actual[0].per_pixel, expected[0].per_pixel, rtol=1e-6, atol=1e-6)
  for a, b in zip(actual[2], expected[2], strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_places_without_a_prototype_change_nothing():
  embedding, own, prototypes, labels, valid = example()
  spread = np.arange(7) * 3 + 2  # as if gathered from replicas, with gaps between
  wide = np.full([30, 4], 1e6)
  wide[spread] = prototypes
  wide_labels, wide_valid = np.zeros(30, np.int32), np.zeros(30, bool)
  wide_labels[spread], wide_valid[spread] = labels, valid
  wide_own = np.where(own < 0, -1, spread[own]).astype(np.int32)
  expected = value_and_gradients((embedding, own, prototypes, labels, valid), 10.0)
  actual = value_and_gradients((embedding, wide_own, wide, wide_labels, wide_valid), 10.0)
  np.testing.assert_allclose(actual[0].per_pixel, expected[0].per_pixel, rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(actual[2][0], expected[2][0], atol=1e-7)
  np.testing.assert_allclose(actual[2][1][spread], expected[2][1], atol=1e-7)
  assert not np.delete(actual[2][1], spread, axis=0).any()


def test_order_of_pixels_and_prototypes_does_not_matter():
  embedding, own, prototypes, labels, valid = example()
  rng = np.random.default_rng(3)
  pixels, places = rng.permutation(len(own)), rng.permutation(len(labels))
  new_place = np.argsort(places)
  mixed = (embedding[pixels], np.where(own < 0, -1, new_place[own])[pixels].astype(np.int32),
           prototypes[places], labels[places], valid[places])
  expected = value_and_gradients((embedding, own, prototypes, labels, valid), 10.0)
  actual = value_and_gradients(mixed, 10.0)
  np.testing.assert_allclose(
      actual[0].per_pixel, expected[0].per_pixel.numpy()[pixels], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(actual[2][1], expected[2][1][places], atol=1e-6)


def test_pixels_may_be_split_into_batches_against_the_same_prototypes():
  embedding, own, *rest = example()
  whole = value_and_gradients((embedding, own, *rest), 10.0)[0]
  parts = [value_and_gradients((embedding[part], own[part], *rest), 10.0)[0]
           for part in (slice(0, 10), slice(10, None))]
  np.testing.assert_allclose(
      tf.concat([part.per_pixel for part in parts], 0), whole.per_pixel, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('case', ['no pixel', 'no prototype'])
def test_nothing_valid_gives_zero_loss_and_zero_gradient(case):
  embedding, own, prototypes, labels, valid = example()
  own = np.full_like(own, -1)
  if case == 'no prototype':
    valid = np.zeros_like(valid)
  result, loss, gradients = value_and_gradients((embedding, own, prototypes, labels, valid), 10.0)
  assert loss == 0.0
  assert not np.any(result.per_pixel) and not np.any(result.positive_similarity)
  assert all(np.array_equal(gradient, np.zeros_like(gradient)) for gradient in gradients)


def test_a_single_class_has_no_negatives_and_no_loss():
  embedding, own, prototypes, labels, valid = example()
  result, loss, gradients = value_and_gradients(
      (embedding, own, prototypes, np.zeros_like(labels), valid), 10.0)
  assert loss == 0.0 and not np.any(result.negative_similarity)
  assert not any(gradient.any() for gradient in gradients)


def test_large_concentration_stays_finite_at_opposite_vectors():
  embedding = np.array([[1.0, 0.0], [1.0, 0.0]])
  prototypes = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
  own, labels = np.array([1, 0], np.int32), np.array([0, 1, 2], np.int32)
  arrays = (embedding, own, prototypes, labels, np.ones(3, bool))
  result, _, gradients = value_and_gradients(arrays, 100.0)
  np.testing.assert_allclose(result.per_pixel, [200 + np.log(2), np.log(2)], rtol=1e-6)
  assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_of_two_prototypes_of_a_class_the_other_one_is_positive():
  prototypes = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
  arrays = (prototypes[:1], np.array([0], np.int32), prototypes, np.array([4, 4, 5], np.int32),
            np.ones(3, bool))
  result, _, _ = value_and_gradients(arrays, 5.0)
  np.testing.assert_allclose(result.per_pixel, [np.log1p(np.exp(5 * (0.0 - 0.6)))], rtol=1e-5)
  np.testing.assert_allclose(result.positive_similarity, [0.6], rtol=1e-6)


def naive_unsupervised(embedding, own, prototypes, valid, concentration):
  values = []
  for vector, index in zip(embedding, own, strict=True):
    logits = concentration * prototypes @ vector
    values.append(0.0 if index < 0 else np.log(np.exp(logits[valid]).sum()) - logits[index])
  return np.array(values)


@pytest.mark.parametrize('concentration', [10.0, 100.0])
def test_unsupervised_loss_and_gradient_equal_the_softmax(concentration):
  embedding, own, prototypes, _, valid = example(2)
  x, p = (tf.constant(array, tf.float32) for array in (embedding, prototypes))
  with tf.GradientTape() as tape:
    tape.watch([x, p])
    result = losses.unsupervised_segsort_loss(x, own, p, valid, concentration)
    loss = losses.mean_over_valid(result.per_pixel, result.valid)
  gradients = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, [x, p])]
  np.testing.assert_allclose(
      result.per_pixel, naive_unsupervised(embedding, own, prototypes, valid, concentration),
      rtol=1e-5, atol=1e-5)
  # The independent formula: d loss / d logits = softmax - one-hot.
  counted = own >= 0
  logits = np.where(valid, concentration * embedding @ prototypes.T, -np.inf)
  shares = np.exp(logits - logits.max(axis=1, keepdims=True))
  shares /= shares.sum(axis=1, keepdims=True)
  shares[counted, own[counted]] -= 1
  shares *= concentration * counted[:, None] / counted.sum()
  np.testing.assert_allclose(gradients[0], shares @ prototypes, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(gradients[1], shares.T @ embedding, rtol=1e-4, atol=1e-5)


def test_half_precision_is_computed_in_float32():
  embedding, own, prototypes, labels, valid = example()
  half = [tf.cast(array, tf.bfloat16) for array in (embedding, prototypes)]
  full = [tf.cast(array, tf.float32) for array in half]
  a, b = (losses.supervised_segsort_loss(x, own, p, labels, valid, 10.0) for x, p in (half, full))
  assert a.per_pixel.dtype == tf.float32
  np.testing.assert_array_equal(a.per_pixel, b.per_pixel)


def test_memory_and_similarities_carry_no_gradient():
  embedding, own, prototypes, labels, valid = single(*example())
  memory = [tf.constant(array) for array in single(*bank())]
  embedding = tf.constant(embedding)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch([embedding, memory[0]])
    result = losses.supervised_segsort_loss(
        embedding, own, prototypes, labels, valid, 10.0, memory)
  assert tape.gradient(result.per_pixel, memory[0]) is None
  assert tape.gradient(result.positive_similarity, embedding) is None
  assert tape.gradient(result.negative_similarity, embedding) is None
  assert tape.gradient(result.per_pixel, embedding) is not None


@pytest.mark.parametrize('concentration', [10.0, 100.0])
@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_loss_and_gradients_equal_eager_ones(jit_compile, concentration):
  embedding, own, prototypes, labels, valid = single(*example())
  memory = single(*bank())

  @tf.function(jit_compile=jit_compile)
  def compiled(embedding, prototypes):
    with tf.GradientTape() as tape:
      tape.watch([embedding, prototypes])
      result = losses.supervised_segsort_loss(
          embedding, own, prototypes, labels, valid, concentration, memory, block_size=4)
      loss = losses.mean_over_valid(result.per_pixel, result.valid)
    return result, tape.gradient(loss, [embedding, prototypes])

  result, gradients = compiled(tf.constant(embedding), tf.constant(prototypes))
  expected, _, expected_gradients = value_and_gradients(
      (embedding, own, prototypes, labels, valid), concentration, memory)
  for a, b in zip(result, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  for a, b in zip(gradients, expected_gradients, strict=True):
    np.testing.assert_allclose(tf.convert_to_tensor(a), b, rtol=1e-5, atol=1e-6)


def test_pixels_of_a_prototype_that_is_not_valid_do_not_count():
  embedding, own, prototypes, labels, valid = example()
  own[:] = np.arange(len(own)) % len(valid)
  result, _, _ = value_and_gradients((embedding, own, prototypes, labels, valid), 10.0)
  np.testing.assert_array_equal(result.valid, valid[own])
  expected, _, _ = naive_loss(
      embedding, np.where(valid[own], own, -1), prototypes, labels, valid, 10.0)
  np.testing.assert_allclose(result.per_pixel, expected, rtol=1e-5, atol=1e-5)

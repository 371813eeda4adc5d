import numpy as np
import pytest
import tensorflow as tf

from network.stego import probes


def data():
  random = np.random.default_rng(0)
  return random.normal(size=[2, 3, 4, 5]), random.normal(size=[4, 5])


def cosines(code, centroids):
  unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (code, centroids)]
  return unit[0] @ unit[1].T


def softmax(x):
  x = np.exp(x - x.max(-1, keepdims=True))
  return x / x.sum(-1, keepdims=True)


def test_hard_clusters_are_the_nearest():
  code, centroids = data()
  similar = cosines(code, centroids)
  found = probes.cluster_similarities(code, centroids)
  np.testing.assert_allclose(found, similar, atol=1e-6)
  np.testing.assert_array_equal(
      np.argmax(probes.cluster_assignment(found), -1), similar.argmax(-1))
  np.testing.assert_allclose(
      probes.cluster_loss(code, centroids), -similar.max(-1).mean(), rtol=1e-6)


@pytest.mark.parametrize('alpha', [0.5, 2.0, 30.0])
def test_soft_clusters_equal_the_oracle(alpha):
  code, centroids = data()
  similar = cosines(code, centroids)
  share = softmax(alpha * similar)
  np.testing.assert_allclose(
      probes.cluster_assignment(probes.cluster_similarities(code, centroids), alpha), share,
      atol=1e-6)
  np.testing.assert_allclose(
      probes.cluster_loss(code, centroids, alpha), -(share * similar).sum(-1).mean(), rtol=1e-5)
  np.testing.assert_allclose(
      probes.cluster_log_probs(code, centroids, alpha), np.log(share), rtol=1e-4, atol=1e-6)


def test_of_equals_the_first_cluster_wins():
  code = np.ones([1, 2, 2, 3], np.float32)
  centroids = np.array([[-1, 0, 0], [1, 2, 3], [2, 4, 6]], np.float32)
  choice = probes.cluster_assignment(probes.cluster_similarities(code, centroids))
  np.testing.assert_array_equal(np.argmax(choice, -1), np.ones([1, 2, 2]))


def test_a_zero_code_and_a_zero_centroid_have_no_gradient():
  code, centroids = (tf.constant(x, tf.float32) for x in data())
  code *= np.array([0, 1, 1, 1], np.float32)[:, np.newaxis]
  centroids *= np.array([1, 0, 1, 1], np.float32)[:, np.newaxis]
  for alpha in (None, 2.0):
    with tf.GradientTape() as tape:
      tape.watch([code, centroids])
      loss = probes.cluster_loss(code, centroids, alpha)
    of_code, of_centroids = (value.numpy() for value in tape.gradient(loss, [code, centroids]))
    assert not of_code[:, :, 0].any() and of_code[:, :, 1:].any()
    assert not of_centroids[1].any() and of_centroids[0].any()


def test_training_the_centroids_is_k_means():
  """Four directions, four centroids near them: the loss falls to -1."""
  random = np.random.default_rng(1)
  directions = np.linalg.qr(random.normal(size=[4, 4]))[0]
  code = tf.constant(directions[random.integers(0, 4, 60)], tf.float32)
  centroids = tf.constant(directions + 0.3 * random.normal(size=[4, 4]), tf.float32)
  for _ in range(100):
    with tf.GradientTape() as tape:
      tape.watch(centroids)
      loss = probes.cluster_loss(code, centroids)
    centroids -= 2 * tape.gradient(loss, centroids)
  assert float(loss) < -0.999


def test_the_linear_probe_equals_the_oracle():
  random = np.random.default_rng(2)
  code, kernel, bias = (random.normal(size=size) for size in ([2, 3, 4, 5], [5, 6], [6]))
  kernel, bias = np.float32(kernel), np.float32(bias)
  labels = random.integers(-1, 8, [2, 6, 8]).astype(np.int32)
  logits = probes.linear_logits(np.float32(code), kernel, bias)
  np.testing.assert_allclose(logits, code @ kernel + bias, rtol=1e-4, atol=1e-5)
  total, count = probes.linear_loss(logits, labels)
  large = tf.image.resize(logits, [6, 8]).numpy()
  counted = (labels >= 0) & (labels < 6)
  expected = -np.log(softmax(large)[counted, labels[counted]])
  assert float(count) == counted.sum()
  np.testing.assert_allclose(total, expected.sum(), rtol=1e-5)


@pytest.mark.parametrize('label', [-1, 6, 255])
def test_without_a_valid_label_there_is_no_loss_and_no_gradient(label):
  logits = tf.constant(np.random.default_rng(3).normal(size=[2, 3, 4, 6]), tf.float32)
  with tf.GradientTape() as tape:
    tape.watch(logits)
    total, count = probes.linear_loss(logits, tf.fill([2, 6, 8], label))
  assert float(total) == float(count) == 0 and not np.any(tape.gradient(total, logits))


def test_cosines_equal_the_oracle():
  code, _ = data()
  other = np.random.default_rng(4).normal(size=code.shape)
  expected = (code * other).sum(-1) / np.linalg.norm(code, axis=-1) / np.linalg.norm(other, axis=-1)
  np.testing.assert_allclose(probes.cosines(code, other), expected, atol=1e-6)
  np.testing.assert_array_equal(probes.cosines(code, np.zeros_like(code)), np.zeros([2, 3, 4]))

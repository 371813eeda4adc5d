import numpy as np
import pytest
import tensorflow as tf

from network.segsort import softmax_contrast as module


def unit(x):
  return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('part', [8, 1024])
@pytest.mark.parametrize('weighting', ['equal', 'one by one', 'nothing counts'])
@pytest.mark.parametrize('concentration', [10.0, 100.0])
def test_loss_and_gradients_equal_the_softmax(monkeypatch, part, weighting, concentration):
  monkeypatch.setattr(module, 'PART', part)
  rng = np.random.default_rng(0)
  embedding, prototypes = unit(rng.standard_normal([50, 4])), unit(rng.standard_normal([9, 4]))
  valid = np.ones(9, bool)
  valid[[2, 8]] = False
  own = rng.integers(-1, 9, 50).astype(np.int32)
  weights = np.full(50, 0.2, np.float32)
  if weighting == 'one by one':
    weights = rng.uniform(-1, 1, 50).astype(np.float32)
  elif weighting == 'nothing counts':
    own[:] = -1
  counted = (own >= 0) & valid[own]

  def run(dtype, loss_of):
    inputs = [tf.constant(x, dtype) for x in (embedding, prototypes)]
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      loss = loss_of(*inputs)
      total = tf.reduce_sum(loss * tf.cast(weights, dtype))
    return [loss, *(tf.convert_to_tensor(x) for x in tape.gradient(total, inputs))]

  def softmax(embedding, prototypes):
    logits = tf.where(valid, concentration * tf.matmul(embedding, prototypes, transpose_b=True),
                      -1e9)
    return tf.where(counted, tf.nn.sparse_softmax_cross_entropy_with_logits(
        np.maximum(own, 0), logits), 0.0)

  actual = run(tf.float32, lambda e, p: module.softmax_contrast(e, own, p, valid, concentration))
  for a, b in zip(actual, run(tf.float64, softmax), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(np.abs(b).max(), 1.0))

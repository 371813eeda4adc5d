import numpy as np
import pytest
import tensorflow as tf

from network.segsort.blocked_contrast import blocked_contrast


@pytest.mark.parametrize('concentration', [10.0, 100.0])
@pytest.mark.parametrize('jit_compile', [False, True])
def test_loss_and_gradients_equal_masked_ones(concentration, jit_compile):
  rng = np.random.default_rng(0)
  embedding, prototypes = (
      tf.math.l2_normalize(rng.standard_normal([size, 4]).astype(np.float32), -1)
      for size in (30, 12))
  own = rng.integers(-1, 9, 30).astype(np.int32)
  labels = rng.integers(0, 3, 12).astype(np.int32)
  labels[0] = 7
  filled = np.arange(12) < 9
  alone = own == 0
  weights = rng.uniform(-1, 1, 30).astype(np.float32)
  same = (labels[own][:, None] == labels) & filled
  positive = same & ((np.arange(12) != own[:, None]) | alone[:, None])

  def gradients(function, *inputs):
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      loss = function(*inputs)
      total = tf.reduce_sum(loss * tf.cast(weights, loss.dtype))
    return loss, *tape.gradient(total, inputs)

  def masked(embedding, prototypes):
    logits = concentration * tf.matmul(embedding, prototypes, transpose_b=True)
    log_sums = [tf.reduce_logsumexp(tf.where(mask, logits, -1e9), axis=1)
                for mask in (positive | (filled & ~same), positive)]
    return tf.where(own >= 0, log_sums[0] - log_sums[1], 0.0)

  contrast = blocked_contrast(concentration, block_size=4)
  actual = tf.function(lambda *inputs: gradients(
      lambda e, p: contrast(e, p, own, alone, labels, filled), *inputs), jit_compile=jit_compile)(
          embedding, prototypes)
  expected = gradients(masked, *(tf.cast(x, tf.float64) for x in (embedding, prototypes)))
  for a, b in zip(actual, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(np.abs(b).max(), 1.0))

import numpy as np
import pytest
import tensorflow as tf

from network.common.layers import resize_bilinear_legacy
from network.segsort.votes import add_votes


@pytest.mark.parametrize('size', [(1, 1), (5, 9), (12, 10), (24, 20), (31, 17)])
def test_it_is_bilinear_resizing_of_the_votes(size):
  rng = np.random.default_rng(size[0])
  segments = np.repeat(np.repeat(  # some of more than a pixel, so that not all are borders
      rng.integers(0, 4, [2, *size]), 3, axis=1), 3, axis=2)[:, :size[0], :size[1]]
  votes = rng.integers(0, 15, [2, 4, 3]).astype(np.float32)
  total = rng.standard_normal([2, 12, 10, 3]).astype(np.float32)
  expected = total + resize_bilinear_legacy(
      tf.gather(votes, segments, batch_dims=1), [12, 10])
  run = tf.function(add_votes, input_signature=[
      tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None] * 3, tf.int32),
      tf.TensorSpec([None, None, 3])])
  np.testing.assert_allclose(
      run(total, segments.astype(np.int32), votes), expected, rtol=1e-5, atol=2e-5)

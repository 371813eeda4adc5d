import numpy as np
import pytest
import tensorflow as tf

from network.common.layers import resize_bilinear_legacy
from network.segsort.votes import sum_votes


@pytest.mark.parametrize('size', [(1, 1), (5, 9), (12, 10), (24, 20), (31, 17)])
def test_it_is_bilinear_resizing_of_the_votes(size):
  rng = np.random.default_rng(size[0])
  segments = np.repeat(np.repeat(  # some of more than a pixel, so that not all are borders
      rng.integers(0, 4, [2, *size]), 3, axis=1), 3, axis=2)[:, :size[0], :size[1]]
  votes = rng.integers(0, 15, [2, 4, 3]).astype(np.float32)
  expected = resize_bilinear_legacy(tf.gather(votes, segments, batch_dims=1), [12, 10])
  run = tf.function(sum_votes, input_signature=[
      [(tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None, None, 3]))],
      *[tf.TensorSpec([], tf.int32)] * 2])
  rows, places = run([(segments.astype(np.int32), votes)], 12, 10)
  np.testing.assert_allclose(tf.gather(rows, places), expected, rtol=1e-5, atol=2e-5)


def test_votes_of_copies_of_several_sizes_are_added():
  """Each copy has borders of its own, and a number of segments of its own."""
  rng, copies, expected = np.random.default_rng(1), [], 0.0
  for size, number in (((6, 8), 2), ((13, 17), 5), ((22, 29), 3)):
    segments = np.sort(rng.integers(0, number, [2, *size]), axis=2).astype(np.int32)
    votes = rng.integers(0, 15, [2, number, 4]).astype(np.float32)
    copies.append((tf.constant(segments), tf.constant(votes)))
    expected += resize_bilinear_legacy(tf.gather(votes, segments, batch_dims=1), [13, 17])
  rows, places = sum_votes(copies, 13, 17)
  np.testing.assert_allclose(tf.gather(rows, places), expected, rtol=1e-5, atol=2e-5)


def test_equal_pixels_share_a_row():
  segments = np.zeros([1, 8, 12], np.int32)
  segments[:, :, 7:] = 1
  copies = [(segments, np.float32([[[1, 0], [0, 1]]]))] * 2
  rows, places = sum_votes(copies, 8, 12)
  assert len(rows) == 2
  np.testing.assert_array_equal(places, segments)

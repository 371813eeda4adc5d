import numpy as np
import pytest
import tensorflow as tf

from network.common.channel_dropout import channel_masks


def test_channels_are_dropped_whole_and_the_mean_is_kept():
  masks = channel_masks([3, 5], 50, 80, 0.2, count=3).numpy()
  assert masks.shape == (3, 50, 1, 1, 80) and masks.dtype == np.float32
  assert set(np.unique(masks)) == {0, np.float32(1.25)}
  # Standard deviation of the share that is dropped: 0.4 / sqrt(4000) = 0.006.
  assert all(abs((mask == 0).mean() - 0.2) < 0.03 for mask in masks)


def test_masks_images_channels_and_seeds_are_independent():
  kept = channel_masks([3, 5], 40, 60, 0.5, count=2).numpy()[:, :, 0, 0] > 0
  other = channel_masks([3, 6], 40, 60, 0.5, count=2).numpy()[:, :, 0, 0] > 0
  for first, second in ((kept[0], kept[1]), (kept, other), (kept[0, 1:], kept[0, :-1]),
                        (kept[0, :, 1:], kept[0, :, :-1])):
    assert abs((first == second).mean() - 0.5) < 0.05


def test_replicas_draw_what_one_device_does():
  whole = channel_masks([1, 2], 6, 10, 0.3, count=3).numpy()
  halves = [channel_masks([1, 2], 3, 10, 0.3, count=3, first=first).numpy() for first in (0, 3)]
  np.testing.assert_array_equal(whole, np.concatenate(halves, axis=1))


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_it_is_the_same(jit_compile):
  function = tf.function(
      lambda seed: channel_masks(seed, 4, 7, 0.4, count=2), jit_compile=jit_compile)
  np.testing.assert_array_equal(
      function(tf.constant([9, 1])), channel_masks([9, 1], 4, 7, 0.4, count=2))


def test_rate_0_is_ones_and_rate_1_is_refused():
  np.testing.assert_array_equal(channel_masks([0, 0], 2, 3, 0.0), np.ones([1, 2, 1, 1, 3]))
  with pytest.raises(ValueError, match='dropout of 1: must be at least 0 and less than 1'):
    channel_masks([0, 0], 2, 3, 1)

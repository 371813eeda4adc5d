import numpy as np

from seg_models.reference_stego_parts import maps_of, nchw, reordered, zero_pixels


def test_layouts():
  maps = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
  assert maps_of(maps).shape == (2, 4, 5, 3) and maps_of(maps).dtype == np.float32
  np.testing.assert_array_equal(nchw(maps_of(maps)), maps)


def test_a_zero_pixel_is_zero_in_all_channels():
  maps = np.ones([2, 3, 2, 2])
  maps[0, :, 1, 0] = 0
  maps[1, 1] = 0
  np.testing.assert_array_equal(np.argwhere(zero_pixels(maps)), [[0, 1, 0]])


def test_pairs_are_put_in_the_order_of_transposed_grids():
  pairs = np.arange(2 * 6 * 6).reshape(2, 6, 6)
  found = reordered(pairs, (2, 3))
  assert found.shape == (2, 3, 2, 3, 2)
  assert found[1, 2, 0, 1, 1] == pairs[1, 0 * 3 + 2, 1 * 3 + 1]

import numpy as np
import pytest

from seg_models import windows


@pytest.mark.parametrize('length, size, stride, expected', [
    (480, 480, 320, [0]),
    (500, 480, 320, [0, 20]),
    (1024, 720, 480, [0, 304]),
    (2048, 720, 480, [0, 442, 885, 1328]),  # linspace(720, 2048, 4), cut to integers
    (10, 4, 4, [0, 3, 6]),
])
def test_starts_are_the_originals(length, size, stride, expected):
  assert windows.window_starts(length, size, stride) == expected


@pytest.mark.parametrize('length', range(5, 30))
def test_windows_leave_no_gap_and_end_at_the_end(length):
  starts = windows.window_starts(length, 5, 3)
  assert starts[0] == 0 and starts[-1] == length - 5
  assert all(0 < step <= 3 for step in np.diff(starts))


@pytest.mark.parametrize('shape', [(7, 9), (4, 5), (3, 9), (2, 2)])
def test_windows_of_a_pointwise_function_are_the_plain_function(shape):
  images = np.random.default_rng(0).normal(size=[2, *shape, 3]).astype(np.float32)
  result = windows.slide(lambda x: x[..., :2] * 3 + 1, images, windows.Windows((4, 5), (2, 3)))
  np.testing.assert_allclose(result, images[..., :2] * 3 + 1, rtol=1e-6)


def test_one_window_of_the_images_size_is_a_plain_call():
  images = np.random.default_rng(0).normal(size=[1, 6, 8, 3]).astype(np.float32)
  calls = []

  def function(x):
    calls.append(x.shape)
    return x - np.mean(x)

  result = windows.slide(function, images, windows.Windows((6, 8), (6, 8)))
  np.testing.assert_array_equal(result, images - images.mean())
  assert calls == [(1, 6, 8, 3)]


def test_overlaps_are_averaged_and_small_images_padded_with_zeros():
  images = np.arange(10, dtype=np.float32).reshape(1, 2, 5, 1)
  crops = []

  def function(x):
    crops.append(x.numpy())
    return np.full([1, 3, 3, 1], 10.0 ** (len(crops) - 1), np.float32)

  result = windows.slide(function, images, windows.Windows((3, 3), (3, 2)))[0, :, :, 0]
  np.testing.assert_array_equal(result, [[1, 1, 5.5, 10, 10]] * 2)
  np.testing.assert_array_equal(crops[1][0, :, :, 0], [[2, 3, 4], [7, 8, 9], [0, 0, 0]])


def test_regions_are_cropped_alike_and_padded_with_none():
  images = np.random.default_rng(0).normal(size=[1, 2, 5, 1]).astype(np.float32)
  regions = (images[..., 0] * 100).astype(np.int32)
  crops = []

  def function(x, regions):
    np.testing.assert_array_equal(regions[:, :2], (x[:, :2, :, 0].numpy() * 100).astype(np.int32))
    crops.append(regions.numpy())
    return x

  windows.slide(function, images, windows.Windows((3, 3), (3, 2)), regions)
  assert len(crops) == 2 and all((crop[:, 2] == -1).all() for crop in crops)


def test_gaps_and_empty_windows_are_refused():
  with pytest.raises(ValueError, match='leave gaps.*--strides'):
    windows.Windows((4, 4), (4, 5))
  with pytest.raises(ValueError, match='positive'):
    windows.Windows((0, 4), (1, 1))

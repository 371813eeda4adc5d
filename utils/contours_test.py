import numpy as np
import pytest

from utils import contours


def image_of(left, right, size=48):
  image = np.empty((size, size, 3), np.uint8)
  image[:, :size // 2], image[:, size // 2:] = left, right
  return image


def test_the_detector_is_found_by_its_name():
  assert contours.DETECTORS['gradient'] is contours.gradient


@pytest.mark.parametrize('colours', [((0, 0, 0), (255, 255, 255)), ((200, 60, 60), (60, 130, 60))])
def test_a_step_of_lightness_or_colour_is_a_contour(colours):
  found = contours.gradient(image_of(*colours))
  assert found.shape == (48, 48) and found.dtype == np.float32
  assert 0 <= found.min() and found.max() <= 1
  assert set(found[8:-8].argmax(1)) <= {23, 24}
  assert found[8:-8, 23:25].min() > 3 * found[8:-8, :10].max()


def test_turning_the_image_turns_the_contours():
  image = image_of((200, 60, 60), (60, 130, 60))
  upright, turned = contours.gradient(image), contours.gradient(np.rot90(image).copy())
  np.testing.assert_allclose(np.rot90(upright), turned, atol=0.05)


def test_a_change_of_texture_is_a_contour():
  stripes = np.where(np.arange(64) % 4 < 2, 60, 190)
  image = np.empty((64, 64), np.uint8)
  image[:, :32], image[:, 32:] = stripes[None, :32], stripes[:, None]
  found = contours.gradient(np.repeat(image[..., None], 3, -1))[16:-16]
  assert abs(int(found.mean(0).argmax()) - 32) <= 3
  assert found[:, 29:35].mean() > 1.5 * np.concatenate([found[:, 12:20], found[:, 44:52]]).mean()


@pytest.mark.parametrize('shape', [(1, 1), (2, 2), (1, 300), (300, 1), (3, 5), (20, 900)])
def test_images_of_any_shape_have_contours(shape):
  image = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
  found = contours.gradient(image)
  assert found.shape == shape and found.dtype == np.float32
  assert np.isfinite(found).all() and 0 <= found.min() and found.max() <= 1
  assert found.any() == (max(shape) > 1)


def test_gray_and_wide_images_have_contours_where_their_lightness_changes():
  image = np.full((8, 600, 3), 90, np.uint8)
  image[:, 400:] = 170
  found = contours.gradient(image)
  assert set(found.argmax(1)) <= {399, 400}
  assert found[:, 398:402].min() > 0.2 and not found[:, :360].any() and not found[:, 440:].any()


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (40, 30)])
def test_one_colour_has_no_contours(shape):
  found = contours.gradient(np.full((*shape, 3), 77, np.uint8))
  assert found.shape == shape and not found.any()


def test_the_same_image_gives_the_same_contours():
  image = np.random.default_rng(0).integers(0, 255, (90, 80, 3)).astype(np.uint8)
  np.testing.assert_array_equal(contours.gradient(image), contours.gradient(image))

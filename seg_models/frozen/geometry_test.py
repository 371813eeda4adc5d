import numpy as np
import pytest
from PIL import Image

from seg_models.frozen.geometry import (
  Geometry,
  crop_box,
  middle_offset,
  resize_nearest,
  resized_size,
)


@pytest.mark.parametrize('size, shorter, expected', [
    ((37, 53), 20, (20, 28)), ((53, 37), 20, (28, 20)), ((512, 1024), 224, (224, 448)),
    ((360, 480), 224, (224, 298)), ((5, 5), 7, (7, 7))])
def test_the_shorter_side_has_the_size(size, shorter, expected):
  assert resized_size(size, shorter) == expected


@pytest.mark.parametrize('length, part, expected', [(28, 20, 4), (25, 20, 2), (27, 20, 4)])
def test_halves_go_to_the_even_number(length, part, expected):
  assert middle_offset(length, part) == expected


@pytest.mark.parametrize('size', [(7, 3), (26, 20), (13, 10), (5, 40)])
def test_nearest_is_pillows(size):
  image = np.random.default_rng(0).integers(0, 256, (13, 10, 3), dtype=np.uint8)
  expected = Image.fromarray(image).resize(size[::-1], Image.Resampling.NEAREST)
  np.testing.assert_array_equal(resize_nearest(image, size), expected)


@pytest.mark.parametrize('shape, stride, expected', [
    ((45, 60), 8, (32, 40)), ((45, 60), 1, (32, 42)), ((60, 45), 14, (42, 28)),
    ((9, 90), 64, (64, 320))])
def test_whole_images_have_whole_cells(shape, stride, expected):
  image = np.zeros((*shape, 3), np.uint8)
  assert Geometry(32, 'none').image(image, stride).shape[:2] == expected
  assert Geometry(32).image(image, stride).shape[:2] == (32, 32)


def test_labels_are_where_the_image_is():
  """With a nearest pixel for both, an image of the labels is the labels of the image."""
  labels = np.random.default_rng(1).integers(0, 200, (31, 45), dtype=np.uint8)
  for middle, shape in (('centre', (17, 17)), ('none', (17, 24))):
    geometry = Geometry(17, middle, 'nearest')
    image = geometry.image(np.repeat(labels[..., None], 3, -1))
    assert image.shape == (*shape, 3)
    np.testing.assert_array_equal(image[..., 1], geometry.label(labels))


def test_bilinear_does_not_alias():
  """Stripes of single pixels become their mean; the nearest pixel makes new stripes of them."""
  image = np.zeros((64, 64, 3), np.uint8)
  image[:, ::2] = 200
  smooth = Geometry(15).image(image)[1:-1, 1:-1]
  assert np.abs(smooth.astype(int) - 100).max() <= 12
  aliased = Geometry(15, resampling='nearest').image(image)
  assert set(np.unique(aliased)) == {0, 200}


def test_five_crops_are_the_corners_and_the_centre():
  array = np.arange(7 * 9).reshape(7, 9)
  parts = [array[top:bottom, left:right] for top, left, bottom, right in (
      crop_box(array.shape, crop) for crop in range(5))]
  assert {part.shape for part in parts} == {(3, 4)}
  assert [part[0, 0] for part in parts] == [0, 5, 36, 41, 2 * 9 + 2]
  assert crop_box((7, 9), None) == (0, 0, 7, 9)


def test_what_is_wrong_is_said():
  with pytest.raises(ValueError, match='--size 0'):
    Geometry(0)
  with pytest.raises(ValueError, match='--middle edge: one of centre, none'):
    Geometry(8, 'edge')
  with pytest.raises(ValueError, match='--resampling cubic'):
    Geometry(8, resampling='cubic')
  with pytest.raises(ValueError, match='1x9 pixels is too small'):
    crop_box((1, 9), 0)

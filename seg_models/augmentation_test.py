import numpy as np
import pytest
import tensorflow as tf

from network.common.preprocessing import MEAN_RGB
from seg_models.augmentation import AugmentationConfig, augment


def naive(image, label, config, seed):
  """The steps one after the other on whole images, with TF1's own resizing."""
  scale, flip, row, column = np.random.default_rng(seed).random(4)
  height, width = image.shape[:2]
  low, high = config.scale_range
  factor = low + (high - low) * scale if config.random_scale else 1.0
  size = (max(int(height * factor), 1), max(int(width * factor), 1))
  rows, columns = np.mgrid[:height, :width]
  maps = np.stack([label, rows, columns], -1).astype(np.int32)[None]
  image = tf.compat.v1.image.resize_bilinear(image[None].astype(np.float32), size)[0].numpy()
  maps = tf.compat.v1.image.resize_nearest_neighbor(maps, size)[0].numpy()
  image = image - MEAN_RGB
  if config.random_mirror and flip < 0.5:
    image, maps = image[:, ::-1], maps[:, ::-1]
  pads = [(0, max(crop - axis, 0)) for axis, crop in zip(size, config.input_size, strict=True)]
  valid = np.pad(np.ones(size, bool), pads)
  image, maps = np.pad(image, [*pads, (0, 0)]), np.pad(maps, [*pads, (0, 0)])
  label = np.where(valid, maps[..., 0], 255)
  location = maps[..., 1:] / np.array([height, width])
  starts = [int((draw if config.random_crop else 0.5) * (axis - crop + 1))
            for draw, axis, crop in zip((row, column), valid.shape, config.input_size, strict=True)]
  window = tuple(slice(start, start + crop)
                 for start, crop in zip(starts, config.input_size, strict=True))
  return {'image': image[window], 'valid': valid[window], 'location': location[window],
          'label': label[window]}


@pytest.mark.parametrize('size', [(17, 30), (30, 17), (6, 5), (12, 14)])
@pytest.mark.parametrize('scaled,mirrored,cropped', [
    (False, False, False), (True, False, False), (False, True, False), (False, False, True),
    (True, True, True)])
def test_crop_equals_the_naive_steps(size, scaled, mirrored, cropped):
  config = AugmentationConfig((12, 14), scaled, mirrored, cropped)
  data = np.random.default_rng(0)
  image = data.integers(0, 256, (*size, 3), np.uint8)
  label = data.integers(0, 5, size).astype(np.int32)
  for seed in range(6):
    got = augment(image, {'label': (label, 255)}, config, np.random.default_rng(seed))
    expected = naive(image, label, config, seed)
    assert set(got) == set(expected)
    np.testing.assert_allclose(got['image'], expected['image'], rtol=0, atol=4e-5)
    for name in ('valid', 'label'):
      np.testing.assert_array_equal(got[name], expected[name])
    np.testing.assert_allclose(got['location'], expected['location'], rtol=0, atol=1e-7)
    assert [got[name].dtype for name in ('image', 'valid', 'location', 'label')] == [
        np.float32, np.bool_, np.float32, np.int32]


def test_without_randomness_a_smaller_image_stays_at_the_top_left():
  image = np.full((3, 4, 3), 255, np.uint8)
  crop = augment(image, {'segments': (np.zeros((3, 4), np.int32), -1)},
                 AugmentationConfig((5, 6)), np.random.default_rng(0))
  np.testing.assert_allclose(crop['image'][:3, :4], np.tile(255 - MEAN_RGB, (3, 4, 1)))
  for outside in (np.s_[3:], np.s_[:, 4:]):
    assert not crop['valid'][outside].any()
    assert (crop['image'][outside] == 0).all() and (crop['segments'][outside] == -1).all()
  assert crop['valid'][:3, :4].all()


def test_every_place_flip_and_scale_occurs():
  image = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7, 1).repeat(3, -1)
  config = AugmentationConfig((4, 4), random_mirror=True, random_crop=True)
  corners, flips, rng = set(), [], np.random.default_rng(0)
  for _ in range(200):
    location = augment(image, {}, config, rng)['location']
    flips.append(location[0, 0, 1] > location[0, 1, 1])
    corners.add((round(location[:, 0, 0].min() * 5), round(location[0, :, 1].min() * 7)))
  assert corners == {(row, column) for row in range(2) for column in range(4)}
  assert 70 < sum(flips) < 130
  config = AugmentationConfig((64, 64), random_scale=True)
  sizes = [augment(np.zeros((20, 20, 3), np.uint8), {}, config, rng)['valid'].any(1).sum()
           for _ in range(300)]
  assert min(sizes) == 10 and max(sizes) == 39 and abs(np.mean(sizes) - 24.5) < 1.5


@pytest.mark.parametrize('arguments,message', [
    ({'input_size': (0, 4)}, 'input_size'), ({'input_size': (3,)}, 'input_size'),
    ({'scale_range': (2.0, 0.5)}, 'scale_range'), ({'scale_range': (0.0, 1.0)}, 'scale_range')])
def test_impossible_configurations_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    AugmentationConfig(**arguments)

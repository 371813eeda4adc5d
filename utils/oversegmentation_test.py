import numpy as np
import pytest

from utils import images, oversegmentation
from utils.oversegmentation import OversegmentationConfig, oversegment, read_contours

NOISE = np.random.default_rng(0).uniform(size=(70, 80))


@pytest.mark.parametrize(('most', 'bits'), [(1, 8), (20, 8), (255, 8), (300, 16)])
def test_no_more_regions_than_allowed_and_ids_without_gaps(most, bits):
  mask, ucm = oversegment(NOISE, OversegmentationConfig(max_regions=most, smoothing=0, bits=bits))
  assert mask.dtype == (np.uint8 if bits == 8 else np.uint16)
  assert ucm.count > 300
  assert np.unique(mask).tolist() == list(range(mask.max() + 1))
  assert most - 2 <= mask.max() + 1 <= most


def test_a_threshold_removes_weak_boundaries():
  contours = np.zeros((30, 60))
  contours[:, 19:21], contours[:, 39:41] = 0.3, 0.9
  counts = [oversegment(contours, OversegmentationConfig(threshold, smoothing=0))[0].max() + 1
            for threshold in (0.0, 0.5, 1.0)]
  assert counts == [3, 2, 1]


def test_small_regions_join_the_neighbour_behind_the_weakest_boundary():
  regions = np.zeros((10, 20), int)
  regions[:, 12:] = 1
  regions[4:6, 10:12] = 2
  contours = np.zeros((10, 20))
  contours[:, 12:] = 0.9  # strong towards 1
  contours[3:7, 9:12] = 0.2
  joined = oversegmentation.join_small(regions, contours, 5)
  np.testing.assert_array_equal(joined, (np.arange(20) >= 12)[None].repeat(10, 0))
  np.testing.assert_array_equal(oversegmentation.join_small(regions, contours, 4), regions)
  assert not oversegmentation.join_small(regions, contours, 10 ** 6).any()


@pytest.mark.parametrize('area', [5, 40, 400])
def test_no_region_is_below_the_least_area(area):
  mask, _ = oversegment(NOISE, OversegmentationConfig(max_regions=200, min_area=area))
  assert np.bincount(mask.ravel()).min() >= area
  assert mask.max() > 0


@pytest.mark.parametrize('shape', [(1, 1), (5, 4)])
def test_a_constant_map_is_one_region(shape):
  mask, _ = oversegment(np.full(shape, 0.5), OversegmentationConfig(min_area=3))
  assert mask.shape == shape and not mask.any()


@pytest.mark.parametrize(('flag', 'settings'), [
    ('--max_regions 256', {'max_regions': 256}), ('--max_regions 0', {'max_regions': 0}),
    ('--bits 4', {'bits': 4}), ('--threshold 2', {'threshold': 2}),
    ('--threshold nan', {'threshold': float('nan')}), ('--min_area -1', {'min_area': -1}),
    ('--smoothing -1', {'smoothing': -1})])
def test_settings_out_of_range_are_refused(flag, settings):
  with pytest.raises(ValueError, match=flag):
    OversegmentationConfig(**settings)


def test_maps_are_shares_of_the_greatest_number(tmp_path):
  contours = np.array([[0, 51, 255]], np.uint8)
  images.write_png(tmp_path / 'a.png', contours)
  images.write_png(tmp_path / 'b.png', contours.astype(np.uint16) * 257)
  np.save(tmp_path / 'c.npy', contours.astype(np.float32) / 255)
  for name in 'abc':
    path = oversegmentation.find_contours(tmp_path, name)
    np.testing.assert_allclose(read_contours(path, 'x.jpg', (1, 3)), [[0, 0.2, 1]], atol=1e-7)
  assert oversegmentation.find_contours(tmp_path, 'd') is None


@pytest.mark.parametrize(('array', 'size', 'message'), [
    (np.zeros((3, 4)), (4, 3), r'map.npy is 3 x 4, but photo.jpg is 4 x 3'),
    (np.full((2, 2), np.nan), (2, 2), r'map.npy: 4 values are NaN'),
    (np.full((2, 2), 255.0), (2, 2), r'map.npy: values from 255 to 255'),
    (np.zeros((2, 2), np.uint8), (2, 2), r'map.npy: holds uint8')])
def test_faulty_maps_are_named(tmp_path, array, size, message):
  np.save(tmp_path / 'map.npy', array)
  with pytest.raises(ValueError, match=message):
    read_contours(tmp_path / 'map.npy', 'photo.jpg', size)


def test_a_file_that_is_no_array_is_named(tmp_path):
  (tmp_path / 'map.npy').write_bytes(b'nothing')
  with pytest.raises(ValueError, match='map.npy'):
    read_contours(tmp_path / 'map.npy', 'photo.jpg', (1, 1))

import numpy as np
import pytest

from network.common import hed
from network.common.hed_test import WIDTH, published_form, random_arrays
from seg_models.hed_contours import hed_detector
from utils.caffemodel_test import layer, network


def arrays():
  """For images in 0..255: conv1_1 divides by 100."""
  made = published_form(random_arrays())
  made['conv1_1/weights'] /= 100
  return made


def blobs(made):
  """Name of a layer -> its blobs, as Caffe writes them: layers without among them."""
  names = dict.fromkeys(name.split('/')[0] for name in made)
  return {'data': [], **{name: [made[f'{name}/weights'], made[f'{name}/biases']]
                         for name in names}, 'crop': []}


def image(height=11, width=14):
  return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def caffemodel(tmp_path):
  path = tmp_path / 'hed.caffemodel'
  path.write_bytes(network(blobs(arrays())))
  return path


def test_from_a_caffemodel_to_contours(caffemodel):
  contours = hed_detector(caffemodel)
  model = hed.hed(WIDTH)
  hed.assign(model, arrays())
  for height, width in [(11, 14), (1, 1), (20, 3)]:
    x = image(height, width)
    result = contours(x)
    assert isinstance(result, np.ndarray) and result.dtype == np.float32
    assert result.shape == (height, width) and (result >= 0).all() and (result <= 1).all()
    expected = model(hed.preprocess(x)[np.newaxis], training=False)[0, :, :, 0]
    np.testing.assert_allclose(result, expected, atol=1e-6)
  assert np.ptp(contours(image())) > 0.05
  # RGB and BGR are told apart.
  assert np.abs(contours(image()) - contours(image()[..., ::-1])).max() > 1e-3


def test_old_caffemodels_and_npz_are_the_same(tmp_path, caffemodel):
  expected = hed_detector(caffemodel)(image())
  old = tmp_path / 'old.caffemodel'
  old.write_bytes(network(blobs(arrays()), old=True, shape='legacy'))
  np.testing.assert_array_equal(hed_detector(old)(image()), expected)
  npz = tmp_path / 'hed.npz'
  np.savez(npz, **arrays())
  np.testing.assert_array_equal(hed_detector(npz)(image()), expected)


@pytest.mark.parametrize('size', [(150, 420), (33, 300), (300, 16)])
def test_parts_of_large_images_join_without_seams(caffemodel, size):
  x = image(*size)
  whole = hed_detector(caffemodel)(x)
  np.testing.assert_allclose(hed_detector(caffemodel, tile=32)(x), whole, atol=1e-6)


@pytest.mark.parametrize('tile', [0, 100])
def test_parts_lie_on_the_stride(caffemodel, tile):
  with pytest.raises(ValueError, match=f'tile {tile}: .* multiple of 16'):
    hed_detector(caffemodel, tile)


@pytest.mark.parametrize('first', [np.zeros((10 ** 6, 1)), np.float32(0), np.zeros((0, 3))])
def test_no_network_is_built_as_wide_as_nonsense_says(tmp_path, first):
  np.savez(tmp_path / 'odd.npz', **{**arrays(), 'conv1_1/weights': first})
  with pytest.raises(ValueError, match='odd.npz: .* have another shape: conv1_1/weights'):
    hed_detector(tmp_path / 'odd.npz')


def test_a_missing_file_says_where_it_is_to_be_had(tmp_path):
  with pytest.raises(FileNotFoundError, match='none.caffemodel: .*https://vcl.ucsd.edu/hed/'):
    hed_detector(tmp_path / 'none.caffemodel')


def test_a_file_of_something_else_is_named(tmp_path, caffemodel):
  vgg = {name: value for name, value in blobs(arrays()).items() if name.startswith('conv')}
  path = tmp_path / 'vgg.caffemodel'
  path.write_bytes(network(vgg) + layer('fc6', [np.ones((2, 2))]))
  with pytest.raises(ValueError, match="vgg.caffemodel: 12 of HED's 38 .* are missing"):
    hed_detector(path)
  other = arrays()
  other['conv1_2/weights'] = other['conv1_2/weights'][:2]
  np.savez(tmp_path / 'other.npz', **other)
  with pytest.raises(ValueError, match='other.npz: .* have another shape: conv1_2/weights'):
    hed_detector(tmp_path / 'other.npz')
  caffemodel.write_bytes(caffemodel.read_bytes()[:-100])
  with pytest.raises(ValueError, match='hed.caffemodel is not .* cut short .* at byte'):
    hed_detector(caffemodel)


@pytest.mark.parametrize('wrong', [
    image().astype(np.float32), image()[..., 0], image()[..., :2], image()[:0]])
def test_only_rgb_images_are_taken(caffemodel, wrong):
  contours = hed_detector(caffemodel)
  with pytest.raises(ValueError, match='HED takes RGB images'):
    contours(wrong)

import numpy as np
import pytest
import scipy.io
from PIL import Image

from utils import colors
from utils.shared_data import shared


def test_voc_palette_has_the_known_colours():
  palette = colors.voc_palette()
  known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128),
           8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
  for label, color in known.items():
    assert tuple(palette[label]) == color
  assert len(np.unique(palette, axis=0)) == 256
  np.testing.assert_array_equal(colors.voc_palette(9), palette[:9])


def test_voc_palette_is_that_of_the_official_masks():
  with Image.open(shared('data', 'samples', 'voc12', '2007_004189.png')) as image:
    official = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
  np.testing.assert_array_equal(colors.voc_palette(len(official)), official)


def test_colorize_uses_the_palette_and_then_vocs():
  palette = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
  painted = colors.colorize(np.array([[0, 1, 255]]), palette)
  assert painted.dtype == np.uint8
  np.testing.assert_array_equal(painted, [[[1, 2, 3], [4, 5, 6], [224, 224, 192]]])
  for label in (-1, 256):
    with pytest.raises(ValueError, match=f'{label}'):
      colors.colorize(np.array([label]), palette)


def test_overlay_blends():
  image, colored = np.full((1, 2, 3), 200, np.uint8), np.full((1, 2, 3), 100, np.uint8)
  blended = colors.overlay(image, colored, 0.25)
  assert blended.dtype == np.uint8
  np.testing.assert_array_equal(blended, np.full((1, 2, 3), 175))


def test_outlines_lie_between_regions():
  image = np.full((3, 4, 3), 9, np.uint8)
  ids = np.array([[0, 0, 5, 5], [0, 0, 5, 5], [0, 7, 7, 7]])
  drawn = (colors.outlined(image, ids, (1, 2, 3)) == (1, 2, 3)).all(axis=-1)
  np.testing.assert_array_equal(drawn, [[0, 1, 0, 0], [0, 1, 1, 1], [1, 0, 0, 0]])
  np.testing.assert_array_equal(colors.outlined(image, np.zeros((3, 4), int)), image)
  assert (image == 9).all()


@pytest.mark.parametrize('values', [
    np.array([[0, 0, 0], [128, 64, 255]]) / 255, np.array([[0, 0, 0], [128, 64, 255]], np.uint8)])
def test_load_colormap(tmp_path, values):
  scipy.io.savemat(tmp_path / 'a.mat', {'colormapvoc': values})
  loaded = colors.load_colormap(tmp_path / 'a.mat')
  assert loaded.dtype == np.uint8
  np.testing.assert_array_equal(loaded, [[0, 0, 0], [128, 64, 255]])


def test_load_colormap_says_what_a_wrong_file_holds(tmp_path):
  scipy.io.savemat(tmp_path / 'a.mat', {'other': np.zeros((5, 4))})
  with pytest.raises(ValueError, match=r"a\.mat.*'other': \(5, 4\)"):
    colors.load_colormap(tmp_path / 'a.mat')
  scipy.io.savemat(tmp_path / 'a.mat', {'nan': np.full((5, 3), np.nan)})
  with pytest.raises(ValueError, match=r"a\.mat.*'nan': \(5, 3\)"):
    colors.load_colormap(tmp_path / 'a.mat')


@pytest.mark.parametrize('keep', [0, 130, 1000])
def test_load_colormap_names_a_damaged_file(tmp_path, keep):
  scipy.io.savemat(tmp_path / 'a.mat', {'colormapvoc': np.random.rand(256, 3)})
  (tmp_path / 'a.mat').write_bytes((tmp_path / 'a.mat').read_bytes()[:keep])
  with pytest.raises(ValueError, match=r'a\.mat is damaged or no MATLAB.*leave --colormap out'):
    colors.load_colormap(tmp_path / 'a.mat')

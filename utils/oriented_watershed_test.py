import numpy as np
import pytest

from utils import oriented_watershed
from utils.oriented_watershed import ultrametric_contour_map


def ridge(kind, size=40):
  """A contour of height 1 and sigma 1.5 pixels, in float64 [size, size]."""
  y, x = np.mgrid[:size, :size] - (size // 2)
  distance = {'vertical': x, 'horizontal': y, 'diagonal': (x - y) / np.sqrt(2),
              'antidiagonal': (x + y) / np.sqrt(2), 'slanted': (2 * x - y) / np.sqrt(5)}[kind]
  return np.exp(-distance ** 2 / (2 * 1.5 ** 2))


KINDS = ['vertical', 'horizontal', 'diagonal', 'antidiagonal', 'slanted']


@pytest.mark.parametrize('kind', KINDS)
def test_no_direction_is_weaker_than_others(kind):
  strength = ultrametric_contour_map(ridge(kind), smoothing=0).picture().max()
  assert 0.85 < strength <= 1


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('noise', [0.001, 0.05, 0.15])
def test_no_direction_is_weaker_than_others_among_many_basins(kind, noise):
  # higra's own weighting has 0.36, 0.26 and 0.38 for the vertical ridge, 0.79 and more elsewhere.
  contours = np.clip(
      ridge(kind) + np.random.default_rng(0).uniform(0, noise, (40, 40)), 0, 1)
  hierarchy = ultrametric_contour_map(contours, smoothing=0)
  assert hierarchy.count > 50
  assert 0.77 < hierarchy.threshold_for(1) < 1


@pytest.mark.parametrize('kind', KINDS)
def test_noise_leaves_two_strong_regions(kind):
  noisy = np.clip(ridge(kind) + np.random.default_rng(0).uniform(0, 0.15, (40, 40)), 0, 1)
  hierarchy = ultrametric_contour_map(noisy)
  regions = hierarchy.regions(hierarchy.threshold_for(2))
  clear = ridge(kind) < 0.01
  truth = ultrametric_contour_map(ridge(kind)).regions(0.5)
  assert truth.max() == 1
  assert (regions == truth)[clear].mean() > 0.99
  assert hierarchy.threshold_for(1) > 0.6


def test_turning_the_map_turns_the_hierarchy():
  contours = np.random.default_rng(3).uniform(size=(24, 31)) * ridge('slanted')[:24, :31]
  strongest = [ultrametric_contour_map(np.rot90(contours, turns)).threshold_for(1)
               for turns in range(4)]
  np.testing.assert_allclose(strongest, strongest[0], rtol=0.02)


def test_a_boundary_across_the_contours_direction_counts_less():
  # The two dark basins on either side of the gap touch along a line that the contour crosses.
  along, across = np.exp(0.3j * 2), np.exp((0.3 + np.pi / 2) * 2j)
  weights = oriented_watershed._agreement(np.array([along, across, 0]), np.array([along] * 3))
  np.testing.assert_allclose(weights, [1, 0, 1], atol=1e-7)


def test_smoothing_removes_basins():
  noise = np.random.default_rng(0).uniform(size=(50, 60))
  assert ultrametric_contour_map(noise, 2.0).count < ultrametric_contour_map(noise, 0).count / 3


@pytest.mark.parametrize('shape', [(1, 1), (1, 5), (7, 1), (6, 6)])
def test_a_constant_map_is_one_region(shape):
  hierarchy = ultrametric_contour_map(np.full(shape, 0.3))
  assert hierarchy.regions(0).tolist() == np.zeros(shape).tolist()
  assert hierarchy.picture().shape == (2 * shape[0] + 1, 2 * shape[1] + 1)


@pytest.mark.parametrize('shape', [(1, 9), (9, 1), (2, 2)])
def test_thin_maps(shape):
  contours = np.zeros(shape)
  contours[shape[0] // 2, shape[1] // 2] = 1
  hierarchy = ultrametric_contour_map(contours, 0)
  assert hierarchy.superpixels.shape == shape
  assert np.isfinite(hierarchy.strength).all()


def test_strengths_are_ultrametric():
  hierarchy = ultrametric_contour_map(np.random.default_rng(1).uniform(size=(30, 30)))
  for (first, second), strength in zip(hierarchy.pairs, hierarchy.strength, strict=True):
    groups = hierarchy.groups(np.nextafter(strength, np.float32(0)))
    assert groups[first] != groups[second]  # no way round is weaker


def test_without_higra_the_error_names_the_command(monkeypatch):
  monkeypatch.setattr(oriented_watershed, 'higra', None)
  monkeypatch.setattr(oriented_watershed, '_MISSING', ImportError('gone'), raising=False)
  with pytest.raises(ImportError, match='pip install -r requirements-oversegmentation.txt'):
    ultrametric_contour_map(np.zeros((3, 3)))

import argparse
import sys
import types

import numpy as np
import pytest
from scipy import special

from utils import dense_crf as crfs
from utils import images
from utils.configuration import add_arguments, from_arguments
from utils.dense_crf import DenseCRFConfig, dense_crf
from utils.opencv import cv2
from utils.shared_data import shared

EXACT = DenseCRFConfig(backend='exact')
PHOTOGRAPHS = (
    ('data', 'bsds40', 'images', '157032.jpg'), ('data', 'bsds40', 'images', '35028.jpg'),
    ('data', 'camvid', 'JPEGImages', '0001TP_006690.jpg'))


def scores(rng, *shape):
  return rng.normal(size=shape).astype(np.float32) * 2


def picture(rng, height, width):
  """Two colours with noise, left and right."""
  image = np.full((height, width, 3), (90, 120, 60))
  image[:, width // 2:] = (140, 100, 80)
  return (image + rng.integers(-4, 5, image.shape)).astype(np.uint8)


def crop(parts, size):
  image = images.read_image(shared(*parts))
  top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
  return image[top:top + size, left:left + size]


def naive(log_probs, image, config):
  """Mean field pixel by pixel in float64."""
  height, width, classes = log_probs.shape
  probabilities = np.exp(log_probs.astype(np.float64))
  probabilities /= probabilities.sum(-1, keepdims=True)
  unary = -np.log(np.clip(probabilities, 1e-5, 1)).reshape(-1, classes)
  pixels = [(y, x, *map(float, image[y, x])) for y in range(height) for x in range(width)]
  kernels = []
  for weight, place, colour in (
      (config.gaussian_compat, config.gaussian_sxy, np.inf),
      (config.bilateral_compat, config.bilateral_sxy, config.bilateral_srgb)):
    kernel = np.array([[np.exp(
        -((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (2 * place ** 2)
        - sum((a[k] - b[k]) ** 2 for k in (2, 3, 4)) / (2 * colour ** 2))
                        for b in pixels] for a in pixels])
    degree = kernel.sum(1)
    kernels.append(weight * kernel / np.sqrt(np.outer(degree, degree)))
  marginals = np.exp(-unary) / np.exp(-unary).sum(1, keepdims=True)
  for _ in range(config.iterations):
    energy = np.exp(-unary + sum(kernel @ marginals for kernel in kernels))
    marginals = energy / energy.sum(1, keepdims=True)
  return marginals.reshape(log_probs.shape)


@pytest.mark.parametrize('config', [
    EXACT, DenseCRFConfig(3, 2.5, 1.5, 6.0, 20.0, 2.0, 'exact'),
    DenseCRFConfig(2, 0.4, 0.0, 5.0, 9.0, 1.0, 'exact'),
    DenseCRFConfig(2, 3.0, 2.0, 5.0, 9.0, 0.0, 'exact')])
def test_exact_follows_the_formulas(config):
  rng = np.random.default_rng(0)
  log_probs, image = scores(rng, 7, 10, 3), picture(rng, 7, 10)
  result = dense_crf(log_probs, image, config)
  assert result.dtype == np.float32
  np.testing.assert_allclose(result, naive(log_probs, image, config), atol=2e-5)


def test_blocks_of_rows_join():
  rng = np.random.default_rng(0)
  features, values = rng.normal(size=(50, 5)), rng.random((50, 3), np.float32)
  np.testing.assert_allclose(crfs.ExactKernel(features, rows=7)(values),
                             crfs.ExactKernel(features, rows=512)(values), rtol=1e-5)


def test_unary_is_the_references():
  with np.load(shared('reference', 'smooseg.npz')) as arrays:
    log_probs = np.moveaxis(arrays['infer/logp'], 1, -1)
    expected = np.swapaxes(arrays['infer/crf_unary'], 1, 2).reshape(log_probs.shape)
  np.testing.assert_allclose(crfs.unary_energy(log_probs), expected, rtol=1e-5)


def test_unary_is_clipped_and_takes_logits():
  energy = crfs.unary_energy(np.array([[100.0, 0.0, -np.inf], [7.0, 7.0, -np.inf]]))
  least = -np.log(1e-5)
  np.testing.assert_allclose(energy, [[0, least, least], [np.log(2), np.log(2), least]], rtol=1e-6)


@pytest.mark.parametrize('parts', PHOTOGRAPHS, ids=lambda parts: parts[-1])
def test_lattice_is_close_to_exact_on_photographs(parts):
  """The kernel's values, and labels: far fewer differ than the CRF changes."""
  rng = np.random.default_rng(0)
  size = 48
  image = crop(parts, size)
  coarse = cv2.resize(scores(rng, 8, 8, 6), (size, size), interpolation=cv2.INTER_CUBIC)
  features = crfs.bilateral_features(image, 67.0, 3.0)
  values = special.softmax(coarse, axis=-1).reshape(-1, 6)
  filtered = []
  for kernel in (crfs.ExactKernel(features), crfs.PermutohedralLattice(features)):
    scale = 1 / np.sqrt(kernel(np.ones((len(features), 1), np.float32)))
    filtered.append(scale * kernel(scale * values))
  error = np.abs(filtered[0] - filtered[1])
  assert error.mean() < 0.05 * filtered[0].mean()
  assert error.max() < 0.15  # one pixel that is hardly like any other
  exact, lattice = dense_crf(coarse, image, EXACT), dense_crf(coarse, image)
  assert np.abs(exact - lattice).mean() < 0.01
  changed = (exact.argmax(-1) != coarse.argmax(-1)).mean()
  assert changed > 0.05
  assert (exact.argmax(-1) != lattice.argmax(-1)).mean() < 0.25 * changed


@pytest.mark.parametrize('backend', ['lattice', 'exact'])
@pytest.mark.parametrize('shape', [(1, 1, 3), (1, 1, 1), (1, 9, 2), (9, 1, 2), (6, 11, 1),
                                   (6, 11, 40)])
def test_shapes(backend, shape):
  """A class axis of one is kept, one pixel is enough, images need not be square."""
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (*shape[:2], 3), np.uint8)
  result = dense_crf(scores(rng, *shape), image, DenseCRFConfig(backend=backend))
  assert result.shape == shape
  np.testing.assert_allclose(result.sum(-1), 1, rtol=1e-5)
  if shape[-1] == 1:
    assert (result == 1).all()


@pytest.mark.parametrize('backend', ['lattice', 'exact'])
def test_labels_follow_colours(backend):
  """Wrong labels of every tenth pixel are put right; the edge between the colours stays."""
  rng = np.random.default_rng(0)
  image = picture(rng, 20, 30)
  truth = (np.arange(30) >= 15) * np.ones((20, 1), int)
  noisy = np.where(rng.random(truth.shape) < 0.1, 1 - truth, truth)
  result = dense_crf(2.0 * np.eye(2)[noisy], image, DenseCRFConfig(backend=backend))
  assert (noisy != truth).sum() > 30
  assert (result.argmax(-1) == truth).all()


@pytest.mark.parametrize('backend', ['lattice', 'exact'])
@pytest.mark.parametrize('level', [0, 77, 255])
def test_images_of_one_colour(backend, level):
  """The wide kernel then favours what most of the image is, whatever the colour."""
  image = np.full((12, 18, 3), level, np.uint8)
  log_probs = np.zeros((12, 18, 2), np.float32)
  log_probs[..., 1] = 0.5
  log_probs[5, 5] = (1.0, 0.0)
  result = dense_crf(log_probs, image, DenseCRFConfig(backend=backend))
  assert (result.argmax(-1) == 1).all()
  assert np.abs(result - dense_crf(log_probs, 255 - image, EXACT)).max() < 0.02


def test_gray_images():
  rng = np.random.default_rng(0)
  image = np.repeat(picture(rng, 24, 24)[..., :1], 3, axis=-1)
  log_probs = scores(rng, 24, 24, 3)
  assert np.abs(dense_crf(log_probs, image) - dense_crf(log_probs, image, EXACT)).mean() < 0.02


@pytest.mark.parametrize('backend', ['lattice', 'exact'])
def test_order_of_classes_and_mirror_images(backend):
  rng = np.random.default_rng(0)
  config = DenseCRFConfig(backend=backend)
  log_probs, image = scores(rng, 16, 21, 4), picture(rng, 16, 21)
  result = dense_crf(log_probs, image, config)
  np.testing.assert_allclose(
      dense_crf(log_probs[..., ::-1], image, config), result[..., ::-1], atol=1e-5)
  mirrored = dense_crf(log_probs[:, ::-1], image[:, ::-1], config)[:, ::-1]
  assert np.abs(mirrored - result).mean() < (1e-6 if backend == 'exact' else 0.01)


def test_without_iterations_or_kernels_the_probabilities_stay():
  rng = np.random.default_rng(0)
  log_probs, image = scores(rng, 5, 6, 3), picture(rng, 5, 6)
  for config in (DenseCRFConfig(iterations=0),
                 DenseCRFConfig(gaussian_compat=0, bilateral_compat=0)):
    np.testing.assert_allclose(
        dense_crf(log_probs, image, config), special.softmax(log_probs, axis=-1), rtol=1e-4)


@pytest.mark.parametrize('values, message', [
    ({'iterations': -1}, 'iterations -1'), ({'gaussian_sxy': 0}, 'gaussian_sxy 0'),
    ({'bilateral_srgb': float('nan')}, 'bilateral_srgb nan'),
    ({'bilateral_compat': -2}, 'bilateral_compat -2'), ({'backend': 'grid'}, 'backend grid')])
def test_configurations_that_make_no_sense_are_refused(values, message):
  with pytest.raises(ValueError, match=message):
    DenseCRFConfig(**values)


def test_flags():
  parser = argparse.ArgumentParser()
  add_arguments(parser, DenseCRFConfig)
  given = parser.parse_args(['--crf_iterations', '5', '--crf_backend', 'exact'])
  assert from_arguments(DenseCRFConfig, given) == DenseCRFConfig(iterations=5, backend='exact')


def test_wrong_inputs_are_refused():
  rng = np.random.default_rng(0)
  log_probs, image = scores(rng, 5, 6, 3), picture(rng, 5, 6)
  with pytest.raises(ValueError, match=r'must be \[height, width, classes\]'):
    dense_crf(log_probs[..., 0], image)
  with pytest.raises(ValueError, match='must be uint8'):
    dense_crf(log_probs, image.astype(np.float32))
  with pytest.raises(ValueError, match=r'image uint8 \[4, 6, 3\]'):
    dense_crf(log_probs, image[:4])
  log_probs[2, 3, 1] = np.nan
  with pytest.raises(ValueError, match=r'pixel \[2, 3\]'):
    dense_crf(log_probs, image)


def test_exact_refuses_large_images():
  with pytest.raises(ValueError, match='65792 pixels .* use the backend lattice'):
    dense_crf(np.zeros((257, 256, 2)), np.zeros((257, 256, 3), np.uint8), EXACT)


def test_what_memory_does_not_hold_is_refused(monkeypatch):
  """Rather than that the system ends the process, without a word."""
  log_probs, image = np.zeros((40, 50, 3), np.float32), np.zeros((40, 50, 3), np.uint8)
  monkeypatch.setattr('utils.dense_crf._memory', lambda: 3.8e6)
  with pytest.raises(ValueError, match='50x40 pixels and 3 classes .* 0.0039 GB .* has 0.0038'):
    dense_crf(log_probs, image)
  monkeypatch.setattr('utils.dense_crf._memory', lambda: 3.9e6)
  assert dense_crf(log_probs, image).shape == log_probs.shape
  monkeypatch.setattr('utils.dense_crf._memory', lambda: 1)
  for without_lattice in (DenseCRFConfig(bilateral_compat=0), EXACT):
    assert dense_crf(log_probs, image, without_lattice).shape == log_probs.shape


@pytest.mark.parametrize('classes, measured', [(3, 1782), (27, 2387), (171, 5389)])
def test_the_estimate_of_memory_is_not_below_what_was_measured(classes, measured):
  """Bytes a pixel of the CRF alone, and the log-probabilities that its caller holds."""
  measured += 4 * classes
  assert measured <= crfs._bytes_of_a_pixel(classes) < 1.2 * measured


@pytest.mark.parametrize('text, limit', [('1000000\n', 1e6), ('max\n', None), (None, None)])
def test_a_containers_limit_counts(monkeypatch, tmp_path, text, limit):
  if text:
    (tmp_path / 'memory.max').write_text(text)
  monkeypatch.setattr(crfs, '_LIMIT_OF_CONTAINER', tmp_path / 'missing')
  machine = crfs._memory()
  monkeypatch.setattr(crfs, '_LIMIT_OF_CONTAINER', tmp_path / 'memory.max')
  assert crfs._memory() == (limit or machine) and machine > 1e7


def test_pydensecrf2_missing_is_said(monkeypatch):
  monkeypatch.setitem(sys.modules, 'pydensecrf', None)
  with pytest.raises(ImportError, match='pip install pydensecrf2'):
    dense_crf(np.zeros((2, 3, 2)), np.zeros((2, 3, 3), np.uint8),
              DenseCRFConfig(backend='pydensecrf2'))


def test_pydensecrf2_is_called_with_the_same(monkeypatch):
  """Shapes and parameters as the package documents them; it is rarely installed."""
  rng = np.random.default_rng(0)
  log_probs, image = scores(rng, 4, 6, 3), picture(rng, 4, 6)
  calls = {}

  class DenseCRF2D:

    def __init__(self, width, height, classes):
      calls['size'] = width, height, classes

    def setUnaryEnergy(self, unary):  # noqa: N802
      calls['unary'] = unary

    def addPairwiseGaussian(self, **keywords):  # noqa: N802
      calls['gaussian'] = keywords

    def addPairwiseBilateral(self, **keywords):  # noqa: N802
      calls['bilateral'] = keywords

    def inference(self, iterations):
      calls['iterations'] = iterations
      return np.exp(-calls['unary'])

  package = types.ModuleType('pydensecrf')
  package.densecrf = types.SimpleNamespace(DenseCRF2D=DenseCRF2D)
  monkeypatch.setitem(sys.modules, 'pydensecrf', package)
  result = dense_crf(log_probs, image[::-1], DenseCRFConfig(backend='pydensecrf2'))
  assert calls['size'] == (6, 4, 3) and calls['iterations'] == 10
  assert calls['unary'].shape == (3, 24) and calls['unary'].flags.c_contiguous
  assert calls['unary'].dtype == np.float32
  assert calls['gaussian'] == {'sxy': 1.0, 'compat': 3.0}
  assert calls['bilateral'].pop('rgbim').flags.c_contiguous
  assert calls['bilateral'] == {'sxy': 67.0, 'srgb': 3.0, 'compat': 4.0}
  np.testing.assert_allclose(result, special.softmax(log_probs, axis=-1), rtol=1e-4)


def test_pydensecrf2_agrees():
  pytest.importorskip('pydensecrf.densecrf', reason='pip install pydensecrf2')
  rng = np.random.default_rng(0)
  log_probs, image = scores(rng, 24, 30, 3), picture(rng, 24, 30)
  other = dense_crf(log_probs, image, DenseCRFConfig(backend='pydensecrf2'))
  assert (other.argmax(-1) != dense_crf(log_probs, image, EXACT).argmax(-1)).mean() < 0.05

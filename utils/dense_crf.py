"""Labels made to follow an image's colours: a fully connected CRF, solved by mean field.

Kraehenbuehl and Koltun, Efficient inference in fully connected CRFs with Gaussian edge potentials,
2011, with the parameters that STEGO and SmooSeg are evaluated with (specification of STEGO, 5.6).
"""

import dataclasses
import os
import pathlib

import numpy as np
from scipy import sparse, special

from utils.configuration import option
from utils.permutohedral import PermutohedralLattice

BACKENDS = ('lattice', 'exact', 'pydensecrf2')
# 256 x 256 pixels are 4 billion pairs, evaluated anew in every iteration: minutes.
MOST_EXACT_PIXELS = 256 * 256
LEAST_PROBABILITY = 1e-5
# Of memory that a pixel takes: its vertices of the lattice, of which photographs have 4 or 5 a
# pixel, and each class: 25 bytes here, and 4 of the caller's log-probabilities. Not below what a
# mosaic of thirty photographs took, 1782, 2387 and 5389 here with 3, 27 and 171 classes.
_BYTES_OF_VERTICES, _BYTES_OF_A_CLASS = 1850, 29
# What a container may use, of a machine that may have more (control groups, version 2).
_LIMIT_OF_CONTAINER = pathlib.Path('/sys/fs/cgroup/memory.max')


@dataclasses.dataclass(frozen=True)
class DenseCRFConfig:
  """The two kernels, in pixels and in levels of 0..255, and how the CRF is solved."""
  iterations: int = option(10, 'mean-field iterations of the CRF', flags=('crf_iterations',))
  gaussian_sxy: float = option(1.0, 'pixels, standard deviation of the smoothness kernel')
  gaussian_compat: float = option(3.0, 'weight of the smoothness kernel; 0 leaves it out')
  bilateral_sxy: float = option(67.0, 'pixels, standard deviation of the appearance kernel')
  bilateral_srgb: float = option(
      3.0, 'levels of 0..255, standard deviation of the appearance kernel')
  bilateral_compat: float = option(4.0, 'weight of the appearance kernel; 0 leaves it out')
  backend: str = option(
      'lattice', 'the appearance kernel on a permutohedral lattice, or of all pairs of pixels '
      '(exact, small images only); or all by the package pydensecrf2', choices=BACKENDS,
      flags=('crf_backend',))

  def __post_init__(self):
    if self.iterations < 0:
      raise ValueError(f'--iterations {self.iterations}: must be 0 or more')
    for name in ('gaussian_sxy', 'bilateral_sxy', 'bilateral_srgb'):
      if not 0 < getattr(self, name) < np.inf:
        raise ValueError(f'--{name} {getattr(self, name)}: must be more than 0')
    for name in ('gaussian_compat', 'bilateral_compat'):
      if not 0 <= getattr(self, name) < np.inf:
        raise ValueError(f'--{name} {getattr(self, name)}: must be 0 or more')
    if self.backend not in BACKENDS:
      raise ValueError(f'--backend {self.backend}: must be one of {", ".join(BACKENDS)}')


def unary_energy(log_probs):
  """-log(clip(softmax(log_probs), 1e-5, 1)).

  Args:
    log_probs: float [..., K], log-probabilities or logits; -inf is allowed beside finite ones.

  Returns:
    float32 [..., K], 0..11.5.

  Raises:
    ValueError: NaN or infinity, or a pixel without a finite value.
  """
  log_probs = np.asarray(log_probs, np.float32)
  greatest = log_probs.max(axis=-1)
  if not np.isfinite(greatest).all():
    wrong = np.argwhere(~np.isfinite(greatest))[0].tolist()
    raise ValueError(f'the log-probabilities of pixel {wrong} hold NaN or infinity, or only -inf: '
                     'there is nothing to smooth')
  probabilities = special.softmax(log_probs, axis=-1)
  return -np.log(probabilities.clip(LEAST_PROBABILITY, 1))


def dense_crf(log_probs, image, config=None):
  """Approximate marginals of the CRF with Potts potentials and symmetrically normalised kernels.

  Q = softmax(-U) at first, then `iterations` times Q = softmax(-U + sum_m w_m L_m Q), where
  L = D^-1/2 K D^-1/2, K_ij = exp(-|f_i - f_j|^2 / 2), i = j included, D = diag(K 1), and f is
  (y, x) / sxy of the smoothness kernel and (y, x) / sxy, RGB / srgb of the appearance kernel.

  Deviates from the original: a single class keeps its axis, where it was squeezed away.

  Args:
    log_probs: float [H, W, K], log-probabilities or logits.
    image: uint8 [H, W, 3], colours in any order.
    config: `DenseCRFConfig`.

  Returns:
    float32 [H, W, K], probabilities.

  Raises:
    ValueError: shapes or types are others; `unary_energy`; or the image is too large for `exact`,
      or for this machine's memory.
    ImportError: pydensecrf2 is asked for and not installed.
  """
  config = config or DenseCRFConfig()
  log_probs, image = np.asarray(log_probs), np.asarray(image)
  if log_probs.ndim != 3 or 0 in log_probs.shape:
    raise ValueError(f'log-probabilities {list(log_probs.shape)}: must be [height, width, classes]')
  if image.dtype != np.uint8 or image.shape != (*log_probs.shape[:2], 3):
    raise ValueError(f'image {image.dtype} {list(image.shape)}: must be uint8 '
                     f'{[*log_probs.shape[:2], 3]}, as large as the log-probabilities')
  if config.backend == 'lattice' and config.bilateral_compat:
    _refuse_beyond_memory(*log_probs.shape)
  unary = unary_energy(log_probs)
  if config.backend == 'pydensecrf2':
    return _pydensecrf2(unary, image, config)
  terms = []
  if config.gaussian_compat:
    terms.append((config.gaussian_compat, _Gaussian(*image.shape[:2], config.gaussian_sxy)))
  if config.bilateral_compat:
    kernel = {'lattice': PermutohedralLattice, 'exact': ExactKernel}[config.backend]
    features = bilateral_features(image, config.bilateral_sxy, config.bilateral_srgb)
    terms.append((config.bilateral_compat, kernel(features)))
  unary = unary.reshape(-1, unary.shape[-1])
  return _mean_field(unary, terms, config.iterations).reshape(log_probs.shape)


def _refuse_beyond_memory(height, width, classes):
  needed, there = height * width * _bytes_of_a_pixel(classes), _memory()
  if needed > there:
    raise ValueError(
        f'a CRF of {width}x{height} pixels and {classes} classes takes about {needed / 1e9:.2g} GB '
        f'of memory, and this machine or container has {there / 1e9:.2g}: give a '
        'smaller image')


def _bytes_of_a_pixel(classes):
  return _BYTES_OF_VERTICES + classes * _BYTES_OF_A_CLASS


def _memory():
  """Bytes of memory that this machine has, or this container may use."""
  there = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  try:
    limit = _LIMIT_OF_CONTAINER.read_text().strip()
  except OSError:  # no control groups of version 2, or the root one, which has no limit
    return there
  return min(there, int(limit)) if limit.isdecimal() else there


def bilateral_features(image, sxy, srgb):
  """float64 [H * W, 5]: (y, x) / sxy and RGB / srgb of an image [H, W, 3]."""
  places = np.moveaxis(np.indices(image.shape[:2]), 0, -1)
  return np.concatenate([places / sxy, image / srgb], axis=-1).reshape(-1, 5)


def _mean_field(unary, terms, iterations):
  """Q float32 [N, K] of energies [N, K] and terms (weight, kernel: [N, C] -> [N, C])."""
  ones = np.ones((len(unary), 1), np.float32)
  terms = [(weight, kernel, 1 / np.sqrt(kernel(ones))) for weight, kernel in terms]
  marginals = special.softmax(-unary, axis=-1)
  for _ in range(iterations):
    energy = -unary
    for weight, kernel, scale in terms:
      energy += np.float32(weight) * scale * kernel(scale * marginals)
    marginals = special.softmax(energy, axis=-1)
  return marginals


class _Gaussian:
  """The kernel over places alone, which is a product over rows and columns."""

  def __init__(self, height, width, sigma):
    self._shape = height, width
    self._rows, self._columns = _band(height, sigma), _band(width, sigma)

  def __call__(self, values):
    height, width = self._shape
    values = (self._rows @ values.reshape(height, -1)).reshape(height, width, -1)
    values = np.moveaxis(values, 1, 0).reshape(width, -1)
    values = (self._columns @ values).reshape(width, height, -1)
    return np.moveaxis(values, 1, 0).reshape(height * width, -1)


def _band(size, sigma):
  """exp(-(i - j)^2 / 2 sigma^2), sparse [size, size]; what is beyond 6 sigma is below 2e-8."""
  reach = min(int(np.ceil(6 * sigma)), size - 1)
  offsets = np.arange(-reach, reach + 1)
  taps = np.exp(-(offsets / sigma) ** 2 / 2).astype(np.float32)
  return sparse.diags_array(
      [np.full(size - abs(offset), tap) for offset, tap in zip(offsets, taps, strict=True)],
      offsets=offsets, shape=(size, size)).tocsr()


class ExactKernel:
  """sum_j exp(-|f_i - f_j|^2 / 2) v_j over all pairs, some rows at a time; for comparison.

  Args:
    features: float [N, d], in standard deviations.

  Raises:
    ValueError: there are more points than `MOST_EXACT_PIXELS`.
  """

  def __init__(self, features, rows=512):
    if len(features) > MOST_EXACT_PIXELS:
      raise ValueError(
          f'the exact CRF of {len(features)} pixels has {len(features) ** 2:.1e} pairs: at most '
          f'{MOST_EXACT_PIXELS} pixels, such as 256 x 256, are taken; use the backend lattice')
    half = (features ** 2).sum(axis=1, keepdims=True) / 2
    ones = np.ones_like(half)
    # One product gives f_i . f_j - |f_i|^2 / 2 - |f_j|^2 / 2.
    self._left = np.concatenate([features, -half, ones], axis=1)
    self._right = np.concatenate([features, ones, -half], axis=1).T.copy()
    self._rows = rows

  def __call__(self, values):
    """Filters float32 [N, C]; returns float32 [N, C]."""
    filtered = np.empty_like(values)
    for start in range(0, len(values), self._rows):
      exponent = self._left[start:start + self._rows] @ self._right
      filtered[start:start + self._rows] = np.exp(exponent.astype(np.float32)) @ values
    return filtered


def _pydensecrf2(unary, image, config):
  """The same by the package, whose default kernels and normalisation they are."""
  try:
    from pydensecrf import densecrf
  except ImportError as error:
    raise ImportError(
        f'--backend pydensecrf2 needs a package that cannot be imported ({error}): pip install '
        'pydensecrf2, or leave the flag out for our own implementation') from error
  height, width, classes = unary.shape
  crf = densecrf.DenseCRF2D(width, height, classes)
  crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(-1, classes).T))
  if config.gaussian_compat:
    crf.addPairwiseGaussian(sxy=config.gaussian_sxy, compat=config.gaussian_compat)
  if config.bilateral_compat:
    crf.addPairwiseBilateral(
        sxy=config.bilateral_sxy, srgb=config.bilateral_srgb,
        rgbim=np.ascontiguousarray(image), compat=config.bilateral_compat)
  marginals = np.asarray(crf.inference(config.iterations), np.float32)
  return np.ascontiguousarray(marginals.reshape(classes, -1).T).reshape(unary.shape)

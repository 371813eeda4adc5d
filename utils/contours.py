"""Contour detectors that need no weights: image in, map of contour strength out."""

import numpy as np

from utils.opencv import cv2

# Radii in pixels of the discs whose halves are compared, and how much each comparison counts.
_CUES = {
    'lightness': ((3, 0.5), (6, 1.0), (12, 0.5)),
    'colour': ((6, 1.0), (12, 1.0)),
    'texture': ((8, 0.5), (16, 1.0)),
}
_ORIENTATIONS = 8
_BINS = 12
_TEXTONS = 16
# Discs of more than this radius are compared at half the resolution.
_LARGEST_RADIUS = 4
# Scales the comparison such that a clear contour of a photograph comes near 1.
_GAIN = 1.5


def gradient(image):
  """Contours by how much the two halves of discs differ in lightness, colour and texture.

  Discs of several radii around each pixel are cut in eight directions, the halves' histograms are
  compared (chi-squared), and the direction of the greatest difference counts. After Martin et al.,
  Learning to Detect Natural Image Boundaries, PAMI 2004, but nothing is trained: the weights of the
  cues are set by hand, and textons are clusters of the image's own filter responses.

  Args:
    image: uint8 [height, width, 3], RGB.

  Returns:
    float32 [height, width], 0..1; all 0 where the image has one colour.
  """
  lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
  total, weights = 0.0, 0.0
  for cue, bins in _histograms(lab):
    for radius, weight in _CUES[cue]:
      total = total + weight * _half_disc_differences(bins, radius)
      weights += weight
  return np.clip(_GAIN * total.max(0) / weights, 0, 1).astype(np.float32)


DETECTORS = {'gradient': gradient}


def _histograms(lab):
  """Yields (cue, bins [bins, height, width]), one at a time: of large images they are large."""
  yield 'lightness', _soft_bins(lab[..., 0], 0, 100)
  yield 'colour', _soft_bins(lab[..., 1], -60, 60)
  yield 'colour', _soft_bins(lab[..., 2], -60, 60)
  yield 'texture', _texton_bins(lab[..., 0])


def _soft_bins(channel, low, high):
  """Spreads each value over the two nearest of `_BINS` bins: float32 [bins, height, width]."""
  place = np.clip((channel - low) / (high - low), 0, 1) * (_BINS - 1)
  bins = np.arange(_BINS, dtype=np.float32)[:, None, None]
  return np.maximum(1 - np.abs(place - bins), 0).astype(np.float32)


def _texton_bins(lightness):
  """Which of the image's kinds of local pattern each pixel shows: float32 [kinds, height, width].

  One kind holds everywhere where the image has no pattern.
  """
  responses = [cv2.filter2D(lightness, cv2.CV_32F, kernel) for kernel in _filters()]
  features = np.stack(responses, axis=-1).reshape(-1, len(responses))
  # As many pixels in every image, so that the time does not grow; seeded, so that it is repeatable.
  sample = features[np.random.default_rng(0).permutation(len(features))[:4000]]
  if len(sample) < _TEXTONS or float(sample.std()) < 1e-3:
    return np.ones((1, *lightness.shape), np.float32)
  cv2.setRNGSeed(1)
  criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1e-2)
  centres = cv2.kmeans(sample, _TEXTONS, None, criteria, 1, cv2.KMEANS_PP_CENTERS)[2]
  # |x - c|^2 without |x|^2, which is the same for each centre.
  kind = ((centres ** 2).sum(1) - 2 * features @ centres.T).argmin(1).reshape(lightness.shape)
  return (kind == np.arange(_TEXTONS)[:, None, None]).astype(np.float32)


def _filters(size=13, sigma=1.4, elongation=2.0, orientations=6):
  """First and second derivatives of elongated Gaussians, and a blob: kernels with mean 0."""
  y, x = np.mgrid[:size, :size].astype(np.float32) - size // 2
  kernels = [np.exp(-(x ** 2 + y ** 2) / (2 * sigma ** 2))]
  for angle in np.arange(orientations) * np.pi / orientations:
    across = x * np.cos(angle) + y * np.sin(angle)
    along = y * np.cos(angle) - x * np.sin(angle)
    envelope = np.exp(-(across ** 2 + (along / elongation) ** 2) / (2 * sigma ** 2))
    kernels += [across * envelope, ((across / sigma) ** 2 - 1) * envelope]
  for kernel in kernels:
    kernel -= kernel.mean()
    kernel /= np.abs(kernel).sum()
    yield kernel.astype(np.float32)


def _half_disc_differences(bins, radius):
  """Chi-squared distance of the histograms in the two halves of discs, in each direction.

  Args:
    bins: float32 [bins, height, width], each pixel's histogram.
    radius: pixels.

  Returns:
    float32 [orientations, height, width], 0..1.
  """
  height, width = bins.shape[1:]
  halved = radius > _LARGEST_RADIUS and min(height, width) > 1
  if halved:
    size = (width + 1) // 2, (height + 1) // 2
    bins = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in bins])
    radius = radius / 2
  reach = int(np.ceil(radius))
  y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1].astype(np.float32)
  # Round windows that fade out: hard discs answer to a contour at their rim too.
  window = np.maximum(1 - (x ** 2 + y ** 2) / (radius + 0.5) ** 2, 0)
  window /= window.sum()
  difference = np.zeros((_ORIENTATIONS, *bins.shape[1:]), np.float32)
  kernels = [2 * window * np.clip(x * np.cos(angle) + y * np.sin(angle), -0.5, 0.5)
             for angle in np.arange(_ORIENTATIONS) * np.pi / _ORIENTATIONS]
  for each in bins:
    if each.min() == each.max():  # it differs nowhere
      continue
    both = cv2.filter2D(each, cv2.CV_32F, window, borderType=cv2.BORDER_REFLECT)
    for index, kernel in enumerate(kernels):
      halves = cv2.filter2D(each, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT)
      difference[index] += halves ** 2 / (both + 1e-6)
  # Rounding leaves traces where nothing differs.
  difference[difference < 1e-6] = 0
  if halved:
    difference = np.stack([
        cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in difference])
  return difference

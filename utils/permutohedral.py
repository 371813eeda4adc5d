"""Gaussian filtering of scattered values in a few dimensions, on the permutohedral lattice.

Adams, Baek and Davis, Fast high-dimensional filtering using the permutohedral lattice, 2010.
"""

import numpy as np
from scipy import linalg, sparse

# Mixed-radix digits keep this much room for the simplex (1) and for two rings of neighbours (2).
MARGIN = 3
# Values of all vertices that are held at a time. There are up to 6 vertices a pixel of photographs:
# those of 27 classes at once would be several times what all else takes.
_MOST_VALUES = 1 << 26


class PermutohedralLattice:
  """sum_j exp(-|f_i - f_j|^2 / 2) v_j for all i at once, approximately.

  The lattice is Z^(d+1) seen along its diagonal: integer vectors that differ by (1, ..., 1) are one
  vertex. In it a point's simplex is found as in the cube of Z^(d+1): from the floor along one axis
  after the other, the largest fraction first. Values are splatted to the d + 1 vertices with their
  barycentric weights, blurred by (1 2 1) / 4 along the d + 1 axes, and read with the same weights.
  Along every direction splatting, blurring and reading have a variance of 1/12 + 1/2 + 1/12, which
  gives the scale of the features.

  Deviates from the paper: the neighbours of the vertices that hold points are vertices too, without
  which far more of the blur is lost where colours are rare; and what a point gives itself is put
  right (exp(0) = 1), wherever in its simplex it lies. Pixels are sparse in five dimensions.

  Args:
    features: float [N, d], finite, in standard deviations.

  Attributes:
    num_vertices: int.

  Raises:
    ValueError: the features span too much for the vertices to be numbered in 64 bits.
  """

  def __init__(self, features):
    keys, weights, steps = _simplices(np.asarray(features, np.float64))
    count, dim = len(keys), len(steps) - 1
    # The value at the origin of the lattice's normalised kernel, were it an exact Gaussian.
    self._peak = (4 * np.pi / 3) ** (-dim / 2) / np.sqrt(dim + 1)
    apart = np.abs(np.subtract.outer(np.arange(dim + 1), np.arange(dim + 1)))
    # What one vertex of a simplex gives another: by steps along the axes between, or back along
    # all others; and itself also once around either way.
    between = 0.5 ** (dim + 1 + apart) + 0.5 ** (2 * dim + 2 - apart)
    between += np.eye(dim + 1) * 0.25 ** (dim + 1)
    own = ((weights @ between) * weights).sum(axis=1, keepdims=True)
    self._own = (1 - own / self._peak).astype(np.float32)

    # Large images: what is no longer needed is let go of.
    held = np.unique(keys)
    vertices = np.unique(held + np.concatenate([[0], steps, -steps])[:, None])
    del held
    self.num_vertices = len(vertices)
    self._read = sparse.csr_array(
        (weights.ravel().astype(np.float32),
         np.searchsorted(vertices, keys.ravel()).astype(np.int32),
         np.arange(0, keys.size + 1, dim + 1, dtype=np.int32)), shape=(count, len(vertices)))
    del keys, weights
    self._splat = self._read.T.tocsr()
    self._blurs = [_blur(vertices, step) for step in steps]

  def __call__(self, values):
    """Filters float32 [N, C]; returns float32 [N, C]."""
    columns = max(1, _MOST_VALUES // self.num_vertices)
    filtered = np.empty_like(values)
    for start in range(0, values.shape[1], columns):
      part = np.s_[:, start:start + columns]
      filtered[part] = self._filter(np.ascontiguousarray(values[part]))
    return filtered

  def _filter(self, values):
    blurred = self._splat @ values
    for blur in self._blurs:
      blurred = blur @ blurred
    return self._read @ blurred / np.float32(self._peak) + self._own * values


def _simplices(features):
  """The vertices around points, and how near each is.

  Args:
    features: float64 [N, d].

  Returns:
    int64 [N, d + 1], numbers of the vertices; float64 of that shape, barycentric weights; and
    int64 [d + 1], see `_numbered`.
  """
  position = features @ linalg.helmert(features.shape[1] + 1) * np.sqrt(2 / 3)
  base = np.floor(position)
  order = np.argsort(base - position, axis=1)
  fraction = np.take_along_axis(position - base, order, axis=1)
  weights = -np.diff(fraction, prepend=1 + fraction[:, -1:], axis=1)
  first, steps = _numbered(base.astype(np.int64))
  inside = steps[order[:, :-1]].cumsum(axis=1)
  return first[:, None] + np.pad(inside, ((0, 0), (1, 0))), weights, steps


def _numbered(base):
  """Numbers of vertices: their first d coordinates less the last one, read as digits.

  Args:
    base: int64 [N, d + 1].

  Returns:
    int64 [N], the numbers; and int64 [d + 1], what a step along each axis adds to any number.
  """
  digits = base[:, :-1] - base[:, -1:]
  digits -= digits.min(axis=0)
  places = [1]
  for most in digits.max(axis=0).tolist():
    places.append(places[-1] * (most + 1 + 2 * MARGIN))
  if places[-1] >= 2 ** 62:
    raise ValueError(
        f'the features span {np.ptp(base, axis=0).tolist()} lattice cells, too many to be numbered:'
        ' give the kernel larger standard deviations')
  steps = np.array([*places[:-1], -sum(places[:-1])], np.int64)
  return digits @ steps[:-1], steps


def _blur(vertices, step):
  """The sparse matrix of (1 2 1) / 4 along an axis; vertices that are not there hold nothing."""
  ahead = np.searchsorted(vertices, vertices + step).clip(max=len(vertices) - 1)
  here = np.flatnonzero(vertices[ahead] == vertices + step)
  size = (len(vertices),) * 2
  forward = sparse.csr_array(
      (np.full(len(here), 0.25, np.float32), (here, ahead[here])), shape=size)
  return (forward + forward.T + sparse.eye_array(len(vertices), dtype=np.float32) * 0.5).tocsr()

"""Ultrametric contour maps: superpixels, and how strong a boundary parts each two neighbours."""

import dataclasses

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph


def relabel(labels):
  """Numbers labels anew, 0.. in the order in which they first appear row by row.

  Args:
    labels: int [height, width], any ids.

  Returns:
    int32 [height, width], 0..regions-1.
  """
  _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
  rank = np.empty(len(first), np.int32)
  rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
  return rank[inverse.reshape(labels.shape)]


def neighbour_pairs(labels):
  """The pairs of 4-neighbours in [height, width] `labels`: int [pairs, 2], across, then down."""
  across = np.stack([labels[:, :-1], labels[:, 1:]], axis=-1)
  down = np.stack([labels[:-1], labels[1:]], axis=-1)
  return np.concatenate([across.reshape(-1, 2), down.reshape(-1, 2)])


def joined(pairs, count):
  """The connected component that each of `count` vertices is in, int32 [count], given edges."""
  graph = sparse.coo_matrix((np.ones(len(pairs), bool), tuple(pairs.T)), shape=(count, count))
  return csgraph.connected_components(graph, directed=False)[1]


@dataclasses.dataclass(frozen=True)
class Ucm:
  """A hierarchy of segmentations: at each threshold, weaker boundaries are gone.

  Attributes:
    superpixels: int32 [height, width], 0..count-1: the finest segmentation.
    pairs: int [edges, 2], superpixels that touch, each pair once.
    strength: float32 [edges], the threshold at which the two are in one region. Ultrametric: around
      each ring of neighbours the greatest strength occurs at least twice.
  """
  superpixels: np.ndarray
  pairs: np.ndarray
  strength: np.ndarray

  @property
  def count(self):
    """The number of superpixels."""
    return int(self.superpixels.max()) + 1

  def groups(self, threshold):
    """The region of each superpixel, int32 [count], where boundaries up to `threshold` are gone."""
    return joined(self.pairs[self.strength <= threshold], self.count)

  def regions(self, threshold):
    """The segmentation at a threshold: int32 [height, width], ids 0.. in row-major order."""
    return relabel(self.groups(threshold)[self.superpixels])

  def threshold_for(self, max_regions):
    """The lowest threshold that leaves at most `max_regions` regions: a horizontal cut.

    Returns:
      float, 0 where the superpixels themselves are no more than that.
    """
    # Weights of 0 would be no edges for scipy; adding 1 keeps the order.
    weights = sparse.coo_matrix(
        (self.strength.astype(np.float64) + 1, tuple(self.pairs.T)), shape=(self.count,) * 2)
    order = csgraph.minimum_spanning_tree(weights.tocsr()).data - 1
    merges = np.sort(order)[::-1]  # each merge above the threshold leaves one more region
    threshold = merges[max_regions - 1] if len(merges) >= max_regions else 0.0
    return float(np.float32(threshold))

  def picture(self):
    """The map in the layout of BSDS (`ucm2`): float32 [2 height + 1, 2 width + 1].

    Pixel (i, j) is at (2i+1, 2j+1) and 0; between two pixels stands the strength that parts them;
    a crossing takes the strongest of the four around it; the border repeats what is beside it, so
    that boundaries reach it.
    """
    height, width = self.superpixels.shape
    pairs = neighbour_pairs(self.superpixels)
    across, down = np.split(self._strength_of(pairs), [height * (width - 1)])
    picture = np.zeros((2 * height + 1, 2 * width + 1), np.float32)
    picture[1::2, 2:-1:2] = across.reshape(height, width - 1)
    picture[2:-1:2, 1::2] = down.reshape(height - 1, width)
    inner = picture[2:-1:2, 2:-1:2]
    inner[:] = np.maximum.reduce([
        picture[1:-2:2, 2:-1:2], picture[3::2, 2:-1:2],
        picture[2:-1:2, 1:-2:2], picture[2:-1:2, 3::2]])
    picture[[0, -1]] = picture[[1, -2]]
    picture[:, [0, -1]] = picture[:, [1, -2]]
    return picture

  def _strength_of(self, pairs):
    """The strengths of pairs [n, 2] of touching or equal superpixels: float32 [n]."""
    keys = np.sort(self.pairs, axis=1).astype(np.int64) @ [self.count, 1]
    order = np.argsort(keys)
    wanted = np.sort(pairs, axis=1).astype(np.int64) @ [self.count, 1]
    strength = np.zeros(len(pairs), np.float32)
    parted = pairs[:, 0] != pairs[:, 1]
    places = np.searchsorted(keys, wanted[parted], sorter=order)
    strength[parted] = self.strength[order[places]]
    return strength


def from_picture(picture):
  """The hierarchy in a map of BSDS's layout; the inverse of `Ucm.picture`.

  Args:
    picture: float [2 height + 1, 2 width + 1], as in `Ucm.picture`.

  Returns:
    `Ucm`.

  Raises:
    ValueError: another shape, or values that are not finite or below 0.
  """
  picture = np.asarray(picture)
  if picture.ndim != 2 or min(picture.shape) < 3 or not all(size % 2 for size in picture.shape):
    raise ValueError(f'a map of shape {picture.shape} is no ucm2, whose sides are 2 x pixels + 1')
  if not (np.isfinite(picture).all() and (picture >= 0).all()):
    raise ValueError('a UCM holds finite values from 0 up')
  height, width = (size // 2 for size in picture.shape)
  pixels = np.arange(height * width).reshape(height, width)
  pairs = neighbour_pairs(pixels)
  values = np.concatenate([picture[1::2, 2:-1:2].ravel(), picture[2:-1:2, 1::2].ravel()])
  superpixels = joined(pairs[values <= 0], pixels.size)
  pairs = np.sort(superpixels[pairs], axis=1)
  parted = pairs[:, 0] != pairs[:, 1]
  pairs, place = np.unique(pairs[parted], axis=0, return_inverse=True)
  strength = np.full(len(pairs), np.inf, np.float32)
  np.minimum.at(strength, place.ravel(), values[parted].astype(np.float32))
  return Ucm(superpixels.reshape(height, width).astype(np.int32), pairs, strength)

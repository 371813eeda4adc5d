"""How well boundaries agree with human ones: each matched to at most one, within a tolerance.

Martin et al., Learning to Detect Natural Image Boundaries, PAMI 2004, section 5 (BSDS benchmark).
"""

import numpy as np
from scipy import sparse, spatial
from scipy.sparse import csgraph

from utils.opencv import cv2

# The eight neighbours in ring order, as bits of a code.
_RING = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)


def tolerance(shape, share=0.0075):
  """The greatest distance of a match in pixels: a share of the image's diagonal."""
  return share * float(np.hypot(*shape))


def thin(boundary):
  """Thins a boundary to lines of one pixel that keep their connections.

  Guo and Hall, Parallel Thinning with Two-Subiteration Algorithms, CACM 1989 (MATLAB's bwmorph).

  Args:
    boundary: bool [height, width].

  Returns:
    bool [height, width].
  """
  tables = _removable()
  boundary = np.asarray(boundary).astype(np.uint8)
  while True:
    before = int(boundary.sum())
    for table in tables:
      codes = cv2.filter2D(boundary, cv2.CV_32F, _RING, borderType=cv2.BORDER_CONSTANT)
      boundary[table[codes.astype(np.int64)]] = 0
    if int(boundary.sum()) == before:
      return boundary.astype(bool)


def _removable():
  """For both half-steps, whether a pixel with each code of neighbours goes: bool [2, 256]."""
  north, north_east, east, south_east, south, south_west, west, north_west = (
      (np.arange(256) >> bit & 1).astype(bool) for bit in range(8))
  ring = (east, north_east, north, north_west, west, south_west, south, south_east)
  crossings = sum((~ring[i] & (ring[i + 1] | ring[(i + 2) % 8])).astype(int) for i in (0, 2, 4, 6))
  pairs = [sum((ring[(i + shift) % 8] | ring[(i + shift + 1) % 8]).astype(int)
               for i in (0, 2, 4, 6)) for shift in (1, 0)]
  fewest = np.minimum(*pairs)
  common = (crossings == 1) & (fewest >= 2) & (fewest <= 3)
  first = ~((north | north_east | ~south_east) & east)
  second = ~((south | south_west | ~north_west) & west)
  return np.stack([common & first, common & second])


def match(boundary, truth, radius):
  """Matches as many boundary pixels one to one as can be.

  Args:
    boundary, truth: bool [height, width].
    radius: pixels, the greatest distance.

  Returns:
    Which pixels have a partner, for each of the two: bool [height, width].
  """
  matched = np.zeros(boundary.shape, bool), np.zeros(truth.shape, bool)
  points = [np.argwhere(each) for each in (boundary, truth)]
  if len(points[0]) and len(points[1]):
    near = spatial.cKDTree(points[0]).sparse_distance_matrix(
        spatial.cKDTree(points[1]), radius, output_type='coo_matrix')
    # As a flow of units; scipy's maximum_bipartite_matching takes minutes for some of these graphs.
    ours, theirs = near.shape
    source, sink = ours + theirs, ours + theirs + 1
    start = np.concatenate([np.full(ours, source), near.row, ours + np.arange(theirs)])
    end = np.concatenate([np.arange(ours), ours + near.col, np.full(theirs, sink)])
    network = sparse.csr_matrix((np.ones(len(start), np.int32), (start, end)), (sink + 1, sink + 1))
    flow = csgraph.maximum_flow(network, source, sink, method='dinic').flow
    pairs = flow[:ours, ours:source].tocoo()
    used = pairs.data > 0
    matched[0][tuple(points[0][pairs.row[used]].T)] = True
    matched[1][tuple(points[1][pairs.col[used]].T)] = True
  return matched


def boundary_counts(boundary, truths, radius):
  """The numbers that precision and recall are made of.

  A boundary pixel is right if any person drew it; recall is over what all of them drew.

  Args:
    boundary: bool [height, width], thin.
    truths: list of bool [height, width], one for each person.
    radius: pixels.

  Returns:
    int64 [4]: right and all boundary pixels, found and all true ones.
  """
  right = np.zeros(boundary.shape, bool)
  found = 0
  for truth in truths:
    matched, found_here = match(boundary, truth, radius)
    right |= matched
    found += int(found_here.sum())
  return np.array([right.sum(), boundary.sum(), found, sum(int(t.sum()) for t in truths)])


def precision_recall_f(counts):
  """Precision, recall and their harmonic mean of [..., 4] counts: float64 [..., 3].

  Where nothing is marked precision is 1, where nothing is to be found recall is 1.
  """
  counts = np.asarray(counts, np.float64)
  precision, recall = (np.divide(counts[..., i], counts[..., i + 1],
                                 out=np.ones(counts.shape[:-1]), where=counts[..., i + 1] > 0)
                       for i in (0, 2))
  both = precision + recall
  score = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
  return np.stack([precision, recall, score], axis=-1)

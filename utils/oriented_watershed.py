"""From a contour map to its hierarchy of regions: oriented watershed transform and UCM, by higra.

Arbelaez et al., Contour Detection and Hierarchical Image Segmentation, PAMI 2011, section 4.
"""

import numpy as np
from scipy import ndimage, spatial

from utils.ucm import Ucm

try:
  import higra
except ImportError as missing:
  higra, _MISSING = None, missing

# Pixels: the part of a boundary that its direction is taken from.
_REACH = 4.0
# Pixels: the scale at which a contour has a direction.
_ORIENTATION_SCALE = 1.5


def require_higra():
  """Raises an ImportError that says what to install where higra is missing."""
  if higra is None:
    raise ImportError(
        f'oversegmentations need higra ({_MISSING}): pip install -r '
        'requirements-oversegmentation.txt, or pip install higra') from _MISSING


def ultrametric_contour_map(contours, smoothing=1.0):
  """Watershed regions of a contour map, and the strength of the boundaries between them.

  A boundary element is weighted by how well the boundary's own direction agrees with the contour's
  there, so that where two basins meet across a contour's flank counts less.
  Deviates from higra's own weighting: that one takes the direction of a boundary from its
  subdivision into lines, where a line of one element counts as horizontal: vertical contours lost
  two thirds of their strength. Here directions are those of the elements around, and an element
  without neighbours keeps its weight.

  Args:
    contours: float [height, width], 0..1, finite.
    smoothing: pixels, the Gaussian's sigma before the watershed; without it each speck of noise
      becomes a basin.

  Returns:
    `Ucm`, strengths 0..1.

  Raises:
    ImportError: without higra; names the pip command.
  """
  require_higra()
  contours = np.asarray(contours, np.float64)
  if contours.min() == contours.max():
    return Ucm(np.zeros(contours.shape, np.int32), np.zeros((0, 2), np.int64),
               np.zeros(0, np.float32))
  smooth = ndimage.gaussian_filter(contours, smoothing) if smoothing else contours
  grid = higra.get_4_adjacency_graph(contours.shape)
  weights = higra.weight_graph(grid, smooth, higra.WeightFunction.mean)
  labels = higra.labelisation_watershed(grid, weights)
  regions = higra.make_region_adjacency_graph_from_labelisation(grid, labels)
  superpixels = higra.CptRegionAdjacencyGraph.get_vertex_map(regions).reshape(contours.shape)
  edges = higra.CptRegionAdjacencyGraph.get_edge_map(regions)  # of each grid edge; -1: inside

  on_border = np.flatnonzero(edges >= 0)
  sources, targets = (ends[on_border] for ends in grid.edge_list()[:2])
  boundary = edges[on_border]
  element = np.stack([(np.asarray(np.unravel_index(ends, contours.shape)))
                      for ends in (sources, targets)]).mean(axis=0).T  # [elements, (row, column)]
  agreement = _agreement(
      _boundary_directions(element, boundary), _contour_directions(contours)[
          tuple(np.floor(element).astype(np.int64).T)])
  raw = contours.reshape(-1)
  value = (raw[sources] + raw[targets]) / 2 * agreement
  count = regions.num_edges()
  length = np.bincount(boundary, minlength=count).astype(np.float64)
  strength = np.bincount(boundary, value, minlength=count) / np.maximum(length, 1)

  tree, altitudes = higra.binary_partition_tree_average_linkage(regions, strength, length)
  saliency = higra.saliency(tree, altitudes, handle_rag=False)
  pairs = np.stack(regions.edge_list()[:2], axis=1).astype(np.int64)
  return Ucm(superpixels.astype(np.int32), pairs, np.asarray(saliency, np.float32))


def _contour_directions(contours):
  """The direction of the contour through each pixel, as a complex number of twice its angle."""
  def derivative(*order):
    return ndimage.gaussian_filter(contours, _ORIENTATION_SCALE, order=order)

  # The Hessian's larger eigenvalue belongs to the direction along a ridge.
  return derivative(0, 2) - derivative(2, 0) + 2j * derivative(1, 1)


def _boundary_directions(element, boundary):
  """The direction of a boundary at each of its elements, from its elements within reach.

  Args:
    element: float [elements, 2], rows and columns.
    boundary: int [elements], which boundary each is part of.

  Returns:
    complex [elements], of twice the angle; 0 where an element has no neighbours.
  """
  # A third axis holds boundaries apart: only elements of the same one are within reach.
  place = np.column_stack([element, boundary * (2 * _REACH)])
  pairs = spatial.cKDTree(place).query_pairs(_REACH, output_type='ndarray')
  step = element[pairs[:, 0]] - element[pairs[:, 1]]
  double = (step[:, 1] + 1j * step[:, 0]) ** 2
  direction = np.zeros(len(element), np.complex128)
  for ends in pairs.T:
    direction += np.bincount(ends, double.real, minlength=len(element))
    direction += 1j * np.bincount(ends, double.imag, minlength=len(element))
  return direction


def _agreement(first, second):
  """|cos| of the angle between directions given by twice their angles; 1 where one has none."""
  size = np.abs(first) * np.abs(second)
  cosine = np.divide((first * second.conj()).real, size, out=np.ones(len(first)),
                     where=size > 1e-12)
  return np.sqrt(np.clip((1 + cosine) / 2, 0, 1))

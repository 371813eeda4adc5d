"""How well a segmentation agrees with human ones: covering, Rand index, variation of information.

Arbelaez et al., Contour Detection and Hierarchical Image Segmentation, PAMI 2011, section 3.2.
"""

import numpy as np


def overlaps(segmentation, truth):
  """Pixels that each region shares with each true one: int64 [regions, true regions]."""
  rows, columns = int(segmentation.max()) + 1, int(truth.max()) + 1
  joint = segmentation.astype(np.int64).ravel() * columns + truth.ravel()
  return np.bincount(joint, minlength=rows * columns).reshape(rows, columns)


def best_overlaps(counts):
  """Of each true region, the best intersection over union with a region: float64 [true regions].

  Args:
    counts: int [regions, true regions], of `overlaps`.
  """
  union = counts.sum(1, keepdims=True) + counts.sum(0) - counts
  return (counts / np.maximum(union, 1)).max(0)


def rand_index(counts):
  """The share of pairs of pixels that both segmentations join or both part: 0..1."""
  pairs = counts.sum() * (counts.sum() - 1) / 2
  if not pairs:
    return 1.0
  both = (counts.astype(np.float64) ** 2).sum()
  sides = (counts.sum(0).astype(np.float64) ** 2).sum() + (
      counts.sum(1).astype(np.float64) ** 2).sum()
  return float(1 - (sides / 2 - both) / pairs)


def variation_of_information(counts):
  """Variation of information in bits, from 0 (the same segmentation) up."""
  total = counts.sum()
  return float(2 * _entropy(counts / total) - _entropy(counts.sum(0) / total)
               - _entropy(counts.sum(1) / total))


def _entropy(share):
  share = share[share > 0]
  return -(share * np.log2(share)).sum()

import itertools

import numpy as np
import pytest

from utils import region_scores

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.integers(0, 4, (6, 7)), RNG.integers(0, 3, (6, 7))
COUNTS = region_scores.overlaps(FIRST, SECOND)


def test_overlaps():
  for row, column in itertools.product(range(4), range(3)):
    assert COUNTS[row, column] == ((FIRST == row) & (SECOND == column)).sum()


def test_best_overlaps_are_the_greatest_iou():
  naive = [max(((FIRST == row) & (SECOND == column)).sum() / ((FIRST == row) | (SECOND == column)
                                                              ).sum() for row in range(4))
           for column in range(3)]
  np.testing.assert_allclose(region_scores.best_overlaps(COUNTS), naive)


def test_rand_index_counts_pairs():
  agree = [(a == b) == (c == d) for (a, c), (b, d) in itertools.combinations(
      zip(FIRST.ravel(), SECOND.ravel(), strict=True), 2)]
  assert region_scores.rand_index(COUNTS) == pytest.approx(np.mean(agree))


def test_variation_of_information():
  joint = COUNTS / COUNTS.sum()
  rows, columns = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
  naive = -sum(p * (np.log2(p / r) + np.log2(p / c)) for p, r, c in zip(
      joint.ravel(), np.broadcast_to(rows, joint.shape).ravel(),
      np.broadcast_to(columns, joint.shape).ravel(), strict=True) if p)
  assert region_scores.variation_of_information(COUNTS) == pytest.approx(naive)


def test_equal_segmentations_are_perfect():
  counts = region_scores.overlaps(FIRST, FIRST)
  assert region_scores.best_overlaps(counts).tolist() == [1] * 4
  assert region_scores.rand_index(counts) == pytest.approx(1)
  assert region_scores.variation_of_information(counts) == pytest.approx(0, abs=1e-12)


def test_one_pixel():
  assert region_scores.rand_index(np.array([[1]])) == 1

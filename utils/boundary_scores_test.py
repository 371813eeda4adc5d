import itertools

import numpy as np
import pytest
from scipy import ndimage, optimize

from utils import boundary_scores


def test_the_tolerance_is_a_share_of_the_diagonal():
  assert boundary_scores.tolerance((300, 400)) == pytest.approx(3.75)


def test_thin_lines_stay_and_thick_ones_become_thin():
  line = np.zeros((20, 30), bool)
  line[10, 3:27] = True
  np.testing.assert_array_equal(boundary_scores.thin(line), line)
  thick = ndimage.binary_dilation(line, np.ones((3, 3)))
  thinned = boundary_scores.thin(thick)
  assert thinned.sum() <= line.sum() + 2
  assert not (thinned & ~thick).any()
  assert (thinned.sum(0)[5:25] == 1).all()


@pytest.mark.parametrize('seed', range(3))
def test_thinning_keeps_connections_and_is_final(seed):
  blobs = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 60)), 2) > 0.05
  thinned = boundary_scores.thin(blobs)
  eight = np.ones((3, 3))
  assert ndimage.label(thinned, eight)[1] == ndimage.label(blobs, eight)[1]
  outside = [ndimage.label(np.pad(~each, 1, constant_values=True))[1] for each in (thinned, blobs)]
  assert outside[0] == outside[1]
  np.testing.assert_array_equal(boundary_scores.thin(thinned), thinned)
  squares = thinned[1:, 1:] & thinned[1:, :-1] & thinned[:-1, 1:] & thinned[:-1, :-1]
  assert squares.sum() <= 0.01 * thinned.sum()


@pytest.mark.parametrize('seed', range(4))
def test_as_many_pixels_are_matched_as_an_assignment_can(seed):
  rng = np.random.default_rng(seed)
  first, second = (rng.uniform(size=(15, 15)) < 0.2 for _ in range(2))
  points = [np.argwhere(each) for each in (first, second)]
  distance = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
  best = optimize.linear_sum_assignment(-(distance <= 1.5).astype(float))
  matched = boundary_scores.match(first, second, 1.5)
  assert matched[0].sum() == matched[1].sum() == (distance <= 1.5)[best].sum()
  assert not (matched[0] & ~first).any() and not (matched[1] & ~second).any()


def test_a_pixel_matches_itself_and_nothing_out_of_reach():
  line = np.zeros((10, 20), bool)
  line[3] = True
  for rows, share in itertools.product((0, 1, 2, 3, 4), (2.5,)):
    matched = boundary_scores.match(line, np.roll(line, rows, axis=0), share)
    assert matched[0].sum() == (20 if rows <= 2 else 0)
  assert boundary_scores.match(line, np.zeros_like(line), 3)[0].sum() == 0


def test_precision_is_over_any_person_and_recall_over_all():
  drawn = np.zeros((30, 30), bool)
  drawn[5], drawn[15] = True, True
  people = [np.zeros((30, 30), bool) for _ in range(2)]
  people[0][5], people[1][25] = True, True
  counts = boundary_scores.boundary_counts(drawn, people, 2.0)
  assert counts.tolist() == [30, 60, 30, 60]
  assert boundary_scores.precision_recall_f(counts).tolist() == [0.5, 0.5, 0.5]


def test_nothing_marked():
  assert boundary_scores.precision_recall_f([0, 0, 0, 9]).tolist() == [1, 0, 0]
  assert boundary_scores.precision_recall_f([0, 0, 0, 0]).tolist() == [1, 1, 1]

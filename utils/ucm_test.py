import numpy as np
import pytest
from scipy import ndimage

from utils import ucm

# Four quarters a b / c d: a-b part at .2, c-d at .4, top and bottom at .7.
QUARTERS = np.kron(np.array([[0, 1], [2, 3]]), np.ones((2, 3), int)).astype(np.int32)
HIERARCHY = ucm.Ucm(QUARTERS, np.array([[0, 1], [0, 2], [1, 3], [2, 3]]),
                    np.array([0.2, 0.7, 0.7, 0.4], np.float32))


def test_labels_are_numbered_by_first_appearance():
  labels = np.array([[7, 7, 2], [9, 2, 7]])
  assert ucm.relabel(labels).tolist() == [[0, 0, 1], [2, 1, 0]]


def test_thresholds_remove_boundaries():
  counts = [int(HIERARCHY.regions(threshold).max()) + 1 for threshold in (0.1, 0.2, 0.5, 0.7)]
  assert counts == [4, 3, 2, 1]
  assert HIERARCHY.regions(0.5).tolist() == np.kron([[0, 0], [1, 1]], np.ones((2, 3))).tolist()


@pytest.mark.parametrize('most', [1, 2, 3, 4, 9])
def test_a_horizontal_cut_leaves_as_many_regions_as_allowed(most):
  assert HIERARCHY.regions(HIERARCHY.threshold_for(most)).max() + 1 == min(most, 4)


def test_equal_merges_go_together():
  row = ucm.Ucm(np.arange(3, dtype=np.int32)[None], np.array([[0, 1], [1, 2]]),
                np.array([0.5, 0.5], np.float32))
  assert row.regions(row.threshold_for(2)).max() + 1 == 1


def test_the_picture_has_the_layout_of_bsds():
  picture = HIERARCHY.picture()
  assert picture.shape == (9, 13)
  assert picture.dtype == np.float32
  assert not picture[1::2, 1::2].any()
  np.testing.assert_allclose(picture[:4, 6], 0.2)
  np.testing.assert_allclose(picture[5:, 6], 0.4)
  np.testing.assert_allclose(picture[4], 0.7)
  for threshold in (0.1, 0.3, 0.5, 0.8):  # as MATLAB's users cut it
    components = ndimage.label(picture <= threshold)[0][1::2, 1::2]
    np.testing.assert_array_equal(ucm.relabel(components), HIERARCHY.regions(threshold))


def test_a_picture_holds_the_whole_hierarchy():
  again = ucm.from_picture(HIERARCHY.picture())
  for threshold in (0.1, 0.2, 0.4, 0.7):
    np.testing.assert_array_equal(again.regions(threshold), HIERARCHY.regions(threshold))
  np.testing.assert_array_equal(again.picture(), HIERARCHY.picture())


def test_one_pixel():
  one = ucm.from_picture(np.zeros((3, 3)))
  assert one.regions(0).tolist() == [[0]]
  assert one.threshold_for(1) == 0
  assert one.picture().shape == (3, 3)


@pytest.mark.parametrize('picture', [
    np.zeros((4, 5)), np.zeros(9), np.full((3, 5), np.nan), np.full((3, 5), -1.0)])
def test_what_is_no_picture_is_refused(picture):
  with pytest.raises(ValueError):
    ucm.from_picture(picture)

import numpy as np

from seg_models.boxes import boxes_of


def test_boxes_surround_regions():
  ids = np.array([[-1, 0, 0], [2, -1, 0]])
  assert boxes_of(ids, 4).tolist() == [[0, 1, 2, 3], [0, 0, 0, 0], [1, 0, 2, 1], [0, 0, 0, 0]]
  assert boxes_of(np.full([2, 2], -1), 0).shape == (0, 4)

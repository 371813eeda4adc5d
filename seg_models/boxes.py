"""Where the regions of an image are."""

import numpy as np
from scipy import ndimage


def boxes_of(ids, count):
  """Bounding boxes of the regions of an id map.

  Args:
    ids: int [H, W]; negative ids are no region.
    count: number of regions.

  Returns:
    int32 [count, 4], (top, left, bottom, right), the last two exclusive; zeros for an empty region.
  """
  boxes = np.zeros([count, 4], np.int32)
  for index, place in enumerate(ndimage.find_objects(ids + 1, count)):
    if place is not None:
      rows, columns = place
      boxes[index] = rows.start, columns.start, rows.stop, columns.stop
  return boxes

"""Mean IoU near true boundaries only, where the choice between smooth and exact masks shows.

The trimaps of Kohli, Ladicky and Torr, Robust Higher Order Potentials for Enforcing Label
Consistency, IJCV 2009, and Kraehenbuehl and Koltun, Efficient Inference in Fully Connected CRFs
with Gaussian Edge Potentials, NIPS 2011.
"""

import numpy as np

from utils.metrics import ConfusionMatrix
from utils.opencv import cv2


def boundary_distance(labels):
  """The distance of each pixel to the nearest pixel of another label.

  It is exact, Euclidean, and between the centres of pixels: 1 for a pixel one of whose four
  neighbours has another label, sqrt(2) where only a diagonal one has. The frame of the image is no
  boundary.

  Args:
    labels: integer [height, width].

  Returns:
    float32 [height, width], pixels, at least 1; infinity if there is only one label.
  """
  labels = np.asarray(labels)
  values = np.unique(labels)
  distance = np.full(labels.shape, np.inf, np.float32)
  if values.size > 1:
    for value in values:
      same = labels == value
      # OpenCV's exact transform is many times faster than SciPy's; here it is run once a label.
      away = cv2.distanceTransform(same.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
      distance[same] = away[same]
  return distance


class BoundaryBands:
  """Confusion matrices within bands around the true boundaries.

  The band of width d holds the labelled pixels whose `boundary_distance` in the truth is at most d:
  d pixels on each side of a boundary. The ignore label is a value like others for the distance,
  since VOC draws its contours with it, but ignored pixels are in no band.

  Args:
    num_classes: number of classes.
    ignore_label: pixels of this true label do not count.
    widths: in pixels; at least 1 and increasing.

  Attributes:
    matrices: one `ConfusionMatrix` a width, over all images.

  Raises:
    ValueError: widths that are none.
  """

  def __init__(self, num_classes, ignore_label=255, widths=(1, 3, 5, 9)):
    self.widths = tuple(widths)
    if not self.widths or self.widths[0] < 1 or sorted(set(self.widths)) != list(self.widths):
      raise ValueError(f'widths {",".join(map(str, self.widths))} of bands at boundaries: expected '
                       'increasing numbers of pixels from 1 up, such as 1,3,5,9')
    self.matrices = [ConfusionMatrix(num_classes, ignore_label) for _ in self.widths]

  def update(self, truth, prediction):
    """Adds an image: integer [height, width], see `ConfusionMatrix.update`."""
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
      raise ValueError(f'truth {truth.shape} and prediction {prediction.shape} differ in shape')
    distance = boundary_distance(truth)
    for width, matrix in zip(self.widths, self.matrices, strict=True):
      band = distance <= width
      matrix.update(truth[band], prediction[band])

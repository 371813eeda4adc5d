"""HED as a detector of contours: the weights' file to a function of an image."""

import pathlib

import numpy as np

from utils import caffemodel

# Where the weights are to be had, for messages.
SOURCE = ("HED's published weights, hed_pretrained_bsds.caffemodel (56 MB), are linked from "
          'https://github.com/s9xie/hed: https://vcl.ucsd.edu/hed/hed_pretrained_bsds.caffemodel')
# Channels of the published conv1_1.
_CHANNELS = 64
# Pixels around a part of an image that its contours depend on, a multiple of the greatest stride:
# 105 by the convolutions and poolings, 16 by the last deconvolution.
_HALO = 128


def hed_detector(weights, tile=1024):
  """Loads HED.

  How wide the network is follows from the weights' shapes.

  Args:
    weights: hed_pretrained_bsds.caffemodel, or an .npz with its arrays (utils/caffemodel.py).
    tile: pixels, a multiple of 16; larger images are worked out in parts of this side and a halo,
      with the result of the whole. On the CPU a process takes 0.9 GB for images of 500 x 375
      pixels, and no more than 2.3 GB for those of any size.

  Returns:
    `contours(image)`: uint8 [H, W, 3] RGB of any size -> float32 [H, W], the probability of a
    contour in [0, 1]. It raises ValueError for anything else.

  Raises:
    FileNotFoundError: the file is missing; the message says where it is to be had.
    ValueError: the file is damaged, or not HED's; the message names it.
  """
  if tile < 16 or tile % 16:
    raise ValueError(f'tile {tile}: must be a multiple of 16, the greatest stride')
  path = pathlib.Path(weights)
  if not path.is_file():
    raise FileNotFoundError(f'{path}: no such file. {SOURCE}')
  arrays = caffemodel.read_weights(path)

  import tensorflow as tf  # seconds that scripts which may need it, and errors, need not wait

  from network.common import hed

  model = hed.hed(_width(arrays))
  try:
    hed.assign(model, arrays)
  except ValueError as error:
    raise ValueError(f'{path}: {error}. {SOURCE}') from error

  @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.float32)])
  def forward(images):
    return model(images, training=False)[0, :, :, 0]

  def contours(image):
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
      raise ValueError(f'HED takes RGB images, uint8 [H, W, 3], not {image.dtype} '
                       f'{list(image.shape)}')
    result = np.empty(image.shape[:2], np.float32)
    for row in range(0, image.shape[0], tile):
      for column in range(0, image.shape[1], tile):
        # A part begins on a multiple of the stride, so that pooling cells are those of the whole.
        top, left = max(row - _HALO, 0), max(column - _HALO, 0)
        part = image[top:row + tile + _HALO, left:column + tile + _HALO]
        inner = result[row:row + tile, column:column + tile]
        inner[:] = forward(hed.preprocess(part)[np.newaxis]).numpy()[
            row - top:, column - left:][:inner.shape[0], :inner.shape[1]]
    return result
  return contours


def _width(arrays):
  """The factor of the network's channels that the arrays have; 1 where they are not HED's."""
  shape = np.shape(arrays.get('conv1_1/weights', 0))
  return shape[0] / _CHANNELS if shape and 0 < shape[0] <= _CHANNELS else 1.0

"""HED as a detector of contours: the weights' file to a function of an image."""

import pathlib

import numpy as np
import tensorflow as tf

from network.common import hed
from utils import caffemodel

SOURCE = 'http://vcl.ucsd.edu/hed/hed_pretrained_bsds.caffemodel'


def hed_detector(weights, width=1.0):
  """Loads HED.

  The network is built here: of processes that share the work, each calls this for itself.

  Args:
    weights: hed_pretrained_bsds.caffemodel, or an .npz with its arrays (utils/caffemodel.py).
    width: factor of the channels that the weights have; 1 for the published ones.

  Returns:
    `contours(image)`: uint8 [H, W, 3] RGB of any size -> float32 [H, W], the probability of a
    contour in [0, 1]. It raises ValueError for anything else.

  Raises:
    FileNotFoundError: the file is missing; the message says where it is to be had.
    ValueError: the file is damaged, or not HED's; the message names it.
  """
  path = pathlib.Path(weights)
  if not path.is_file():
    raise FileNotFoundError(
        f"{path}: no such file. HED's published weights, hed_pretrained_bsds.caffemodel (56 MB), "
        f'are linked from https://github.com/s9xie/hed: {SOURCE}')
  arrays = caffemodel.read_weights(path)
  model = hed.hed(width)
  try:
    hed.assign(model, arrays)
  except ValueError as error:
    raise ValueError(f'{path}: {error}. HED\'s own are at {SOURCE}') from error

  @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.float32)])
  def forward(images):
    return model(images, training=False)[0, :, :, 0]

  def contours(image):
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
      raise ValueError(f'HED takes RGB images, uint8 [H, W, 3], not {image.dtype} '
                       f'{list(image.shape)}')
    return forward(hed.preprocess(image)[np.newaxis]).numpy()
  return contours

"""HED: the probability of a contour at each pixel, from VGG-16 with five side outputs.

Source: Xie and Tu, Holistically-Nested Edge Detection, ICCV 2015; the layers, names and paddings
are those of the published examples/hed/deploy.prototxt, so that its caffemodel fits.
"""

import keras
import numpy as np

from network.common import pretrained
from network.common.layers import LayerOptions, conv

# The published network's own mean colour, in the order of its input.
MEAN_BGR = (104.00699, 116.66877, 122.67892)
# (channels, convolutions) of the five blocks between which the map is halved.
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
# conv1_1 pads 35 pixels, one of which its own 3x3 kernel uses up: its map is the input's frame and
# a margin of 34 around it.
_MARGIN = 34


def preprocess(images):
  """What the network takes: BGR minus `MEAN_BGR`.

  Args:
    images: uint8 [..., 3], RGB.

  Returns:
    float32 [..., 3].
  """
  return images[..., ::-1].astype(np.float32) - np.array(MEAN_BGR, np.float32)


class Crop(keras.layers.Layer):
  """The part of a map that lies on an image: Caffe's Crop.

  Args:
    offset: row and column of the map on which the image's first pixel lies.
  """

  def __init__(self, offset, **kwargs):
    super().__init__(**kwargs)
    self.offset = offset

  def call(self, inputs):
    x, images = inputs
    height, width = keras.ops.shape(images)[1:3]
    return x[:, self.offset:self.offset + height, self.offset:self.offset + width]

  def compute_output_shape(self, shapes):
    return (*shapes[1][:3], shapes[0][3])


def hed(width=1.0):
  """Builds the network.

  A side output of stride s is enlarged by a deconvolution of kernel 2s and stride s without
  padding (bilinear, not trained), which puts cell i's centre, pixel s * i + (s - 1) / 2 of the
  first map, on pixel s * i + s - 1/2: the Crop layer's offset is the margin and s / 2, the
  difference (none for the first side output, which is not enlarged).

  Args:
    width: factor of the trunk's channels; the published weights need 1.

  Returns:
    keras.Model float32 [B, H, W, 3] (from `preprocess`) -> float32 [B, H, W, 1] in [0, 1], the
    fused output, for images of any size from 1 x 1.
  """
  options = LayerOptions()
  images = keras.Input((None, None, 3), name='images')
  x = keras.layers.ZeroPadding2D(_MARGIN, name='margin')(images)
  sides = []
  for block, (channels, count) in enumerate(_BLOCKS, start=1):
    if block > 1:  # Caffe rounds sizes up: so does 'same', with nothing for the maximum to find
      x = keras.layers.MaxPooling2D(2, padding='same', name=f'pool{block - 1}')(x)
    for index in range(1, count + 1):
      x = conv(x, int(channels * width), 3, f'conv{block}_{index}', options, norm=False)
    side = conv(x, 1, 1, f'score-dsn{block}', options, norm=False, activation=False)
    stride = 2 ** (block - 1)
    if stride > 1:
      side = keras.layers.Conv2DTranspose(
          1, 2 * stride, strides=stride, trainable=False, name=f'upsample_{stride}',
          kernel_initializer=lambda shape, dtype=None: _bilinear(shape[0]))(side)
    sides.append(Crop(_MARGIN + stride // 2, name=f'crop{block}')([side, images]))
  x = keras.layers.Concatenate(name='concat')(sides)
  x = conv(x, 1, 1, 'new-score-weighting', options, norm=False, activation=False)
  return keras.Model(images, keras.layers.Activation('sigmoid', name='sigmoid-fuse')(x))


def _bilinear(size):
  """Kernel [size, size, 1, 1] that enlarges a map bilinearly, by half of `size`."""
  ramp = 1.0 - np.abs(np.arange(size) - (size - 1) / 2) / (size / 2)
  return np.outer(ramp, ramp).astype(np.float32)[:, :, np.newaxis, np.newaxis]


class _CaffeArrays:
  """Caffe's arrays as Keras keeps them."""

  def __init__(self, arrays):
    self._arrays = arrays

  def names(self):
    return list(self._arrays)

  def shape(self, name):
    return self.read(name).shape

  def read(self, name):
    value = np.asarray(self._arrays[name])
    if name.endswith('/weights') and value.ndim == 4:
      return value.transpose(2, 3, 1, 0)
    # Old files write every blob with four dimensions.
    return value.reshape(-1) if value.shape[:-1] == (1, 1, 1) else value


def assign(model, arrays):
  """Puts the published weights onto the network.

  The deconvolutions keep their bilinear kernels where the arrays have none for them.

  Args:
    model: from `hed`.
    arrays: mapping `<layer>/weights` and `<layer>/biases` -> array as Caffe keeps it
      (utils/caffemodel.py).

  Returns:
    `pretrained.Report`.

  Raises:
    ValueError: arrays are missing, have another shape or are not finite; nothing has been assigned
      then.
  """
  variables = {
      variable.path.replace('/kernel', '/weights').replace('/bias', '/biases'): variable
      for variable in model.variables}
  needed = [name for name in variables if not name.startswith('upsample_')]
  missing = [name for name in needed if name not in arrays]
  if missing:
    raise ValueError(
        f"{len(missing)} of HED's {len(needed)} arrays are missing ({', '.join(missing[:3])}, ...);"
        f" the {len(arrays)} that are there begin with {', '.join(list(arrays)[:3])}: these are "
        'the weights of another network, or the file is incomplete')
  return pretrained.assign(variables, _CaffeArrays(arrays))

"""From images to embeddings and segments: the path that extraction and inference share."""

import numpy as np
import tensorflow as tf

from network.common.layers import resize_bilinear_legacy
from network.common.preprocessing import MEAN_RGB
from network.segsort.clustering import (
  clustering_features,
  grid_labels,
  location_grid,
  spherical_kmeans,
)
from network.segsort.prototypes import l2_normalize
from seg_models.windows import slide


def centre(images):
  """Subtracts the mean colour: RGB 0..255 [..., 3] of any dtype -> float32 [..., 3]."""
  return tf.cast(images, tf.float32) - MEAN_RGB


def check_finite(values, names):
  """Stops where a network's output is not finite.

  Args:
    values: float [B, ...].
    names: B names of the images.

  Raises:
    FloatingPointError: NaN or infinity; names the images.
  """
  finite = tf.reduce_all(tf.math.is_finite(tf.reshape(values, [len(names), -1])), axis=1).numpy()
  if not finite.all():
    wrong = ', '.join(str(names[i]) for i in np.flatnonzero(~finite))
    raise FloatingPointError(
        f'the network gives NaN or infinity for {wrong}: the checkpoint is damaged, or of a '
        'training that diverged (see its metrics.jsonl); use an earlier checkpoint')


class DenseNetwork:
  """A network's output at every pixel of images of any size.

  The output of stride s lies at the pixels 0, s, 2s, ...; between them it is interpolated linearly,
  behind the last one it stays the same (TF1's bilinear sampling of the map to s times its size, cut
  to the image).

  Deviates from the original: it stretched the map to the image, which is the same for sides that
  are multiples of s and up to a pixel off at the far end of others.

  Args:
    model: float32 [B, H, W, 3] -> float32 [B, ceil(H/s), ceil(W/s), D].
    output_stride: s.
    windows: None for the whole image at once, or `seg_models.windows.Windows` whose outputs are
      averaged.
  """

  def __init__(self, model, output_stride, windows=None):
    self._model = model
    self._stride = output_stride
    self._windows = windows
    # One trace for all sizes.
    self._whole = tf.function(
        self._upsampled, input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])

  def _upsampled(self, images):
    shape = tf.shape(images)
    output = tf.cast(self._model(images, training=False), tf.float32)
    size = tf.shape(output)[1:3] * self._stride
    return resize_bilinear_legacy(output, size)[:, :shape[1], :shape[2]]

  def __call__(self, images):
    """float32 [B, H, W, 3], RGB minus `MEAN_RGB` -> float32 [B, H, W, D]."""
    if self._windows is None:
      return self._whole(images)
    return slide(self._whole, images, self._windows)


class Embedder:
  """Unit embeddings at every pixel: the network's output, normalised after interpolation.

  Args:
    dense: `DenseNetwork`.
  """

  def __init__(self, dense):
    self._dense = dense
    self._normalize = tf.function(
        l2_normalize, input_signature=[tf.TensorSpec([None, None, None, None], tf.float32)])

  def __call__(self, images, names):
    """Embeds images of one size.

    Args:
      images: float32 [B, H, W, 3], RGB minus `MEAN_RGB`.
      names: B names of the images, for messages.

    Returns:
      float32 [B, H, W, D] of unit length.

    Raises:
      FloatingPointError: the network gives NaN or infinity; names the images.
    """
    output = self._dense(images)
    check_finite(output, names)
    return self._normalize(output)


class Segmenter:
  """Segments by spherical k-means over all pixels of each image, from a regular grid.

  Args:
    num_clusters: cells of the grid along each axis; a segment's id is below its square.
    kmeans_iterations: of k-means at most; it ends where nothing changes any more.
    location_weight: how much a pixel's place counts beside its embedding; the original has 1.
  """

  def __init__(self, num_clusters, kmeans_iterations, location_weight=1.0):
    if num_clusters < 1 or kmeans_iterations < 0:
      raise ValueError(f'--num_clusters {num_clusters}, --kmeans_iterations {kmeans_iterations}: '
                       'expected at least 1 and 0')
    self._num_clusters = num_clusters
    self._iterations = kmeans_iterations
    self._location_weight = location_weight
    self._cluster = tf.function(self._cluster_pixels, input_signature=[
        tf.TensorSpec([None, None, None, None], tf.float32),
        tf.TensorSpec([None, None, None], tf.bool)])

  @property
  def num_segments(self):
    """Ids of an image's segments are below this."""
    return self._num_clusters ** 2

  def _cluster_pixels(self, embedding, valid):
    shape = tf.shape(embedding)
    batch, height, width = shape[0], shape[1], shape[2]
    location = location_grid(height, width)[tf.newaxis]
    features = clustering_features(
        embedding, tf.repeat(location, batch, axis=0), self._location_weight)
    grid = grid_labels(height, width, self._num_clusters, self._num_clusters)
    initial = tf.tile(tf.reshape(grid, [1, -1]), [batch, 1])
    labels = spherical_kmeans(
        tf.reshape(features, [batch, height * width, -1]), initial, self.num_segments,
        self._iterations, tf.reshape(valid, [batch, -1]))
    return tf.reshape(labels, shape[:3])

  def __call__(self, embedding, valid=None):
    """Cuts images into segments.

    Args:
      embedding: float32 [B, H, W, D] of unit length.
      valid: bool [B, H, W] or None for all; other pixels are left out.

    Returns:
      int32 [B, H, W], ids in [0, num_segments), -1 where not valid.
    """
    if valid is None:
      valid = tf.ones(embedding.shape[:3], tf.bool)
    return self._cluster(embedding, valid)

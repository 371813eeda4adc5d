"""From images to embeddings and segments: the path that extraction and inference share."""

import numpy as np
import tensorflow as tf

from network.common.layers import resize_bilinear_legacy
from network.common.preprocessing import MEAN_RGB
from network.segsort.clustering import grid_labels, location_grid
from network.segsort.prototypes import l2_normalize
from network.segsort.segments import find_segments
from seg_models.region_config import RegionConfig
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
  """Segments by spherical k-means over all pixels of each image.

  Args:
    num_clusters: cells of the grid along each axis; unused with 'oversegmentation'.
    kmeans_iterations: of k-means at most; it ends where nothing changes any more.
    location_weight: how much a pixel's place counts beside its embedding; the original has 1.
    initial_segments: what k-means starts from: 'grid', or 'oversegmentation', one cluster a region.
    align_segments: whether clusters are split along the borders of regions; see
      `network.segsort.alignment.align_segments`.
    min_piece_share: share of the image's mean cluster below which a piece joins a neighbour then.
  """

  def __init__(self, num_clusters, kmeans_iterations, location_weight=1.0, initial_segments='grid',
               align_segments=False, min_piece_share=RegionConfig.min_piece_share):
    if num_clusters < 1 or kmeans_iterations < 0:
      raise ValueError(f'--num_clusters {num_clusters}, --kmeans_iterations {kmeans_iterations}: '
                       'expected at least 1 and 0')
    self._config = RegionConfig(initial_segments, align_segments, min_piece_share)
    self._num_clusters = num_clusters
    self._iterations = kmeans_iterations
    self._location_weight = location_weight
    self._segment = tf.function(self._segments, input_signature=[
        tf.TensorSpec([None, None, None, None], tf.float32),
        tf.TensorSpec([None, None, None], tf.bool),
        tf.TensorSpec([None, None, None], tf.int32)])

  def _initial(self, regions):
    """Where k-means starts: clusters int32 [B, H, W], and a bound of their ids."""
    if self._config.initial_segments == 'oversegmentation':
      return regions, tf.maximum(tf.reduce_max(regions) + 1, 1)
    batch, height, width = tf.unstack(tf.shape(regions))
    grid = grid_labels(height, width, self._num_clusters, self._num_clusters)
    return tf.tile(grid[tf.newaxis], [batch, 1, 1]), self._num_clusters ** 2

  def _segments(self, embedding, valid, regions):
    batch, height, width = tf.unstack(tf.shape(regions))
    location = tf.tile(location_grid(height, width)[tf.newaxis], [batch, 1, 1, 1])
    initial, num_clusters = self._initial(regions)
    return find_segments(
        embedding, location, initial, valid, num_clusters, self._iterations,
        location_weight=self._location_weight,
        regions=regions if self._config.align_segments else None,
        min_piece_share=self._config.min_piece_share)

  def __call__(self, embedding, valid=None, regions=None):
    """Cuts images into segments.

    Args:
      embedding: float32 [B, H, W, D] of unit length.
      valid: bool [B, H, W] or None for all; other pixels are left out.
      regions: int32 [B, H, W], the oversegmentation, ids from 0 with few gaps, -1 for pixels
        without a region; needed where the segmenter makes use of it.

    Returns:
      int32 [B, H, W], ids of the segments of each image, -1 where not valid. They are from 0 and
      below num_clusters squared from a grid, below the number of regions from an oversegmentation;
      aligned segments have no gaps, and there may be more.

    Raises:
      ValueError: the regions are needed and missing.
    """
    shape = embedding.shape[:3]
    if regions is None:
      if self._config.needs_regions:
        raise ValueError('segments that begin with or are aligned to an oversegmentation need it')
      regions = tf.fill(shape, -1)
    if valid is None:
      valid = tf.ones(shape, tf.bool)
    return self._segment(embedding, valid, regions)

"""Segments of an image: initial grids, location features, and spherical k-means.

Source: SegSort (Hwang et al., ICCV 2019), section 3.1; specs/segsort.md, section 2.
"""

import tensorflow as tf

from network.segsort.compilation import inside_xla
from network.segsort.kmeans import CHUNK, chunked_kmeans, dense_kmeans
from network.segsort.prototypes import l2_normalize
from network.segsort.small_kmeans import small_kmeans


def grid_labels(height, width, num_y, num_x):
  """Initial labels of a regular grid of cells over an image.

  A cell is ceil(height / num_y) x ceil(width / num_x) pixels, so that fewer than num_y * num_x
  cells may result (11 pixels in 5 cells of 3 are 4 cells).

  Args:
    height, width: size of the image in pixels (ints or scalar int32 tensors).
    num_y, num_x: the greatest number of cells along each axis.

  Returns:
    int32 [height, width], the cell's number y + (rows of cells) * x, without gaps from 0.
  """
  y = tf.range(height) // -(-height // num_y)
  x = tf.range(width) // -(-width // num_x)
  return y[:, tf.newaxis] + (y[-1] + 1) * x[tf.newaxis, :]


def grid_labels_at(location, size, num_y, num_x):
  """The grid of `grid_labels` for pixels that are known by their place in the original image.

  Args:
    location: float [..., 2], (row / height, column / width) in the original image, in [0, 1).
    size: int [..., 2] or any shape that broadcasts against `location`, (height, width) of the
      original image in pixels.
    num_y, num_x: the greatest number of cells along each axis.

  Returns:
    int32 [...], y + num_y * x, smaller than num_y * num_x; numbers of cells that do not result are
    left out, where `grid_labels` closes the gaps.
  """
  cells = tf.constant([num_y, num_x])
  size = tf.cast(size, tf.int32)
  # A row that was divided by the height may come back a little below its whole number.
  place = tf.cast(location, tf.float32) * tf.cast(size, tf.float32)
  pixel = tf.cast(tf.floor(place + 1e-3), tf.int32)
  cell = tf.clip_by_value(pixel // -(-size // cells), 0, cells - 1)
  return cell[..., 0] + num_y * cell[..., 1]


def location_grid(height, width):
  """Relative places of all pixels: float32 [height, width, 2], (row / height, column / width)."""
  y = tf.range(height, dtype=tf.float32) / tf.cast(height, tf.float32)
  x = tf.range(width, dtype=tf.float32) / tf.cast(width, tf.float32)
  return tf.stack(tf.meshgrid(y, x, indexing='ij'), axis=-1)


def clustering_features(embedding, location, location_weight=1.0):
  """What pixels are clustered by: normalise([embedding, location_weight * location]).

  Args:
    embedding: [..., D] of unit length.
    location: [..., 2], (row / height, column / width) in the original image, in [0, 1).
    location_weight: how much the place counts; the original has 1.

  Returns:
    float32 [..., D + 2] of unit length.

  Deviates from the original: it measures the place in four ways, of the padded canvas, the window
  or the image; here it is the place in the original image everywhere.
  """
  location = location_weight * tf.cast(location, tf.float32)
  return l2_normalize(tf.concat([tf.cast(embedding, tf.float32), location], axis=-1))


def spherical_kmeans(features, initial_labels, num_clusters, iterations, valid=None):
  """Spherical k-means over the pixels of each image of a batch.

  An iteration makes every cluster's direction the normalised sum of its pixels and gives every
  pixel to the direction with the greatest cosine (the lower number of two equal ones). It ends
  early when no label changes, which changes nothing in the result.

  Args:
    features: [B, N, F] of unit length; computed in float32, without gradient.
    initial_labels: int32 [B, N]; those outside [0, num_clusters) join no cluster at the start.
    num_clusters: int, or scalar int32. A cluster that is empty or becomes empty stays empty.
    iterations: the greatest number of iterations.
    valid: bool [B, N] or None; other pixels take no part.

  Returns:
    int32 [B, N] labels in [0, num_clusters), -1 where not valid.

  Deviates from the original: an empty cluster is masked out, where the original makes it NaN and
  relies on an argmax that skips NaN.
  """
  features = tf.stop_gradient(tf.cast(features, tf.float32))
  labels = tf.cast(initial_labels, tf.int32)
  valid = tf.ones_like(labels, tf.bool) if valid is None else tf.convert_to_tensor(valid)
  if inside_xla():
    return dense_kmeans(features, labels, num_clusters, iterations, valid)
  images = features, labels, valid
  static = features.shape.is_fully_defined() and isinstance(num_clusters, int)
  if static and labels.shape[1] <= CHUNK and not tf.executing_eagerly():
    # One image a call: they run side by side, and each ends when nothing of it changes any more.
    return tf.stack([small_kmeans(*image[:2], num_clusters, iterations, image[2])
                     for image in zip(*map(tf.unstack, images), strict=True)])
  result = tf.map_fn(
      lambda image: chunked_kmeans(*image[:2], num_clusters, iterations, image[2])[0], images,
      fn_output_signature=tf.int32, parallel_iterations=1)
  return tf.ensure_shape(result, labels.shape)

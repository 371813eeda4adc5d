"""The segments of images: k-means over embedding and place, cut along regions if asked for."""

import tensorflow as tf

from network.segsort.alignment import align_segments, smallest_piece
from network.segsort.clustering import clustering_features, spherical_kmeans
from network.segsort.shapes import per_image


def find_segments(embedding, location, initial, valid, num_clusters, iterations, *,
                  location_weight=1.0, regions=None, min_piece_share=0.0):
  """Cuts images into segments.

  Args:
    embedding: float [B, H, W, D] of unit length; no gradient.
    location: float [B, H, W, 2], place in the original image, in [0, 1).
    initial: int32 [B, H, W], clusters that k-means starts from; pixels with others than
      [0, num_clusters) start in none.
    valid: bool [B, H, W]; other pixels take no part.
    num_clusters: int, or scalar int32 tensor of 1 or more.
    iterations: of k-means at most.
    location_weight: see `network.segsort.clustering.clustering_features`.
    regions: None, or int32 [B, H, W] along whose borders the clusters are split; see
      `network.segsort.alignment.align_segments`.
    min_piece_share: share of an image's mean cluster below which a piece joins a neighbour.

  Returns:
    int32 [B, H, W], -1 where not valid; without regions in [0, num_clusters), with them without
    gaps from 0 in each image.
  """
  shape = tf.shape(initial)
  features = clustering_features(embedding, location, location_weight)
  clusters = spherical_kmeans(
      per_image(features), per_image(initial), num_clusters, iterations, per_image(valid))
  clusters = tf.ensure_shape(tf.reshape(clusters, shape), initial.shape)
  if regions is None:
    return clusters
  smallest = smallest_piece(clusters, num_clusters, min_piece_share)
  return align_segments(embedding, clusters, regions, smallest)

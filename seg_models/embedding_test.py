import numpy as np
import pytest
import tensorflow as tf

from network.common.preprocessing import MEAN_RGB
from seg_models.embedding import DenseNetwork, Embedder, Segmenter, centre
from seg_models.windows import Windows


class Sampler:
  """A network of stride 4 whose output is the image at pixels 0, 4, 8, ..., channels repeated."""

  def __init__(self):
    self.traces = 0

  def __call__(self, images, training):
    assert not training
    self.traces += 1
    return tf.concat([images, images], -1)[:, ::4, ::4]


def ramp(height, width):
  """An image of channels (row, column, 1)."""
  rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing='ij')
  return np.stack([rows, columns, np.ones_like(rows)], -1)[None].astype(np.float32)


def unit(shape, seed=0):
  values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
  return values / np.linalg.norm(values, axis=-1, keepdims=True)


def naive_kmeans(features, labels, num_clusters, iterations):
  for _ in range(iterations):
    centres = []
    for cluster in range(num_clusters):
      total = features[labels == cluster].sum(0)
      length = np.linalg.norm(total)
      centres.append(total / length if length > 0 else np.full_like(total, -np.inf))
    similarity = np.stack([
        features @ centre if np.isfinite(centre).all() else np.full(len(features), -np.inf)
        for centre in centres], 1)
    labels = similarity.argmax(1)
  return labels


def test_the_mean_colour_becomes_zero():
  np.testing.assert_allclose(centre(MEAN_RGB[None]), 0, atol=1e-5)
  np.testing.assert_allclose(centre(np.full([1, 3], 255, np.uint8)), [255 - MEAN_RGB])


@pytest.mark.parametrize('size', [(8, 12), (9, 14), (3, 5), (1, 1)])
def test_the_output_is_linear_between_the_sampled_pixels_and_constant_behind(size):
  height, width = size
  output = DenseNetwork(Sampler(), 4)(ramp(height, width))[0].numpy()
  last = [(side - 1) // 4 * 4 for side in size]
  expected = np.minimum(ramp(height, width)[0], [*last, 1])
  np.testing.assert_allclose(output, np.concatenate([expected, expected], -1), atol=1e-5)


def test_one_trace_serves_all_sizes_and_batches():
  network = Sampler()
  dense = DenseNetwork(network, 4)
  for size in [(8, 8), (9, 5), (16, 31)]:
    assert dense(ramp(*size)).shape == (1, *size, 6)
  assert dense(np.concatenate([ramp(8, 8)] * 3)).shape == (3, 8, 8, 6)
  assert network.traces == 1


def test_one_window_of_the_images_size_equals_the_whole_image():
  image = np.random.default_rng(0).normal(size=[2, 8, 12, 3]).astype(np.float32)
  whole = DenseNetwork(Sampler(), 4)(image)
  np.testing.assert_array_equal(
      DenseNetwork(Sampler(), 4, Windows((8, 12), (8, 12)))(image), whole)
  # Windows whose corners lie on the stride sample the same pixels; only far ends are flat.
  shifted = DenseNetwork(Sampler(), 4, Windows((8, 8), (4, 4)))(image)
  np.testing.assert_allclose(shifted[:, :5, :5], whole[:, :5, :5], atol=1e-5)


@pytest.mark.parametrize('windows', [None, Windows((8, 8), (8, 8))])
def test_embeddings_have_unit_length_after_interpolation(windows):
  embedder = Embedder(DenseNetwork(Sampler(), 4, windows))
  image = np.random.default_rng(0).normal(size=[2, 11, 13, 3]).astype(np.float32)
  embedding = embedder(image, ['a', 'b'])
  assert embedding.shape == (2, 11, 13, 6) and embedding.dtype == tf.float32
  np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1, rtol=1e-5)


def test_a_network_that_gives_nan_is_reported_with_the_image():
  embedder = Embedder(DenseNetwork(Sampler(), 4))
  images = np.zeros([2, 8, 8, 3], np.float32)
  images[1, 4, 4] = np.nan
  with pytest.raises(FloatingPointError, match='NaN or infinity for b.jpg: the checkpoint'):
    embedder(images, ['a.jpg', 'b.jpg'])


@pytest.mark.parametrize('size', [(10, 12), (7, 5), (1, 2)])
def test_segments_are_those_of_naive_kmeans(size):
  embedding = unit([2, *size, 4])
  segments = Segmenter(3, 4)(embedding).numpy()
  height, width = size
  rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing='ij')
  cells = [-(-side // 3) for side in size]
  grid = rows // cells[0] + ((height - 1) // cells[0] + 1) * (columns // cells[1])
  location = np.stack([rows / height, columns / width], -1)
  for image in range(2):
    features = np.concatenate([embedding[image], location], -1).reshape(-1, 6)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    np.testing.assert_array_equal(
        segments[image].ravel(), naive_kmeans(features, grid.ravel(), 9, 4))


def test_left_out_pixels_have_no_segment_and_no_influence():
  embedding = unit([1, 8, 9, 4])
  valid = np.random.default_rng(1).random([1, 8, 9]) < 0.7
  segmenter = Segmenter(2, 5)
  segments = segmenter(embedding, valid).numpy()
  np.testing.assert_array_equal(segments >= 0, valid)
  changed = np.where(valid[..., None], embedding, unit([1, 8, 9, 4], seed=7))
  np.testing.assert_array_equal(segmenter(changed, valid), segments)
  assert (segmenter(embedding, np.zeros([1, 8, 9], bool)).numpy() == -1).all()


def test_without_iterations_segments_are_the_grid():
  segmenter = Segmenter(2, 0)
  np.testing.assert_array_equal(
      segmenter(unit([1, 2, 4, 3]))[0], [[0, 0, 2, 2], [1, 1, 3, 3]])


def test_the_place_counts_by_its_weight():
  """Equal embeddings are told apart by their place alone, or not at all."""
  embedding = np.broadcast_to(np.float32([1, 0, 0]), [1, 8, 8, 3])
  assert len(np.unique(Segmenter(2, 3, 1.0)(embedding))) == 4
  assert len(np.unique(Segmenter(2, 3, 0.0)(embedding))) == 1


def test_images_of_a_batch_do_not_meet():
  embedding = unit([3, 6, 7, 4])
  segmenter = Segmenter(2, 6)
  alone = np.concatenate([segmenter(embedding[i:i + 1]) for i in range(3)])
  np.testing.assert_array_equal(segmenter(embedding), alone)


def regions_of(height, width, seed=0):
  rng = np.random.default_rng(seed)
  blocks = rng.integers(0, 6, [2, 4, 4]).astype(np.int32)
  return blocks.repeat(3, 1).repeat(3, 2)[:, :height, :width]


@pytest.mark.parametrize('weight', [0.0, 1.0])
def test_segments_may_begin_with_the_regions(weight):
  embedding, regions = unit([2, 10, 12, 4]), regions_of(10, 12)
  regions[:, 4, 3:9] = -1  # of no region; k-means takes them up
  segments = Segmenter(3, 4, weight, 'oversegmentation')(embedding, regions=regions).numpy()
  rows, columns = np.meshgrid(np.arange(10), np.arange(12), indexing='ij')
  location = weight * np.stack([rows / 10, columns / 12], -1)
  for image in range(2):
    features = np.concatenate([embedding[image], location], -1).reshape(-1, 6)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    np.testing.assert_array_equal(
        segments[image].ravel(), naive_kmeans(features, regions[image].ravel(), 6, 4))


@pytest.mark.parametrize('initial', ['grid', 'oversegmentation'])
def test_aligned_segments_are_pieces_of_cluster_and_region(initial):
  embedding, regions = unit([2, 10, 12, 4]), regions_of(10, 12)
  valid = np.random.default_rng(1).random([2, 10, 12]) < 0.8
  clusters = Segmenter(3, 4, 1.0, initial)(embedding, valid, regions).numpy()
  aligned = Segmenter(3, 4, 1.0, initial, True, 0.0)(embedding, valid, regions).numpy()
  np.testing.assert_array_equal(aligned >= 0, valid)
  for image in range(2):
    inside = valid[image]
    pairs = np.unique(np.stack([clusters[image][inside], regions[image][inside]]), axis=1)
    triples = np.unique(np.stack([
        clusters[image][inside], regions[image][inside], aligned[image][inside]]), axis=1)
    assert pairs.shape[1] == triples.shape[1] == aligned[image].max() + 1
  joined = Segmenter(3, 4, 1.0, initial, True, 1.0)(embedding, valid, regions).numpy()
  assert joined.max() < aligned.max()


def test_pixels_of_an_image_without_regions_are_one_cluster():
  embedding, regions = unit([2, 4, 5, 4]), np.full([2, 4, 5], -1, np.int32)
  segments = Segmenter(3, 4, 1.0, 'oversegmentation', True)(embedding, regions=regions)
  assert (segments.numpy() == 0).all()


@pytest.mark.parametrize('options', [
    {'initial_segments': 'oversegmentation'}, {'align_segments': True}])
def test_regions_that_are_needed_are_asked_for(options):
  with pytest.raises(ValueError, match='aligned to an oversegmentation need it'):
    Segmenter(3, 4, **options)(unit([1, 4, 5, 4]))


def test_no_clusters_are_refused():
  with pytest.raises(ValueError, match='--num_clusters 0'):
    Segmenter(0, 10)

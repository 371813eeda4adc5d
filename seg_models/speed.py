"""What `pyscripts/benchmark/benchmark_speed.py` measures: this project against the plain way.

Each row has one piece of work done in three ways: by this project, in the plain way
(`network.segsort.plain`) and, where it says something, bare: only the matrix products and
exponentials that the work cannot do without in float32, by the same kernels at the same sizes. The
bare time bounds what any rearrangement could win.

Inputs are drawn from a seed and are like what a trained network gives: an image consists of regions
with borders, regions of a class lie around the direction of that class, each cell of the map is
disturbed by itself, and full-size embeddings are interpolated between the cells of stride 8.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from network.segsort import clustering, losses, pieces, plain
from network.segsort.kmeans import chunked_kmeans
from network.segsort.prototypes import l2_normalize
from network.segsort.retrieval import nearest_neighbours

DIM, CLASSES, CONCENTRATION, NEIGHBOURS = 32, 21, 10.0, 15
CLUSTERS, ITERATIONS = 5, 10


@dataclasses.dataclass(frozen=True)
class Work:
  """One row's work.

  Attributes:
    fast, plain: functions without arguments that do it; they return tensors or arrays.
    bare: None, or such a function that does only what cannot be left out.
    notes: function of what `utils.benchmarking.race` says of (fast, plain, bare) that returns more
      to be reported, name -> number.
    rounds: turns of each at least.
  """
  fast: Callable
  plain: Callable
  bare: Callable | None = None
  notes: Callable = lambda times: {}
  rounds: int = 5


def unit(x):
  return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def regions_map(rng, height, width, number):
  """A map of regions with straight borders: int32 [height, width] below `number`."""
  points = rng.uniform(size=[number, 2])
  y, x = np.mgrid[:height, :width].astype(np.float64)
  rows, columns = y[..., None] / height, x[..., None] / width
  distance = (rows - points[:, 0]) ** 2 + (columns - points[:, 1]) ** 2
  return distance.argmin(axis=-1).astype(np.int32)


def embedding_maps(rng, images, height, width, number=20):
  """Embeddings float32 [B, H, W, DIM], labels and regions int32 [B, H, W] of drawn images."""
  directions = class_directions()
  embeddings, labels, regions = [], [], []
  for _ in range(images):
    region = regions_map(rng, height, width, number)
    classes = rng.choice(rng.choice(CLASSES, 4, replace=False), number).astype(np.int32)
    centres = directions[classes] + 0.5 * unit(rng.standard_normal([number, DIM]))
    noise = 0.5 * rng.standard_normal([height, width, DIM]) / np.sqrt(DIM)
    embeddings.append((centres[region] + noise).astype(np.float32))
    labels.append(classes[region])
    regions.append(region)
  return np.stack(embeddings), np.stack(labels), np.stack(regions)


def class_directions():
  """The direction of each class, the same in all rows: float32 [CLASSES, DIM]."""
  return unit(np.random.default_rng(0).standard_normal([CLASSES, DIM]))


def drawn_bank(rng, size):
  """Prototypes float32 [size, DIM] around their classes' directions, and labels int32 [size]."""
  labels = rng.integers(0, CLASSES, size).astype(np.int32)
  noise = rng.standard_normal([size, DIM], np.float32) / np.float32(np.sqrt(DIM))
  features = class_directions()[labels]
  features += noise
  features /= np.linalg.norm(features, axis=1, keepdims=True)
  return features, labels


def full_size(rng, height, width):
  """One image's embedding between the cells of stride 8: float32 [1, height, width, DIM]."""
  cells = embedding_maps(rng, 1, -(-height // 8), -(-width // 8))[0]
  return tf.raw_ops.ResizeBilinear(images=cells, size=[height, width])


def grids(images, height, width):
  """What clustering starts from: labels int32 [B, H, W], location float32 [B, H, W, 2]."""
  grid = clustering.grid_labels(height, width, CLUSTERS, CLUSTERS).numpy()
  location = clustering.location_grid(height, width).numpy()
  return np.stack([grid] * images), np.stack([location] * images)


def value_and_gradient(loss, embedding):
  """A function that computes a loss of the embedding and its gradient."""
  embedding = tf.constant(embedding)

  @tf.function
  def run(embedding):
    with tf.GradientTape() as tape:
      tape.watch(embedding)
      value = loss(embedding)
    return value, tape.gradient(value, embedding)
  return lambda: run(embedding)


def bare_contrast(pixels, batch, remembered, compared):
  """What neither loss can do without, in parts that stay in the cache, without any masking.

  The similarities of all pixels to all prototypes, their softmax, the products for both
  gradients, and k-means' two products for `compared` pixels, those of all iterations that no bound
  excludes. The loss sums over every prototype of the batch and of the memory, so that each
  similarity and its exponential is needed once; each share then weighs a column for the pixel's
  gradient and, where the prototype is the batch's own, a pixel for the prototype's. Left out is
  what every way must do besides: normalising and its gradient, the prototypes' sums, which pixel
  is whose, and TensorFlow's own time for each of the many small kernels that this takes. So it is a
  bound for these kernels in float32 that cannot be reached.
  """
  rng = np.random.default_rng(0)
  rows = tf.constant(unit(rng.standard_normal([pixels, DIM])))
  columns = tf.constant(unit(rng.standard_normal([batch + remembered, DIM])))
  features = tf.constant(unit(rng.standard_normal([max(compared, 1), DIM + 2])))
  size = 1024

  @tf.function
  def run(rows, columns, features):
    def step(index, vectors, of_columns):
      part = rows[index * size:(index + 1) * size]
      shares = tf.nn.softmax(tf.matmul(part, columns, transpose_b=True))
      return (index + 1, vectors + tf.reduce_sum(tf.matmul(shares, columns)),
              of_columns + tf.matmul(shares[:, :batch], part, transpose_a=True))

    result = tf.while_loop(
        lambda index, *_: index < -(-pixels // size), step,
        [0, 0.0, tf.zeros([batch, DIM])], parallel_iterations=1)
    return result[1:], tf.matmul(
        tf.matmul(features, features[:CLUSTERS ** 2], transpose_b=True), features,
        transpose_a=True)
  return lambda: run(rows, columns, features)


def supervised_loss(scale):
  """Forward and backward: batch 8, 42x42x32, 5x5 clusters, 10 iterations, 2 banks."""
  rng, side = np.random.default_rng(1), max(int(42 * scale), 8)
  embedding, labels, _ = embedding_maps(rng, 8, side, side)
  labels[rng.uniform(size=labels.shape) < 0.05] = 255
  initial, location = grids(8, side, side)
  memory = drawn_bank(rng, 2 * 8 * CLUSTERS ** 2)

  def parts_of(embedding):
    return pieces.supervised_pieces(
        embedding, labels, initial, location, num_clusters=CLUSTERS ** 2, num_classes=CLASSES,
        iterations=ITERATIONS)

  def fast(embedding):
    parts = parts_of(embedding)
    result = losses.supervised_segsort_loss(
        parts.embedding, parts.own_index, parts.prototypes, parts.labels, parts.valid,
        CONCENTRATION, (*memory, np.ones(len(memory[1]), bool)))
    return losses.mean_over_valid(result.per_pixel, result.valid)

  @functools.cache  # not before the first call's memory has been measured
  def needed():
    prototypes = int(np.count_nonzero(parts_of(embedding).valid))
    pixels = int(np.count_nonzero(labels != 255))
    compared = sum(work_of_kmeans(*image)[1] for image in zip(
        embedding, initial, location, labels != 255, strict=True))
    notes = {'prototypes': prototypes, 'iterations_worth': compared / pixels}
    return bare_contrast(pixels, prototypes, len(memory[1]), compared), notes

  return Work(
      value_and_gradient(fast, embedding),
      value_and_gradient(lambda x: plain.supervised_loss(
          x, labels, initial, location, memory, num_clusters=CLUSTERS ** 2, iterations=ITERATIONS,
          concentration=CONCENTRATION), embedding),
      lambda: needed()[0](), lambda times: needed()[1])


def unsupervised_loss(scale):
  """Forward and backward: batch 8, 42x42x32, 48 regions an image."""
  side = max(int(42 * scale), 8)
  embedding, _, regions = embedding_maps(np.random.default_rng(2), 8, side, side, number=48)

  def fast(embedding):
    parts = pieces.unsupervised_pieces(embedding, regions)
    result = losses.unsupervised_segsort_loss(
        parts.embedding, parts.own_index, parts.prototypes, parts.valid, CONCENTRATION)
    return losses.mean_over_valid(result.per_pixel, result.valid)

  return Work(
      value_and_gradient(fast, embedding),
      value_and_gradient(
          lambda x: plain.unsupervised_loss(x, regions, concentration=CONCENTRATION), embedding),
      bare_contrast(regions.size, 8 * 48, 0, 0))


@tf.function(input_signature=[tf.TensorSpec([None, DIM + 2]), tf.TensorSpec([], tf.int32)])
def products(features, iterations):
  """The two matrix products of each iteration of k-means over [N, DIM + 2], and nothing else."""
  def step(iteration, centres):
    cosines = tf.matmul(features, centres, transpose_b=True)
    return iteration + 1, 1e-6 * tf.matmul(cosines, features, transpose_a=True)

  return tf.while_loop(lambda iteration, _: iteration < iterations, step,
                       [0, features[:CLUSTERS ** 2]])[1]


@tf.function(input_signature=[
    tf.TensorSpec([None, None, DIM]), tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None, None, 2]), tf.TensorSpec([None, None], tf.bool)])
def kmeans_of_image(unit_embedding, initial, location, valid):
  """`network.segsort.kmeans.chunked_kmeans` of one image's embedding [H, W, DIM]."""
  features = clustering.clustering_features(unit_embedding, location)
  return chunked_kmeans(
      tf.reshape(features, [-1, DIM + 2]), tf.reshape(initial, [-1]), CLUSTERS ** 2, ITERATIONS,
      tf.reshape(valid, [-1]))


def work_of_kmeans(embedding, *image):
  """Iterations until nothing changes, and pixels that all of them must compare, of one image."""
  return tuple(int(x) for x in kmeans_of_image(l2_normalize(embedding), *image)[1:])


def clusters_of_image(scale):
  """One 720x720x32 embedding into 25 segments.

  Bare are both products for the pixels that a bound by the triangle inequality does not exclude,
  and nothing else: no normalising of the embedding, no argmax, no bounds kept, no pixels picked
  out. The plain way does these products for all pixels in all iterations, and they are two thirds
  of its time: to skip half of the pixels and all else that it does is worth three times its speed,
  and no more. Sharper bounds, a lead over each cluster that eight neighbours share, exclude a fifth
  of what is left (3.9 instead of 4.9 iterations' worth), and keeping them took what that saved.
  """
  side = max(int(720 * scale), 40)
  embedding = tf.constant(l2_normalize(full_size(np.random.default_rng(3), side, side))[0])
  initial, location = (tf.constant(x[0]) for x in grids(1, side, side))
  valid = tf.ones([side, side], tf.bool)

  @tf.function
  def slow(embedding, location, initial):
    return plain.cluster(
        tf.reshape(embedding, [-1, DIM]), tf.reshape(initial, [-1]), tf.reshape(location, [-1, 2]),
        CLUSTERS ** 2, ITERATIONS)

  @functools.cache  # not before the first call's memory has been measured
  def needed():
    done, compared = work_of_kmeans(embedding, initial, location, valid)
    features = tf.reshape(clustering.clustering_features(embedding, location), [-1, DIM + 2])
    return done, compared, needed_products(features, done, compared)

  def notes(times):
    done, compared, _ = needed()
    # Those of whole iterations; the bare way leaves out what bounds exclude.
    skipped = compared / (done * side ** 2)
    fast, bare = times['fast'], times['bare']
    return {
        'iterations_done': done, 'iterations_saved': ITERATIONS - done,
        'iterations_worth': compared / side ** 2,
        'times_of_its_products': skipped * fast.seconds / bare.seconds,
        'cpu_times_of_its_products': skipped * fast.cpu_seconds / bare.cpu_seconds}

  return Work(
      lambda: kmeans_of_image(embedding, initial, location, valid),
      lambda: slow(embedding, location, initial), lambda: needed()[2](), notes)


def needed_products(features, done, compared):
  """A function that does the products of k-means for so many pixels, in `done` equal parts."""
  part, done = features[:-(-compared // done)], tf.constant(done)
  return lambda: products(part, done)


def neighbours(size):
  """A row: 25 prototypes in a bank of `size`, k = 15."""
  def row(scale):
    rng = np.random.default_rng(4)
    features, _ = drawn_bank(rng, max(int(size * scale), 100))
    queries, features = tf.constant(drawn_bank(rng, 25)[0]), tf.constant(features)
    fast = tf.function(lambda q, b: nearest_neighbours(q, b, NEIGHBOURS))
    slow = tf.function(lambda q, b: plain.nearest_neighbours(q, b, NEIGHBOURS))
    return Work(lambda: fast(queries, features), lambda: slow(queries, features),
                notes=lambda times: {'bank_mb': features.shape[0] * DIM * 4 / 2 ** 20})

  row.__doc__ = f'25 prototypes in a bank of {size:,}, k = {NEIGHBOURS}.'
  return row

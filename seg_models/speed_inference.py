"""The rows of `pyscripts/benchmark/benchmark_speed.py` that label images; see `seg_models.speed`.

The network is left out: its embeddings are there already, at each pixel and not normalised.
"""

import functools

import numpy as np
import tensorflow as tf

from network.segsort import plain
from network.segsort.votes import sum_votes
from seg_models import bank as banks
from seg_models.embedding import Embedder, Segmenter
from seg_models.multi_scale import SCALES
from seg_models.prediction import MultiScalePredictor, SegSortPredictor
from seg_models.speed import (
  CLASSES,
  CLUSTERS,
  DIM,
  ITERATIONS,
  NEIGHBOURS,
  Work,
  drawn_bank,
  full_size,
  grids,
  needed_products,
  work_of_kmeans,
)
from utils.benchmarking import race


def predictor_of(maps, bank, labels):
  """The project's predictor, with a network that has its embeddings ready for each size."""
  return SegSortPredictor(
      Embedder(lambda images: maps[tuple(images.shape[1:3])]), Segmenter(CLUSTERS, ITERATIONS),
      banks.Bank(bank, labels), CLASSES, NEIGHBOURS)


def plain_inputs(embedding, bank, labels):
  """What `plain.neighbour_labels` takes for an embedding [1, H, W, DIM]."""
  initial, location = grids(1, *embedding.shape[1:3])
  return [tf.constant(x) for x in (embedding[0], initial[0], location[0], bank, labels)]


PLAIN_OPTIONS = {'num_clusters': CLUSTERS ** 2, 'iterations': ITERATIONS, 'k': NEIGHBOURS}


def bare_of(images, bank):
  """k-means' products for the pixels that it must compare, and those with the bank, of images.

  Args:
    images: embeddings float32 [1, H, W, DIM].
    bank: float32 [P, DIM].
  """
  bank = tf.constant(bank)

  @tf.function
  def search(bank):
    return tf.reduce_max(tf.matmul(bank[:CLUSTERS ** 2], bank, transpose_b=True))

  def products_of(embedding):
    height, width = embedding.shape[1:3]
    initial, location = grids(1, height, width)
    features = tf.random.stateless_normal([height * width, DIM + 2], (0, 1))
    return needed_products(features, *work_of_kmeans(
        embedding[0], initial[0], location[0], np.ones([height, width], bool)))

  @functools.cache  # not before the first call's memory has been measured
  def clusters():
    return [products_of(embedding) for embedding in images]

  return lambda: [(run(), search(bank)) for run in clusters()]


def inference_head(scale):
  """Normalise, cluster and vote: 720x720, bank of 260,000.

  Bare are the products of clustering, see `seg_models.speed.clusters_of_image`, and one with the
  bank, each of whose prototypes must be read once. Both ways are mostly clustering, and what bounds
  its ratio bounds this one.
  """
  rng, side = np.random.default_rng(5), max(int(720 * scale), 40)
  bank, labels = drawn_bank(rng, max(int(260_000 * scale), 100))
  embedding = full_size(rng, side, side)
  predictor = predictor_of({(side, side): embedding}, bank, labels)
  image = np.zeros([1, side, side, 3], np.uint8)
  slow = tf.function(lambda *x: plain.predict(*x, num_classes=CLASSES, **PLAIN_OPTIONS))
  inputs = plain_inputs(embedding, bank, labels)
  return Work(lambda: predictor(image, ['drawn'])[0], lambda: slow(*inputs),
              bare_of([embedding], bank))


def _nearest_places(size, target):
  """The pixel of a copy [h, w] that each of an image's begins at: int32 [H * W]."""
  rows, columns = (np.arange(length) * of_copy // length
                   for of_copy, length in zip(size, target, strict=True))
  return (rows[:, np.newaxis] * size[1] + columns).ravel().astype(np.int32)


def msc_votes(scale):
  """One 375x500 image at 6 scales, each also mirrored, bank of 260,000: clusters and votes.

  Of the votes by themselves, from the segments and their votes to the labels, the bare work is one
  look-up a pixel and copy, that of its segment: no way of adding them up can know less of them.
  """
  rng, size = np.random.default_rng(6), (max(int(375 * scale), 40), max(int(500 * scale), 50))
  bank, labels = drawn_bank(rng, max(int(260_000 * scale), 100))
  sizes = [tuple(int(length * factor) for length in size) for factor in SCALES]
  maps = {size: full_size(rng, *size) for size in sizes}
  single = predictor_of(maps, bank, labels)
  predictor = MultiScalePredictor(single, SCALES, mirror=True)
  image = np.zeros([1, *size, 3], np.uint8)
  at_pixels = tf.function(
      lambda *x: plain.pixel_labels(*x, **PLAIN_OPTIONS), reduce_retracing=True)
  inputs = [plain_inputs(maps[size], bank, labels) for size in sizes]

  def plain_copies():
    return [(at_pixels(*of_size).numpy(), mirrored)
            for of_size in inputs for mirrored in (False, True)]

  def slow():
    return plain.average_votes(plain_copies(), size, CLASSES).argmax(axis=-1)

  def votes_alone(times):
    """All ways of counting and averaging the votes, once the neighbours are found."""
    del times
    found = [single.retrieve(tf.zeros([1, *of_size, 3]), ['drawn'])
             for of_size in sizes for _ in range(2)]
    votes = [single.segment_votes(copy) for copy in found]
    copies = plain_copies()
    of_segments = [
        (tf.reverse(copy.segments, [2]) if number % 2 else copy.segments, of_copy)
        for number, (copy, of_copy) in enumerate(zip(found, votes, strict=True))]
    places = [tf.constant(_nearest_places(copy.segments.shape[1:], size)) for copy in found]

    @tf.function
    def ours(of_segments):
      total = sum_votes(of_segments, *size)
      return tf.gather(tf.argmax(total.rows, -1, tf.int32), total.places)

    @tf.function
    def bare(of_segments):  # the segment of each copy at each of the image's pixels
      return tf.add_n([
          tf.gather_nd(tf.reshape(segments, [-1]), at[:, tf.newaxis])
          for (segments, _), at in zip(of_segments, places, strict=True)])

    alone = race({
        'fast': lambda: ours(of_segments), 'bare': lambda: bare(of_segments),
        'plain': lambda: plain.average_votes(copies, size, CLASSES).argmax(axis=-1)}, 5.0)
    plainly = alone['plain']
    return {'votes_seconds': alone['fast'].seconds, 'plain_votes_seconds': plainly.seconds,
            'votes_ratio': plainly.seconds / alone['fast'].seconds,
            'votes_cpu_ratio': plainly.cpu_seconds / alone['fast'].cpu_seconds,
            'votes_cpu_limit': plainly.cpu_seconds / alone['bare'].cpu_seconds}

  copies_of = [maps[size] for size in sizes for _ in range(2)]
  return Work(lambda: predictor(image, ['drawn']), slow, bare_of(copies_of, bank), votes_alone)

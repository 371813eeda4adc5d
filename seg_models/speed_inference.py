"""The rows of `pyscripts/benchmark/benchmark_speed.py` that label images; see `seg_models.speed`.

The network is left out: its embeddings are there already, at each pixel and not normalised.
"""

import numpy as np
import tensorflow as tf

from network.segsort import plain
from network.segsort.votes import add_votes
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

  cluster = [products_of(embedding) for embedding in images]
  return lambda: [(run(), search(bank)) for run in cluster]


def inference_head(scale):
  """Normalise, cluster and vote: 720x720, bank of 260,000."""
  rng, side = np.random.default_rng(5), max(int(720 * scale), 40)
  bank, labels = drawn_bank(rng, max(int(260_000 * scale), 100))
  embedding = full_size(rng, side, side)
  predictor = predictor_of({(side, side): embedding}, bank, labels)
  image = np.zeros([1, side, side, 3], np.uint8)
  slow = tf.function(lambda *x: plain.predict(*x, num_classes=CLASSES, **PLAIN_OPTIONS))
  inputs = plain_inputs(embedding, bank, labels)
  return Work(lambda: predictor(image, ['drawn'])[0], lambda: slow(*inputs),
              bare_of([embedding], bank))


def msc_votes(scale):
  """One 375x500 image at 6 scales, each also mirrored, bank of 260,000: clusters and votes."""
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
    add = tf.function(add_votes, reduce_retracing=True)
    copies = plain_copies()

    def ours():
      total = tf.zeros([1, *size, CLASSES])
      for number, (copy, of_copy) in enumerate(zip(found, votes, strict=True)):
        segments = tf.reverse(copy.segments, [2]) if number % 2 else copy.segments
        total = add(total, segments, of_copy)
      return tf.argmax(total, axis=-1)

    ids = tf.constant(rng.integers(0, CLUSTERS ** 2, [len(votes), size[0] * size[1]]))

    @tf.function
    def bare(ids):  # each copy's votes at the image's pixels, looked up and added
      return tf.argmax(tf.add_n(
          [tf.gather(of_copy[0], at) for of_copy, at in zip(votes, tf.unstack(ids), strict=True)]),
          axis=-1)

    alone = race({
        'fast': ours, 'bare': lambda: bare(ids),
        'plain': lambda: plain.average_votes(copies, size, CLASSES).argmax(axis=-1)}, 5.0)
    plainly = alone['plain']
    return {'votes_seconds': alone['fast'].seconds, 'plain_votes_seconds': plainly.seconds,
            'votes_ratio': plainly.seconds / alone['fast'].seconds,
            'votes_cpu_ratio': plainly.cpu_seconds / alone['fast'].cpu_seconds,
            'votes_cpu_limit': plainly.cpu_seconds / alone['bare'].cpu_seconds}

  copies_of = [maps[size] for size in sizes for _ in range(2)]
  return Work(lambda: predictor(image, ['drawn']), slow, bare_of(copies_of, bank), votes_alone)

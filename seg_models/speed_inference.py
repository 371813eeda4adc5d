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
  limit,
  products,
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


def bare_of(pixels, bank):
  """k-means' products with all iterations, and those with the bank, for images of these sizes."""
  features = [tf.random.stateless_normal([count, DIM + 2], (0, 1)) for count in pixels]
  bank = tf.constant(bank)

  @tf.function
  def search(bank):
    return tf.reduce_max(tf.matmul(bank[:CLUSTERS ** 2], bank, transpose_b=True))

  def run():
    return [(products(rows, tf.constant(ITERATIONS)), search(bank)) for rows in features]
  return run


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
              bare_of([side * side], bank), limit)


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

  def votes_alone(seconds):
    """Both ways of counting and averaging the votes, once the neighbours are found."""
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

    alone = race({'ours': ours,
                  'plain': lambda: plain.average_votes(copies, size, CLASSES).argmax(axis=-1)}, 3.0)
    return {**limit(seconds), 'votes_seconds': alone['ours'],
            'plain_votes_seconds': alone['plain'], 'votes_ratio': alone['plain'] / alone['ours']}

  pixels = [height * width for height, width in sizes for _ in range(2)]
  return Work(lambda: predictor(image, ['drawn']), slow, bare_of(pixels, bank), votes_alone)

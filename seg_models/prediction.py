"""Labels of images: segments named by their nearest prototypes, or a classifier's logits."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from network.segsort.inverted_file import search_cells
from network.segsort.kmeans import segment_sums
from network.segsort.prototypes import l2_normalize
from network.segsort.retrieval import nearest_neighbours, vote, vote_counts
from network.segsort.votes import sum_votes
from seg_models.boxes import boxes_of
from seg_models.embedding import centre, check_finite
from seg_models.multi_scale import mirrored, multi_scale, scaled_copies
from seg_models.windows import slide

SEARCHES = ('exact', 'ivf')
VOTES = ('count', 'nearest', 'similarity')


class Retrieval(NamedTuple):
  """The segments of a batch of images and what they were found to be like.

  Attributes:
    segments: int32 [B, H, W], ids in [0, S), where S is that of the image with most segments.
    similarity: float32 [B, S, k], cosines, descending; without meaning for segments that no pixel
      belongs to.
    index: int32 [B, S, k], places in the bank.
  """

  segments: tf.Tensor
  similarity: tf.Tensor
  index: tf.Tensor


def check_bank(bank, dim, num_classes, k):
  """Checks before the first image that a bank fits the network and the vote.

  Raises:
    ValueError: it has another dimension than the network's embedding, labels beyond the classes, or
      fewer than k prototypes.
  """
  if bank.dim != dim:
    raise ValueError(
        f'the bank has prototypes of {bank.dim} dimensions, the network embeddings of {dim}: they '
        'come from different networks; extract the prototypes with this --restore_from')
  if bank.labels.max() >= num_classes:
    raise ValueError(
        f'the bank has the label {bank.labels.max()}, but there are {num_classes} classes: give '
        'the --dataset or --num_classes that the prototypes were extracted with')
  if not 1 <= k <= len(bank):
    raise ValueError(f'--k_in_nearest_neighbors {k}: the bank has {len(bank)} prototypes, choose '
                     f'from 1 to {len(bank)}')


class SegSortPredictor:
  """Names segments by the vote of their nearest prototypes.

  Args:
    embedder: `seg_models.embedding.Embedder`.
    segmenter: `seg_models.embedding.Segmenter`.
    bank: `seg_models.bank.Bank` of the same network; see `check_bank`.
    num_classes: C.
    k: neighbours that vote.
    mode: one of `VOTES`; see `network.segsort.retrieval.vote`.
    index: `seg_models.bank_index.BankIndex` of the bank, whose nearest cells are searched; None for
      exact search.
  """

  def __init__(self, embedder, segmenter, bank, num_classes, k, mode='count', index=None):
    if mode not in VOTES:
      raise ValueError(f'--vote {mode}: expected one of {", ".join(VOTES)}')
    self._embedder = embedder
    self._segmenter = segmenter
    # A constant would be a copy. This reads the bank's own memory, the mapped file for one; on a
    # GPU it is put there once.
    self._features = tf.raw_ops.Identity(input=bank.features)
    self._index = index
    self._labels = tf.constant(bank.labels)
    self.num_classes = num_classes
    self._k = k
    self.mode = mode
    self._search = tf.function(self._search_bank, input_signature=[
        tf.TensorSpec([None, None, None, bank.dim], tf.float32),
        tf.TensorSpec([None, None, None], tf.int32)])
    found = [Retrieval(
        tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, k], tf.float32),
        tf.TensorSpec([None, None, k], tf.int32))]
    self._elect = tf.function(self._elect_labels, input_signature=found)
    self._count = tf.function(self._count_votes, input_signature=found)

  def _search_bank(self, embedding, segments):
    batch, size = tf.shape(segments)[0], tf.reduce_max(segments) + 1
    ids = segments + size * tf.range(batch)[:, tf.newaxis, tf.newaxis]
    sums = segment_sums(
        tf.reshape(embedding, [-1, embedding.shape[-1]]), tf.reshape(ids, [-1]), batch * size)
    prototypes = l2_normalize(sums)
    if self._index is None:
      similarity, index = nearest_neighbours(prototypes, self._features, self._k)
    else:
      similarity, index = search_cells(
          prototypes, self._features, self._index.centres, self._index.offsets, self._k,
          self._index.probes)
    shape = [batch, size, self._k]
    return tf.reshape(similarity, shape), tf.reshape(index, shape)

  def _neighbours(self, retrieval):
    """Labels int32 [B * S, k] and similarity float32 [B * S, k]."""
    labels = tf.gather(self._labels, retrieval.index)
    return tf.reshape(labels, [-1, self._k]), tf.reshape(retrieval.similarity, [-1, self._k])

  def _elect_labels(self, retrieval):
    winners = vote(*self._neighbours(retrieval), self.num_classes, self.mode)
    return tf.reshape(winners, tf.shape(retrieval.index)[:2])

  def _count_votes(self, retrieval):
    labels, similarity = self._neighbours(retrieval)
    counts = vote_counts(
        labels, self.num_classes, similarity if self.mode == 'similarity' else None)
    return tf.reshape(counts, [-1, tf.shape(retrieval.index)[1], self.num_classes])

  def retrieve(self, images, names, regions=None):
    """Segments and their neighbours.

    Args:
      images: float32 [B, H, W, 3], RGB minus mean.
      names: B names of the images, for messages.
      regions: int32 [B, H, W], the oversegmentations, where the segmenter makes use of them.

    Returns:
      `Retrieval`.
    """
    embedding = self._embedder(images, names)
    segments = self._segmenter(embedding, regions=regions)
    return Retrieval(segments, *self._search(embedding, segments))

  def segment_labels(self, retrieval):
    """The class of each segment: `Retrieval` -> int32 [B, S]."""
    return self._elect(retrieval)

  def segment_votes(self, retrieval):
    """The votes of each segment: `Retrieval` -> float32 [B, S, C]."""
    return self._count(retrieval)

  def votes(self, images, names, regions=None):
    """Votes at every pixel, float32 [B, H, W, C], of what `retrieve` takes."""
    retrieval = self.retrieve(images, names, regions)
    return tf.gather(self.segment_votes(retrieval), retrieval.segments, batch_dims=1)

  def __call__(self, images, names, regions=None):
    """Labels of images of one size.

    Args:
      images: uint8 [B, H, W, 3], RGB.
      names, regions: see `retrieve`.

    Returns:
      labels: int32 [B, H, W].
      retrieval: `Retrieval`, as `neighbours_of` takes it.
    """
    retrieval = self.retrieve(centre(images), names, regions)
    labels = tf.gather(self.segment_labels(retrieval), retrieval.segments, batch_dims=1)
    return labels.numpy(), retrieval


class MultiScalePredictor:
  """Labels by votes that are averaged over scales, mirror images and, if asked for, windows.

  Segments are cut from each whole scaled image, or from each window, and named there; the votes
  of all of them meet at the image's pixels.

  Deviates from the original: a pixel's votes are divided by the number of windows that cover it
  (the original let windows of large scales and overlaps weigh more), and windows are not the
  default.

  Args:
    predictor: `SegSortPredictor` whose vote is not 'nearest'.
    scales: see `seg_models.multi_scale.multi_scale`.
    mirror: likewise.
    windows: None, or the `seg_models.windows.Windows` to cluster and vote in one by one.
  """

  def __init__(self, predictor, scales, mirror, windows=None):
    if predictor.mode == 'nearest':
      raise ValueError('--vote nearest breaks ties within a segment, votes of several scales or '
                       'windows have none: choose count or similarity')
    self._predictor = predictor
    self._scales = scales
    self._mirror = mirror
    self._windows = windows
    self._sum_votes = tf.function(sum_votes, input_signature=[
        [(tf.TensorSpec([None, None, None], tf.int32),
          tf.TensorSpec([None, None, predictor.num_classes], tf.float32))] * self._num_copies,
        tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)])

  @property
  def _num_copies(self):
    return len(self._scales) * (2 if self._mirror else 1)

  def _of_copies(self, images, names, regions):
    """The sums of all copies' votes, `network.segsort.votes.PixelVotes`."""
    found = []
    for copies in scaled_copies(images, self._scales, regions):
      one = self._predictor.retrieve(copies[0], names, *copies[1:])
      found.append((one.segments, self._predictor.segment_votes(one)))
      if self._mirror:
        image, *rest = mirrored(copies)
        one = self._predictor.retrieve(image, names, *rest)
        found.append((tf.reverse(one.segments, [2]), self._predictor.segment_votes(one)))
    return self._sum_votes(found, *images.shape[1:3])

  def votes(self, images, names, regions=None):
    """Averaged votes, float32 [B, H, W, C], of what `SegSortPredictor.retrieve` takes."""
    if self._windows is not None:
      def vote_in(crops, regions=None):
        return self._predictor.votes(crops, names, regions)

      return multi_scale(
          lambda *copies: slide(vote_in, copies[0], self._windows, *copies[1:]), images,
          self._scales, self._mirror, regions)
    votes = self._of_copies(images, names, regions)
    return tf.gather(votes.rows / self._num_copies, votes.places)

  def __call__(self, images, names, regions=None):
    """Labels, int32 [B, H, W], of what `SegSortPredictor` is called with."""
    images = centre(images)
    if self._windows is not None:
      return tf.argmax(self.votes(images, names, regions), -1, tf.int32).numpy()
    votes = self._of_copies(images, names, regions)
    return tf.gather(tf.argmax(votes.rows, -1, tf.int32), votes.places).numpy()


class SoftmaxPredictor:
  """Labels by a classifier's logits, averaged over windows, scales and mirror images.

  Args:
    dense: `seg_models.embedding.DenseNetwork`, with or without windows.
    scales: see `seg_models.multi_scale.multi_scale`.
    mirror: likewise.
  """

  def __init__(self, dense, scales=(1.0,), mirror=False):
    self._dense = dense
    self._scales = scales
    self._mirror = mirror

  def logits(self, images, names):
    """Averaged logits: float32 [B, H, W, 3], RGB minus mean -> float32 [B, H, W, C]."""
    logits = multi_scale(self._dense, images, self._scales, self._mirror)
    check_finite(logits, names)
    return logits

  def __call__(self, images, names):
    """Labels of images of one size: uint8 [B, H, W, 3], RGB -> int32 [B, H, W]."""
    return tf.argmax(self.logits(centre(images), names), -1, tf.int32).numpy()


def neighbours_of(retrieval, segment_labels, bank):
  """What was retrieved for one image, as JSON values.

  Args:
    retrieval: `Retrieval` of one image: segments [H, W], similarity and index [S, k].
    segment_labels: int [S], the classes that the segments were given.
    bank: the `Bank`.

  Returns:
    List with a dict for each segment that has pixels: `segment` (its id), `class`, `pixels`, `box`
    (top, left, bottom, right, the last two exclusive), and `neighbours`, nearest first: dicts of
    `prototype` (place in the bank), `class`, `similarity`, and where the bank knows them `image`
    and `box`.
  """
  segments, similarity, index = (np.asarray(value) for value in retrieval)
  pixels = np.bincount(segments.ravel(), minlength=len(index))
  boxes = boxes_of(segments, len(index))

  def neighbour(place, cosine):
    record = {'prototype': int(place), 'class': int(bank.labels[place]),
              'similarity': round(float(cosine), 6)}
    if bank.image is not None:
      record['image'] = str(bank.images[bank.image[place]])
    if bank.box is not None:
      record['box'] = bank.box[place].tolist()
    return record

  return [
      {'segment': int(segment), 'class': int(segment_labels[segment]),
       'pixels': int(pixels[segment]), 'box': boxes[segment].tolist(),
       'neighbours': [neighbour(*pair) for pair in zip(
           index[segment], similarity[segment], strict=True)]}
      for segment in np.flatnonzero(pixels)]

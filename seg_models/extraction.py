"""Prototypes of labelled images, image by image, joined to a bank."""

import hashlib
import os
import pathlib
import shutil

import numpy as np
import tensorflow as tf

from network.segsort.prototypes import extract_prototypes
from seg_models import bank as banks
from seg_models.bank_joining import write_joined
from seg_models.boxes import boxes_of
from seg_models.embedding import centre
from utils import resuming

MODES = ('majority', 'piece')


class Extractor:
  """Labelled prototypes of images.

  Deviates from the original: the place of a pixel is that in the image (the original's was off for
  images narrower than the window), the whole image is embedded at once unless windows are asked
  for, and an image without a labelled pixel has no prototypes instead of crashing.

  Args:
    embedder: `seg_models.embedding.Embedder`.
    segmenter: `seg_models.embedding.Segmenter`.
    ignore_label: label of pixels that are left out before the clustering.
    mode: 'majority': one prototype a segment, of the pixels with its most frequent label.
      'piece': one for each label within each segment.
  """

  def __init__(self, embedder, segmenter, ignore_label=255, mode='majority'):
    if mode not in MODES:
      raise ValueError(f'--prototype_mode {mode}: expected one of {", ".join(MODES)}')
    self._embedder = embedder
    self._segmenter = segmenter
    self._ignore_label = ignore_label
    self._mode = mode

  def __call__(self, images, labels, names, regions=None):
    """Extracts from images of one size.

    Args:
      images: uint8 [B, H, W, 3], RGB.
      labels: int32 [B, H, W], classes and the ignore label.
      names: B names of the images, kept in the banks.
      regions: int32 [B, H, W], the oversegmentations, where the segmenter makes use of them.

    Returns:
      B `Bank`s, in each of which prototypes stand in the order in which their segments first appear
      in the image, row by row.
    """
    embedding = self._embedder(centre(images), names)
    segments = self._segmenter(embedding, np.asarray(labels) != self._ignore_label, regions)
    return [self._bank(*values) for values in zip(
        embedding, segments, labels, names, strict=True)]

  def _bank(self, embedding, segments, labels, name):
    found = extract_prototypes(
        tf.reshape(embedding, [-1, embedding.shape[-1]]), tf.reshape(segments, [-1]),
        tf.reshape(labels, [-1]), ignore_label=self._ignore_label, mode=self._mode)
    count = len(found.labels)
    boxes = boxes_of(found.pixels.numpy().reshape(segments.shape), count)
    return banks.Bank(
        found.prototypes.numpy(), found.labels.numpy(), np.array([str(name)]),
        np.zeros(count, np.int32), found.clusters.numpy(), found.counts.numpy().astype(np.int64),
        boxes)


class BankFolder:
  """A bank in the making: one part for each image, joined in the list's order at the end.

  A run that was killed goes on with the next image, and with other settings is refused; a finished
  bank of other settings, images or masks is replaced.

  Args:
    save_dir: folder whose `prototypes/` will hold the bank.
    entries: the `Entry`s of the list, all of which the bank is made of; without an oversegmentation
      where none is made use of.
    data_dir: folder that the images' names in the bank are relative to.
    settings: dict of JSON values, everything else that the bank depends on.
    overwrite: whether the bank or parts that are there are removed first.
    share: (i, n) where n processes fill the folder together and this one does every n-th image from
      the i-th on. Whoever finds all parts there joins them; where two do, they write the same.

  Raises:
    ValueError: the folder holds parts of other settings, or a bank of which nothing is known; see
      `utils.resuming.claim`.
  """

  def __init__(self, save_dir, entries, data_dir, settings, overwrite=False, share=(0, 1)):
    self.folder = pathlib.Path(save_dir) / 'prototypes'
    self.entries = entries
    self._data_dir = data_dir
    self._parts = self.folder / 'parts'
    names = '\n'.join(f'{self.name_of(entry)} {entry.id}' for entry in entries)
    settings = {
        **settings, 'images': len(entries),
        'list': hashlib.sha256(names.encode()).hexdigest()[:16]}
    self.mine = entries[share[0]::share[1]]
    sources = {
        entry.id: resuming.stamp(*filter(None, (entry.image, entry.mask, entry.oversegmentation)))
        for entry in self.mine}
    self._record = self.folder / 'extraction.json'
    with resuming.held(self._record):
      bank_files = [self.folder / name for name in banks.FILES]
      outputs = {path: None for path in bank_files if path.exists()}
      outputs.update({path: path.stem for path in self._parts.glob('*.npz')})
      resuming.claim(self._record, settings, sources, outputs, overwrite)
    if self.is_complete:
      self._tidy_up()  # a run may have been killed between writing the bank and this

  def name_of(self, entry):
    """The image's path relative to the data folder, as it is kept in the bank."""
    return os.path.relpath(entry.image, self._data_dir or '.')

  @property
  def is_complete(self):
    """Whether the bank is there."""
    return (self.folder / banks.FEATURES).exists()

  def missing(self):
    """The entries of this process's share that have no part yet."""
    return self._without_part(self.mine)

  def left(self):
    """The entries of the whole list that have no part yet."""
    left = self._without_part(self.entries)
    # In this order: parts go after the bank is there.
    return [] if self.is_complete else left

  def _without_part(self, entries):
    return [entry for entry in entries if not self._part(entry).exists()]

  def write(self, entry, bank):
    """Keeps the prototypes of one image."""
    banks.save_part(bank, self._part(entry))

  def finish(self, storage='float32'):
    """Joins the parts to the bank and removes them.

    Args:
      storage: one of `network.segsort.compression.STORAGES`.

    Returns:
      The bank, and the names of the images that have no prototype.

    Raises:
      ValueError: no image has a prototype.
    """
    paths = [self._part(entry) for entry in self.entries]
    try:
      sizes = [banks.part_size(path) for path in paths]
      if any(sizes):
        write_joined(paths, sum(sizes), self.folder, storage)
    except FileNotFoundError:
      if not self.is_complete:
        raise
      bank = banks.load_bank(self.folder)  # another process joined them just now
      known = set(bank.images[np.unique(bank.image)])
      return bank, [name for name in map(self.name_of, self.entries) if name not in known]
    without = [self.name_of(entry) for entry, size in zip(self.entries, sizes, strict=True)
               if not size]
    if not any(sizes):
      raise ValueError(f'none of the {len(paths)} images has a labelled pixel: are these the masks '
                       'of this data set, and is --ignore_label right?')
    bank = banks.load_bank(self.folder)  # before the parts go
    self._tidy_up()
    return bank, without

  def _tidy_up(self):
    shutil.rmtree(self._parts, ignore_errors=True)  # of which another process may do the same
    resuming.complete(self._record)

  def _part(self, entry):
    return self._parts / f'{entry.id}.npz'

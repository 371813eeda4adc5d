"""What inference without labels writes of each image: segments, their prototypes, and pictures."""

import os
import pathlib
import zipfile

import numpy as np
import tensorflow as tf

from network.segsort.prototypes import extract_prototypes
from network.segsort.visualization import ColorBasis, pca_rgb
from seg_models import bank as banks
from seg_models.boxes import boxes_of
from seg_models.prediction_folder import sources_of
from utils import colors, files, images, resuming

UNLABELLED = -1


def segments_of(embedding, segments, name):
  """The segments of one image by their prototypes.

  Args:
    embedding: float [H, W, D] of unit length.
    segments: int32 [H, W], ids from 0, perhaps with gaps.
    name: name of the image, kept in the bank.

  Returns:
    ids: int32 [H, W], the segments numbered without gaps in the order in which they first appear,
      row by row.
    bank: `Bank` of their prototypes in this order, labelled `UNLABELLED`.
  """
  found = extract_prototypes(
      tf.reshape(embedding, [-1, embedding.shape[-1]]), tf.reshape(segments, [-1]),
      tf.zeros([tf.size(segments)], tf.int32))
  ids = found.pixels.numpy().reshape(segments.shape)
  count = len(found.labels)
  return ids, banks.Bank(
      found.prototypes.numpy(), np.full(count, UNLABELLED, np.int32), np.full(count, str(name)),
      np.arange(count, dtype=np.int32), found.counts.numpy().astype(np.int64),
      boxes_of(ids, count))


class SegmentFolder:
  """Four files of every image, complete or absent, of which a killed run makes the missing ones.

  `segments/<id>.png` holds the segments' ids (16 bits where there are more than 256),
  `parts/<id>.npz` their prototypes in the order of the ids, `pca/<id>.png` the embedding by its
  principal components, and `outlines/<id>.png` the segments' borders over the image.
  `color_basis.npz` is what all embeddings in the folder are painted by, so that their colours can
  be compared.

  Args:
    save_dir: the folder that these are in.
    entries: the `seg_models.image_reader.Entry`s of the images; without an oversegmentation where
      none is made use of.
    data_dir: folder that the images' names in the parts are relative to.
    settings: dict of JSON values, everything that segments and prototypes depend on.
    overwrite: whether all that is there is removed first, pseudo-classes too.
    share: (i, n) where n processes fill the folder together and this one does every n-th image from
      the i-th on.

  Raises:
    ValueError: the folder holds the unfinished results of other settings, or files of which nothing
      is known; see `utils.resuming.claim`.
  """

  def __init__(self, save_dir, entries, data_dir, settings, overwrite=False, share=(0, 1)):
    self._folder = pathlib.Path(save_dir)
    self.entries = entries
    self.mine = entries[share[0]::share[1]]
    self._data_dir = data_dir
    self._basis = self._folder / 'color_basis.npz'
    self._record = self._folder / 'segments.json'
    sources = sources_of(self.mine)
    with resuming.held(self._record):
      outputs = {path: path.stem for pattern in (
          'segments/*.png', 'pca/*.png', 'outlines/*.png', 'parts/*.npz')
          for path in self._folder.glob(pattern)}
      if self._basis.exists():
        outputs[self._basis] = ''  # of no one image: any basis serves as long as all have the same
      # Pseudo-classes are made of all segments: where these are made anew, the old ones go with
      # them.
      outputs.update({path: None for pattern in ('gray/*.png', 'color/*.png', 'clusters.*')
                      for path in self._folder.glob(pattern)})
      resuming.claim(self._record, settings, sources, outputs, overwrite)

  def _paths(self, entry):
    return [self._folder / 'segments' / f'{entry.id}.png', self._folder / 'pca' / f'{entry.id}.png',
            self._folder / 'outlines' / f'{entry.id}.png', self._part(entry)]

  def _part(self, entry):
    return self._folder / 'parts' / f'{entry.id}.npz'

  def missing(self):
    """The entries of this process's share of which not all files are there."""
    return self._unfinished(self.mine)

  def left(self):
    """The entries of the whole list of which not all files are there."""
    return self._unfinished(self.entries)

  def _unfinished(self, entries):
    return [entry for entry in entries if not all(path.exists() for path in self._paths(entry))]

  def basis(self, make):
    """The `ColorBasis` of the folder's pictures; `make()`, called once, gives it to a new one."""
    if not self._basis.exists():
      basis = make()
      with resuming.held(self._record):
        if not self._basis.exists():  # another process may have been faster
          with files.replacing(self._basis) as file:
            np.savez(file, mean=np.asarray(basis.mean), axes=np.asarray(basis.axes))
    try:
      with open(self._basis, 'rb') as file, np.load(file, allow_pickle=False) as stored:
        return ColorBasis(stored['mean'], stored['axes'])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
      raise ValueError(f'{self._basis} is damaged ({error}): give --overwrite to make all pictures '
                       'anew') from error

  def write(self, entry, image, embedding, segments, basis):
    """Writes the files of one image.

    Args:
      entry: `seg_models.image_reader.Entry`.
      image: uint8 [H, W, 3], RGB.
      embedding: float [H, W, D] of unit length.
      segments: int32 [H, W], ids from 0, perhaps with gaps.
      basis: `ColorBasis`.
    """
    name = os.path.relpath(entry.image, self._data_dir or '.')
    ids, bank = segments_of(embedding, segments, name)
    segments_path, pca, outlines, part = self._paths(entry)
    images.write_png(segments_path, ids.astype(np.uint8 if len(bank) <= 256 else np.uint16))
    images.write_png(pca, pca_rgb(embedding, basis).numpy())
    images.write_png(outlines, colors.outlined(image, ids))
    banks.save_part(bank, part)

  def finish(self):
    """Notes that all images are done: another run may then replace them."""
    resuming.complete(self._record)

  def segments(self, entry):
    """The ids of an image's segments: int32 [H, W]."""
    return images.read_mask(self._paths(entry)[0])

  def bank(self):
    """The prototypes of all images, in the list's order, and how many each image has."""
    parts = [banks.load_part(self._part(entry)) for entry in self.entries]
    return banks.join_banks(parts), [len(part) for part in parts]

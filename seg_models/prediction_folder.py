"""The files that inference writes, of which an interrupted run leaves none half done."""

import pathlib

import numpy as np

from utils import colors, files, images, resuming


def sources_of(entries):
  """Id -> `utils.resuming.stamp` of the files that an image's prediction is made from."""
  return {entry.id: resuming.stamp(*filter(None, (entry.image, entry.oversegmentation)))
          for entry in entries}


class PredictionFolder:
  """`gray/<id>.png`, `color/<id>.png` and, if asked for, `neighbours/<id>.json` for every image.

  Deviates from the original: with more than 256 classes the gray files have 16 bits.

  Args:
    save_dir: the folder that these are in.
    entries: the `seg_models.image_reader.Entry`s of the images; without an oversegmentation where
      none is made use of.
    dataset: `seg_models.datasets.Dataset`.
    settings: dict of JSON values, everything that a prediction depends on.
    palette: uint8 [colours, 3], or None for the data set's.
    with_neighbours: whether the third file belongs to an image.
    overwrite: whether all predictions that are there are removed first.
    share: (i, n) where n processes fill the folder together and this one does every n-th image from
      the i-th on.

  Raises:
    ValueError: the folder holds unfinished predictions of other settings, or predictions of which
      nothing is known; see `utils.resuming.claim`.
  """

  def __init__(self, save_dir, entries, dataset, settings, palette=None, with_neighbours=False,
               overwrite=False, share=(0, 1)):
    self._folder = pathlib.Path(save_dir)
    self._entries = entries
    self._record = self._folder / 'inference.json'
    self._dtype = np.uint8 if dataset.num_classes <= 256 else np.uint16
    self._classes = dataset.classes
    self._palette = dataset.palette if palette is None else palette
    self._with_neighbours = with_neighbours
    self.mine = entries[share[0]::share[1]]
    sources = sources_of(self.mine)
    with resuming.held(self._record):
      outputs = [*self._folder.glob('gray/*.png'), *self._folder.glob('color/*.png'),
                 *self._folder.glob('neighbours/*.json')]
      resuming.claim(
          self._record, settings, sources, {path: path.stem for path in outputs}, overwrite)

  def _paths(self, entry):
    paths = [self._folder / 'gray' / f'{entry.id}.png', self._folder / 'color' / f'{entry.id}.png']
    return paths + [self._folder / 'neighbours' / f'{entry.id}.json'] * self._with_neighbours

  def missing(self):
    """The entries of this process's share of which not all files are there."""
    return self._unfinished(self.mine)

  def left(self):
    """The entries of the whole list of which not all files are there."""
    return self._unfinished(self._entries)

  def _unfinished(self, entries):
    return [entry for entry in entries if not all(path.exists() for path in self._paths(entry))]

  def write(self, entry, labels, neighbours=None):
    """Writes the files of one image.

    Args:
      entry: `seg_models.image_reader.Entry`.
      labels: int [H, W], classes.
      neighbours: with neighbours, `seg_models.prediction.neighbours_of`.
    """
    gray, color, *more = self._paths(entry)
    if more:
      files.write_json(more[0], {
          'image': entry.image, 'size': list(labels.shape), 'classes': list(self._classes),
          'segments': neighbours})
    images.write_png(color, colors.colorize(labels % 256, self._palette))
    images.write_png(gray, labels.astype(self._dtype))

  def finish(self):
    """Notes that all predictions are there: another run may then replace them."""
    resuming.complete(self._record)

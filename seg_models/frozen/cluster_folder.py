"""The files of a prediction by clusters, of which an interrupted run leaves none half done."""

import pathlib

import numpy as np

from seg_models.prediction_folder import sources_of
from utils import images, resuming

IGNORED = (1 << 16) - 1
# Folders with a file for each image: ids of the main probe, of the other one, and true labels.
KINDS = 'gray', 'linear', 'labels'


class ClusterFolder:
  """`gray/<id>.png` and what else belongs to each image of a list.

  Args:
    save_dir: the folder.
    entries: list of `seg_models.image_reader.Entry`.
    settings: dict of JSON values, everything that a prediction depends on.
    kinds: those of `KINDS` that are made.
    painted: names of folders, and of files in `save_dir`, that depend on all predictions.
    overwrite: whether all that is there is removed first.
    share: (i, n) where n processes fill the folder together and this one does every n-th image from
      the i-th on.

  Raises:
    ValueError: the folder holds unfinished predictions of other settings, or files of which nothing
      is known; see `utils.resuming.claim`.
  """

  def __init__(self, save_dir, entries, settings, kinds, painted, overwrite=False,
               share=(0, 1)):
    self.path = pathlib.Path(save_dir)
    self.entries = entries
    self.mine = entries[share[0]::share[1]]
    self.kinds = kinds
    self._record = self.path / 'inference.json'
    sources = sources_of(self.mine)
    with resuming.held(self._record):
      outputs = {}
      for kind in painted:
        there = [self.path / kind] if '.' in kind else sorted((self.path / kind).rglob('*.png'))
        outputs.update({path: None for path in there if path.exists()})
      for kind in KINDS:
        folder = self.path / kind
        outputs.update({path: path.relative_to(folder).with_suffix('').as_posix()
                        for path in sorted(folder.rglob('*.png'))})
      resuming.claim(self._record, settings, sources, outputs, overwrite)

  def file(self, kind, entry):
    """Path of an image's file of one kind."""
    return self.path / kind / f'{entry.id}.png'

  def missing(self):
    """The entries of this process's share that are still to be predicted."""
    return self._unfinished(self.mine)

  def left(self):
    """The entries of the whole list that are still to be predicted."""
    return self._unfinished(self.entries)

  def _unfinished(self, entries):
    return [entry for entry in entries
            if not all(self.file(kind, entry).exists() for kind in self.kinds)]

  def write(self, entry, maps):
    """Writes kind -> int [H, W], ids from 0, or -1 for what does not count."""
    for kind in self.kinds:
      ids = np.where(maps[kind] < 0, IGNORED, maps[kind])
      small = ids.max() <= np.iinfo(np.uint8).max
      images.write_png(self.file(kind, entry), ids.astype(np.uint8 if small else np.uint16))

  def read(self, kind, entry):
    """What `write` has written, `IGNORED` for what does not count: int32 [H, W]."""
    return images.read_mask(self.file(kind, entry))

  def finish(self):
    """Notes that everything is there: another run may then replace it."""
    resuming.complete(self._record)

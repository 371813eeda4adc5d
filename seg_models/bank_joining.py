"""One bank from many, of which only the one whose turn it is has to be in memory."""

import numpy as np

from network.segsort.compression import compress
from seg_models import bank as banks


def join_banks(parts, count):
  """One bank from several, in their order; what not all of them know is left out.

  Args:
    parts: iterable of `Bank`, float32.
    count: prototypes in all.
  """
  labels, info = np.empty(count, np.int32), {}
  features, begin = None, 0
  for block in _fill(parts, labels, info):
    if features is None:
      features = np.empty([count, block.shape[1]], np.float32)
    features[begin:begin + len(block)] = block
    begin += len(block)
  return banks.Bank(features, labels, **info)


def write_joined(paths, count, folder, storage):
  """Writes the files of the bank that is joined from parts, without ever holding its features.

  Args:
    paths: files that `seg_models.bank.save_part` has written, float32.
    count: prototypes in all.
    folder, storage: see `seg_models.bank.write_bank`.
  """
  labels, info = np.empty(count, np.int32), {}
  shape = count, banks.load_part(paths[0]).dim
  parts = (banks.load_part(path) for path in paths)
  blocks = (compress(block, storage) for block in _fill(parts, labels, info))
  banks.write_bank(folder, shape, storage, blocks, labels, info)


def _fill(parts, labels, info):
  """Yields the features of each bank, and meanwhile fills in all else that every one knows.

  Args:
    parts: iterable of `Bank`.
    labels: int32 [P], to be filled.
    info: empty dict, which becomes a `Bank.info` when the last features were taken.
  """
  images, end = [], 0
  for number, part in enumerate(parts):
    known = part.info
    if not number:
      info.update({name: np.empty([len(labels), *values.shape[1:]], values.dtype)
                   for name, values in known.items() if name != 'images'})
    begin, end = end, end + len(part)
    labels[begin:end] = part.labels
    for name in list(info):
      if name in known:
        info[name][begin:end] = known[name]
      else:
        del info[name]
    if 'image' in info:
      info['image'][begin:end] += len(images)
      images.extend(known['images'].tolist())
    yield part.features
  if 'image' in info:
    info['images'] = np.array(images, str)

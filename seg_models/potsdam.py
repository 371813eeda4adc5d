"""The tiles of ISPRS Potsdam that unsupervised methods are compared on, as images and masks."""

import pathlib
import zlib

import numpy as np
import scipy.io
import tqdm
from scipy.io.matlab import MatReadError

from utils import colors, files, images
from utils.background import map_ahead

# Split -> the list that the archive has of it, ids in lines.
LISTS = {'train': 'labelled_train.txt', 'val': 'labelled_test.txt'}
CLASSES = 6
IGNORED = 255


def prepare(source_dir, output_dir):
  """Turns .mat tiles into PNGs, and writes train.txt and val.txt with lines `image mask`.

  Masks keep the six classes' ids, which the data set `potsdam3` maps to three. What is there
  already is kept; lists are written last.

  Args:
    source_dir: the unpacked archive: its lists (`LISTS`) and, in any subfolder, `<id>.mat` files
      with `img` [H, W, 3 or more] and `gt` [H, W], in one file or in two.
    output_dir: gets images/, masks/ and the lists.

  Returns:
    dict: split -> number of tiles.

  Raises:
    FileNotFoundError: lists or tiles are missing; all are named.
    ValueError: a file is damaged or holds something else; names it.
  """
  source, output = pathlib.Path(source_dir), pathlib.Path(output_dir)
  missing = [str(source / name) for name in LISTS.values() if not (source / name).is_file()]
  if missing:
    raise FileNotFoundError(f'{", ".join(missing)}: missing; name the folder of the unpacked '
                            'archive by --source_dir')
  paths = {}
  for path in sorted(source.rglob('*.mat')):
    paths.setdefault(path.stem, []).append(path)
  splits = {split: [line.strip().removesuffix('.mat') for line in
                    (source / name).read_text().split('\n') if line.strip()]
            for split, name in LISTS.items()}
  missing = sorted({f'{name}.mat' for names in splits.values() for name in names} - {
      f'{name}.mat' for name in paths})
  if missing:
    raise FileNotFoundError('\n  '.join(
        [f'{len(missing)} tiles are missing below {source}:', *missing[:100]]))
  todo = [name for names in splits.values() for name in names
          if not (output / f'masks/{name}.png').exists()]

  def convert(name):
    image, mask = read_tile(paths[name])
    images.write_png(output / f'images/{name}.png', image)
    images.write_png(output / f'masks/{name}.png', mask, colors.voc_palette())

  for _ in tqdm.tqdm(map_ahead(convert, todo), total=len(todo), desc='tiles', unit='tile'):
    pass
  for split, names in splits.items():
    with files.replacing(output / f'{split}.txt', 'w') as file:
      file.writelines(f'images/{name}.png masks/{name}.png\n' for name in names)
  return {split: len(names) for split, names in splits.items()}


def read_tile(paths):
  """The image and mask of one tile.

  Args:
    paths: its .mat files.

  Returns:
    image: uint8 [H, W, 3], the first three channels.
    mask: uint8 [H, W], 0 to 5, and `IGNORED` where -1 or 255 is stored.

  Raises:
    ValueError: see `prepare`.
  """
  values = {}
  for path in paths:
    try:
      values.update(scipy.io.loadmat(path))
    except (ValueError, TypeError, OSError, NotImplementedError, zlib.error,
            MatReadError) as error:
      raise ValueError(f'{path}: no .mat file, or damaged ({error!r}): unpack it again') from error
  where = ', '.join(map(str, paths))
  lacking = [key for key in ('img', 'gt') if key not in values]
  if lacking:
    raise ValueError(f'{where}: no {" and no ".join(lacking)} in it')
  image, mask = values['img'], values['gt']
  if image.ndim != 3 or image.shape[2] < 3 or mask.shape != image.shape[:2]:
    raise ValueError(f'{where}: img {image.shape} and gt {mask.shape}, expected [H, W, 3 or more] '
                     'and [H, W]')
  mask = np.where(mask == -1, IGNORED, mask.astype(np.int64))
  wrong = np.unique(mask[(mask != IGNORED) & ((mask < 0) | (mask >= CLASSES))])
  if wrong.size:
    raise ValueError(f'{where}: gt holds {wrong[:10].tolist()}, expected 0 to 5, -1 and 255')
  if image.min() < 0 or image.max() > 255:
    raise ValueError(f'{where}: img has values from {image.min()} to {image.max()}, expected 0 to '
                     '255')
  return image[..., :3].astype(np.uint8), mask.astype(np.uint8)

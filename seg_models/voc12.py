"""PASCAL VOC 2012 and SBD, as they are distributed, in the layout and lists that training reads."""

import os
import pathlib
import zlib

import numpy as np
import scipy.io
import tqdm
from PIL import Image
from scipy.io.matlab import MatReadError

from utils import colors, files, images
from utils.background import map_ahead

_SBD_MASKS = 'sbd/dataset/clsimg'


def prepare(voc_dir, sbd_dir, output_dir, expected):
  """Makes one data folder with lists out of the two unpacked data sets.

  In `output_dir`, in the original's layout so that its own lists fit too: JPEGImages and segcls
  (links to VOC's images and palette masks, which are used as they are), sbd/dataset/clsimg (SBD's
  masks, decoded to PNG), and lists/{train,train+,val,trainval}.txt with lines `image mask`. train+
  is VOC's train and every image of SBD that is in none of VOC's train and val. Masks that are
  decoded already are kept; lists are written when all files are there and counted.

  Args:
    voc_dir: VOCdevkit/VOC2012.
    sbd_dir: benchmark_RELEASE/dataset, or None: then train+ is left out.
    output_dir: the folder to be made.
    expected: split -> number of images, or {} for any number.

  Returns:
    dict: split -> number of images.

  Raises:
    FileNotFoundError: folders, lists, images or masks are missing; all of a kind are named.
    ValueError: other numbers of images than expected, a faulty .mat file, a mask of another size
      than its image, or `output_dir` holds other data of these names.
  """
  voc, output = pathlib.Path(voc_dir), pathlib.Path(output_dir)
  _require(voc, '--voc_dir', 'VOCdevkit/VOC2012', (
      'JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation/train.txt',
      'ImageSets/Segmentation/val.txt'))
  train, val = ((voc / f'ImageSets/Segmentation/{split}.txt').read_text().split()
                for split in ('train', 'val'))
  masks = {name: f'segcls/{name}.png' for name in (*train, *val)}
  splits = {'train': train, 'val': val, 'trainval': sorted({*train, *val})}
  sources = {}
  if sbd_dir is not None:
    sbd = pathlib.Path(sbd_dir)
    _require(sbd, '--sbd_dir', 'benchmark_RELEASE/dataset', ('cls',))
    sources = {path.stem: path for path in sorted(sbd.glob('cls/*.mat')) if path.stem not in masks}
    masks.update({name: f'{_SBD_MASKS}/{name}.png' for name in sources})
    splits['train+'] = sorted({*train, *sources})
  counts = {split: len(names) for split, names in splits.items()}
  wrong = [f'{split} has {count} images, not {expected[split]}' for split, count in counts.items()
           if split in expected and count != expected[split]]
  if wrong:
    raise ValueError(f'{"; ".join(wrong)}: are {voc} and {sbd_dir} unpacked completely? '
                     '(--any_number takes them as they are)')
  needed = [voc / f'JPEGImages/{name}.jpg' for name in masks]
  needed += [voc / f'SegmentationClass/{name}.png' for name in {*train, *val}]
  missing = sorted(str(path) for path in needed if not path.is_file())
  if missing:
    raise FileNotFoundError('\n  '.join([f'{len(missing)} files are missing:', *missing[:100]]))

  output.mkdir(parents=True, exist_ok=True)
  _link(output / 'JPEGImages', voc / 'JPEGImages')
  _link(output / 'segcls', voc / 'SegmentationClass')
  todo = [name for name in sources if not (output / masks[name]).exists()]
  if todo:
    def decode(name):
      _decode(sources[name], voc / f'JPEGImages/{name}.jpg', output / masks[name])
    for _ in tqdm.tqdm(map_ahead(decode, todo), total=len(todo), desc='masks of SBD', unit='mask'):
      pass
  for split, names in splits.items():
    with files.replacing(output / f'lists/{split}.txt', 'w') as file:
      file.writelines(f'JPEGImages/{name}.jpg {masks[name]}\n' for name in names)
  return counts


def read_sbd_mask(path):
  """The classes in one of SBD's cls/*.mat files.

  Returns:
    uint8 [height, width], 0 to 20.

  Raises:
    ValueError: the file is no such file; names it.
  """
  try:
    mask = scipy.io.loadmat(path)['GTcls']['Segmentation'][0, 0]
  except (ValueError, TypeError, KeyError, IndexError, OSError, NotImplementedError, zlib.error,
          MatReadError) as error:
    raise ValueError(f'{path}: no .mat file with GTcls.Segmentation ({error!r}); unpack '
                     'benchmark.tgz again') from error
  if mask.ndim != 2 or mask.min() < 0 or mask.max() > 20:
    raise ValueError(f'{path}: expected classes 0 to 20, found {np.unique(mask)[:10].tolist()}')
  return mask.astype(np.uint8)


def _decode(source, image_path, mask_path):
  mask = read_sbd_mask(source)
  with Image.open(image_path) as image:
    if image.size != mask.shape[::-1]:
      raise ValueError(f'{source} is {mask.shape[1]}x{mask.shape[0]}, but {image_path} is '
                       f'{image.size[0]}x{image.size[1]}: not of the same data set?')
  images.write_png(mask_path, mask, colors.voc_palette())


def _require(folder, flag, usual, parts):
  missing = [part for part in parts if not (folder / part).exists()]
  if missing:
    raise FileNotFoundError(f'{flag} {folder} lacks {", ".join(missing)}: expected the folder '
                            f'{usual} of the unpacked archive')


def _link(path, target):
  """Makes `path` a link to `target`, unless it is that folder already."""
  if path.exists() and os.path.samefile(path, target):
    return
  if os.path.lexists(path):
    raise ValueError(f'{path} is there and is not {target}: remove it or name another --output_dir')
  try:
    path.symlink_to(target.resolve(), target_is_directory=True)
  except OSError as error:
    raise OSError(error.errno, f'{error.strerror}: cannot link it to {target}; copy the folder '
                  'there and call again with --voc_dir naming the copy', str(path)) from error

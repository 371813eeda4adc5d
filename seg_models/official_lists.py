"""Lists of COCO-Stuff 164k and Cityscapes as they are unpacked, for what reads `image mask` lines.

Source: specs/stego.md, section 4.5.
"""

import pathlib

from utils import files

# The curated parts that the publications on 27 classes train and score on.
CURATED = {'train': 'Coco164kFull_Stuff_Coarse.txt', 'val': 'Coco164kFull_Stuff_Coarse_7.txt'}
SPLITS = 'train', 'val'


def coco_stuff(root, output_dir, curated=None):
  """Writes train.txt and val.txt of COCO-Stuff 164k.

  Args:
    root: folder with images/{train,val}2017/<id>.jpg and annotations/{train,val}2017/<id>.png, the
      pixel maps.
    output_dir: where the lists go; their paths are relative to `root`.
    curated: None for all images, or the folder with the publications' lists of ids (`CURATED`), in
      it or below.

  Returns:
    dict: split -> number of images.

  Raises:
    FileNotFoundError: folders, lists, images or masks are missing.
    ValueError: a list is there more than once and differs.
  """
  root = pathlib.Path(root)
  lines = {}
  for split in SPLITS:
    folder = f'{split}2017'
    images, masks = f'images/{folder}', f'annotations/{folder}'
    _require(root, images, masks)
    if curated is None:
      names = sorted(path.stem for path in (root / masks).glob('*.png'))
    else:
      names = _curated(curated, CURATED[split])
    lines[split] = [(f'{images}/{name}.jpg', f'{masks}/{name}.png') for name in names]
  return _write(root, output_dir, lines)


def cityscapes(root, output_dir):
  """Writes train.txt and val.txt of Cityscapes, of its fine label ids.

  Args:
    root: folder with leftImg8bit/ and gtFine/.
    output_dir: where the lists go; their paths are relative to `root`.

  Returns, raises: as `coco_stuff`.
  """
  root = pathlib.Path(root)
  lines = {}
  for split in SPLITS:
    _require(root, f'leftImg8bit/{split}', f'gtFine/{split}')
    lines[split] = []
    for path in sorted((root / 'leftImg8bit' / split).rglob('*_leftImg8bit.png')):
      image = path.relative_to(root).as_posix()
      mask = image.replace('leftImg8bit/', 'gtFine/', 1).replace(
          '_leftImg8bit.png', '_gtFine_labelIds.png')
      lines[split].append((image, mask))
  return _write(root, output_dir, lines)


def _require(root, *folders):
  missing = [name for name in folders if not (root / name).is_dir()]
  if missing:
    raise FileNotFoundError(f'--data_dir {root} lacks {", ".join(missing)}: expected the folder '
                            'where the archives were unpacked')


def _curated(folder, name):
  """The ids in a list, wherever below `folder` it is."""
  found = sorted(pathlib.Path(folder).rglob(name))
  if not found:
    raise FileNotFoundError(f'--curated {folder}: there is no {name} in it or below; it comes with '
                            "PiCIE's and STEGO's data")
  texts = {path.read_text(encoding='utf-8') for path in found}
  if len(texts) > 1:
    raise ValueError(f'--curated {folder}: {len(found)} different files {name}: name a folder with '
                     'one of them')
  return texts.pop().split()


def _write(root, output_dir, lines):
  pairs = [path for split in SPLITS for pair in lines[split] for path in pair]
  missing = [path for path in pairs if not (root / path).is_file()]
  if missing or not all(lines.values()):
    raise FileNotFoundError('\n  '.join(
        [f'--data_dir {root}: {len(missing)} files are missing, '
         f'{", ".join(f"{len(lines[split])} of {split} expected" for split in SPLITS)}:',
         *missing[:100]]))
  for split in SPLITS:
    with files.replacing(pathlib.Path(output_dir) / f'{split}.txt', 'w') as file:
      file.writelines(f'{image} {mask}\n' for image, mask in lines[split])
  return {split: len(lines[split]) for split in SPLITS}

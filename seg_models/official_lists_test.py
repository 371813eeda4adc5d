import shutil

import numpy as np
import pytest

from seg_models import official_lists
from seg_models.datasets import dataset_for
from seg_models.image_reader import load_example, read_list
from utils.shared_data import shared


@pytest.fixture
def coco(tmp_path):
  samples = shared('data', 'samples', 'coco_stuff')
  for split in ('train', 'val'):
    for kind, folder in (('img', 'images'), ('label', 'annotations')):
      shutil.copytree(samples / f'{split}_{kind}', tmp_path / folder / f'{split}2017')
  return tmp_path


def test_all_of_coco_stuff(coco):
  counts = official_lists.coco_stuff(coco, coco)
  assert counts == {split: len(list((coco / f'images/{split}2017').iterdir()))
                    for split in ('train', 'val')}
  dataset = dataset_for('coco_stuff27')
  for entry in read_list(coco / 'val.txt', str(coco))[:2]:
    label = load_example(entry, dataset).label
    assert set(np.unique(label)) <= {*range(27), 255}


def test_the_curated_part_of_coco_stuff(coco, tmp_path):
  names = {split: sorted(path.stem for path in (coco / f'images/{split}2017').iterdir())[1:3]
           for split in ('train', 'val')}
  for split, name in official_lists.CURATED.items():
    path = tmp_path / 'curated' / f'{split}2017' / name
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(names[split]))
  assert official_lists.coco_stuff(coco, tmp_path / 'lists', tmp_path / 'curated') == {
      'train': 2, 'val': 2}
  found = [entry.id for entry in read_list(tmp_path / 'lists/val.txt', str(coco))]
  assert found == names['val']
  (tmp_path / 'curated/again').mkdir()
  (tmp_path / 'curated/again' / official_lists.CURATED['val']).write_text('others')
  with pytest.raises(ValueError, match='2 different files'):
    official_lists.coco_stuff(coco, tmp_path, tmp_path / 'curated')
  with pytest.raises(FileNotFoundError, match='there is no Coco164kFull_Stuff_Coarse.txt'):
    official_lists.coco_stuff(coco, tmp_path, coco / 'images')


def test_cityscapes(tmp_path):
  for path in shared('data', 'samples', 'cityscapes').iterdir():
    kind = 'gtFine' if 'gtFine' in path.name else 'leftImg8bit'
    for split in ('train', 'val'):
      folder = tmp_path / kind / split / 'aachen'
      folder.mkdir(parents=True, exist_ok=True)
      shutil.copy(path, folder)
  assert official_lists.cityscapes(tmp_path, tmp_path) == {'train': 2, 'val': 2}
  entry = read_list(tmp_path / 'train.txt', str(tmp_path))[0]
  example = load_example(entry, dataset_for('cityscapes27'))
  assert example.label.shape == example.image.shape[:2]
  next((tmp_path / 'gtFine/val/aachen').iterdir()).unlink()
  with pytest.raises(FileNotFoundError, match='1 files are missing.*\n.*gtFine/val/aachen'):
    official_lists.cityscapes(tmp_path, tmp_path)


def test_folders_that_are_not_there_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='images/train2017, annotations/train2017'):
    official_lists.coco_stuff(tmp_path, tmp_path)
  with pytest.raises(FileNotFoundError, match='leftImg8bit/train'):
    official_lists.cityscapes(tmp_path, tmp_path)

import numpy as np
import pytest
import scipy.io
from PIL import Image

from seg_models import voc12
from seg_models.datasets import dataset_for
from seg_models.image_reader import load_example, read_list
from utils import colors, images

EXPECTED = {'train': 2, 'val': 1, 'trainval': 3, 'train+': 4}


def save_mat(path, mask):
  path.parent.mkdir(parents=True, exist_ok=True)
  scipy.io.savemat(path, {'GTcls': {
      'Boundaries': np.zeros((20, 1), object), 'Segmentation': mask, 'CategoriesPresent': [1]}})


def sbd_mask(name):
  return np.random.default_rng(ord(name)).integers(0, 21, (4, 6), np.uint8)


@pytest.fixture
def trees(tmp_path):
  """VOC with train a, b and val c; SBD with a, c, d, e, of which d and e are new."""
  voc = tmp_path / 'VOCdevkit/VOC2012'
  for name in 'abcdef':
    (voc / 'JPEGImages').mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (6, 4)).save(voc / f'JPEGImages/{name}.jpg')
  for name in 'abc':
    mask = np.array([[0, 3, 255, 20, 1, 1]] * 4, np.uint8)
    images.write_png(voc / f'SegmentationClass/{name}.png', mask, colors.voc_palette())
  (voc / 'ImageSets/Segmentation').mkdir(parents=True)
  for split, names in (('train', 'a\nb\n'), ('val', 'c\n')):
    (voc / f'ImageSets/Segmentation/{split}.txt').write_text(names)
  sbd = tmp_path / 'benchmark_RELEASE/dataset'
  for name in 'acde':
    save_mat(sbd / f'cls/{name}.mat', sbd_mask(name))
  return voc, sbd, tmp_path / 'out'


def test_lists_and_masks(trees):
  voc, sbd, out = trees
  assert voc12.prepare(voc, sbd, out, EXPECTED) == EXPECTED
  names = {}
  for split in EXPECTED:
    entries = read_list(out / f'lists/{split}.txt', str(out))
    names[split] = [entry.id for entry in entries]
    for entry in entries:
      label = load_example(entry, dataset_for('voc12')).label
      if entry.id in 'abc':  # VOC's own masks, with void, even where SBD has one
        np.testing.assert_array_equal(label[0], [0, 3, 255, 20, 1, 1])
        assert '/segcls/' in entry.mask
      else:
        np.testing.assert_array_equal(label, sbd_mask(entry.id))
  assert names == {'train': ['a', 'b'], 'val': ['c'], 'trainval': ['a', 'b', 'c'],
                   'train+': ['a', 'b', 'd', 'e']}


def test_second_call_decodes_only_what_is_missing(trees):
  voc, sbd, out = trees
  voc12.prepare(voc, sbd, out, EXPECTED)
  (out / 'sbd/dataset/clsimg/d.png').unlink()
  before = (out / 'sbd/dataset/clsimg/e.png').stat().st_mtime_ns
  voc12.prepare(voc, sbd, out, EXPECTED)
  assert (out / 'sbd/dataset/clsimg/d.png').exists()
  assert (out / 'sbd/dataset/clsimg/e.png').stat().st_mtime_ns == before


def test_without_sbd_there_is_no_augmented_list(trees):
  voc, _, out = trees
  assert voc12.prepare(voc, None, out, EXPECTED) == {'train': 2, 'val': 1, 'trainval': 3}
  assert sorted(path.name for path in (out / 'lists').iterdir()) == [
      'train.txt', 'trainval.txt', 'val.txt']


def test_numbers_and_files_are_checked_before_anything_is_written(trees):
  voc, sbd, out = trees
  (sbd / 'cls/d.mat').unlink()
  with pytest.raises(ValueError, match=r'train\+ has 3 images, not 4.*unpacked completely'):
    voc12.prepare(voc, sbd, out, EXPECTED)
  (voc / 'JPEGImages/e.jpg').unlink()
  (voc / 'SegmentationClass/b.png').unlink()
  with pytest.raises(FileNotFoundError, match=r'2 files(?s:.*)e\.jpg(?s:.*)b\.png'):
    voc12.prepare(voc, sbd, out, {})
  with pytest.raises(FileNotFoundError, match='--voc_dir.*JPEGImages.*VOCdevkit/VOC2012'):
    voc12.prepare(voc.parent, sbd, out, {})
  with pytest.raises(FileNotFoundError, match='--sbd_dir.*cls.*benchmark_RELEASE/dataset'):
    voc12.prepare(voc, sbd.parent, out, {})
  assert not out.exists()


def test_other_data_in_the_folder_is_left_alone(trees):
  voc, sbd, out = trees
  (out / 'segcls').mkdir(parents=True)
  with pytest.raises(ValueError, match='segcls is there and is not'):
    voc12.prepare(voc, sbd, out, EXPECTED)


def test_faulty_mats_are_named(trees):
  voc, sbd, out = trees
  for damage, message in (
      (lambda path: path.write_bytes(path.read_bytes()[:150]), r'd\.mat: no \.mat'),
      (lambda path: scipy.io.savemat(path, {'other': 1}), r'd\.mat: no \.mat.*GTcls'),
      (lambda path: save_mat(path, np.full((4, 6), 21, np.uint8)), r'd\.mat: expected classes.*21'),
      (lambda path: save_mat(path, np.zeros((6, 4), np.uint8)), r'd\.mat is 4x6, but .*d\.jpg')):
    damage(sbd / 'cls/d.mat')
    with pytest.raises(ValueError, match=message):
      voc12.prepare(voc, sbd, out, EXPECTED)
  assert not (out / 'lists').exists()

import numpy as np
import pytest
import scipy.io

from seg_models.datasets import dataset_for
from seg_models.image_reader import iterate_examples, read_list
from seg_models.potsdam import prepare, read_tile


def archive(folder, names=('0_1_2', '3_4_5', '7_0_0'), together=False):
  """Tiles as they are distributed: image and mask in a file each, or in one."""
  folder.mkdir()
  random = np.random.default_rng(0)
  tiles = {}
  for name in names:
    image = random.integers(0, 256, [9, 7, 4]).astype(np.uint8)
    mask = random.integers(-1, 6, [9, 7]).astype(np.int16)
    tiles[name] = image, mask
    parts = {'': {'img': image, 'gt': mask}} if together else {
        'imgs': {'img': image}, 'gt': {'gt': mask}}
    for part, values in parts.items():
      (folder / part).mkdir(exist_ok=True)
      scipy.io.savemat(folder / part / f'{name}.mat', values)
  (folder / 'labelled_train.txt').write_text('\n'.join(names[:2]))
  (folder / 'labelled_test.txt').write_text(f'{names[2]}.mat\n')
  return tiles


@pytest.mark.parametrize('together', [False, True])
def test_tiles_become_images_and_masks_of_three_classes(tmp_path, together):
  tiles = archive(tmp_path / 'source', together=together)
  for _ in range(2):
    assert prepare(tmp_path / 'source', tmp_path / 'out') == {'train': 2, 'val': 1}
  dataset = dataset_for('potsdam3')
  for split, names in (('train', ['0_1_2', '3_4_5']), ('val', ['7_0_0'])):
    entries = read_list(tmp_path / f'out/{split}.txt', str(tmp_path / 'out'))
    for name, example in zip(names, iterate_examples(entries, dataset), strict=True):
      image, mask = tiles[name]
      np.testing.assert_array_equal(example.image, image[..., :3])
      expected = np.array([0, 1, 2, 2, 0, 1, 255])[mask]  # -1 is the last
      np.testing.assert_array_equal(example.label, expected)


def test_all_that_is_missing_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='labelled_train.*labelled_test.*--source_dir'):
    prepare(tmp_path, tmp_path / 'out')
  archive(tmp_path / 'source')
  for part in ('imgs', 'gt'):
    (tmp_path / 'source' / part / '3_4_5.mat').unlink()
  with pytest.raises(FileNotFoundError, match='1 tiles are missing below .*\n  3_4_5.mat'):
    prepare(tmp_path / 'source', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('values, message', [
    ({'gt': np.zeros([3, 4])}, 'no img in it'),
    ({'img': np.zeros([3, 4, 2]), 'gt': np.zeros([3, 4])}, r'img \(3, 4, 2\)'),
    ({'img': np.zeros([3, 4, 3]), 'gt': np.zeros([4, 4])}, r'gt \(4, 4\)'),
    ({'img': np.zeros([3, 4, 3]), 'gt': np.full([3, 4], 6)}, r'gt holds \[6\]'),
    ({'img': np.full([3, 4, 3], 300), 'gt': np.zeros([3, 4])}, 'from 300 to 300')])
def test_a_faulty_tile_is_named(tmp_path, values, message):
  scipy.io.savemat(tmp_path / 'a.mat', values)
  with pytest.raises(ValueError, match=f'a.mat: .*{message}'):
    read_tile([tmp_path / 'a.mat'])


def test_a_damaged_file_is_named(tmp_path):
  (tmp_path / 'a.mat').write_bytes(b'not a mat file')
  with pytest.raises(ValueError, match='a.mat: no .mat file, or damaged'):
    read_tile([tmp_path / 'a.mat'])

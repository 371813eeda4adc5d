import numpy as np
import pytest

from seg_models.frozen.cluster_folder import IGNORED, ClusterFolder
from seg_models.image_reader import Entry
from utils import images

MAPS = {'gray': np.array([[0, 3], [1, 2]]), 'labels': np.array([[0, -1], [1, 1]])}


@pytest.fixture
def entries(tmp_path):
  made = []
  for name in ('a', 'sub/b'):
    path = tmp_path / 'images' / f'{name}.png'
    images.write_png(path, np.zeros((2, 2, 3), np.uint8))
    made.append(Entry(str(path), None, None, name))
  return made


def open_folder(tmp_path, entries, kinds=('gray', 'labels'), overwrite=False, **settings):
  return ClusterFolder(
      tmp_path / 'out', entries, {'checkpoint': 1, **settings}, kinds, ('color', 'map.json'),
      overwrite)


def test_an_interrupted_prediction_goes_on(tmp_path, entries):
  folder = open_folder(tmp_path, entries)
  folder.write(entries[0], MAPS)
  assert open_folder(tmp_path, entries).missing() == entries[1:]
  np.testing.assert_array_equal(folder.read('gray', entries[0]), MAPS['gray'])
  np.testing.assert_array_equal(
      folder.read('labels', entries[0]), [[0, IGNORED], [1, 1]])
  folder.write(entries[1], MAPS)
  assert not folder.missing() and (tmp_path / 'out/gray/sub/b.png').exists()


def test_others_are_replaced_once_all_were_there(tmp_path, entries):
  folder = open_folder(tmp_path, entries)
  for entry in entries:
    folder.write(entry, MAPS)
  (tmp_path / 'out/map.json').write_text('{}')
  with pytest.raises(ValueError, match='unfinished run with other settings .checkpoint'):
    open_folder(tmp_path, entries, checkpoint=2)
  folder.finish()
  other = open_folder(tmp_path, entries, kinds=('gray',), checkpoint=2)
  assert other.missing() == entries
  assert not list((tmp_path / 'out').rglob('*.png')) and not (tmp_path / 'out/map.json').exists()


def test_a_changed_image_is_predicted_again_and_all_is_painted_again(tmp_path, entries):
  folder = open_folder(tmp_path, entries)
  for entry in entries:
    folder.write(entry, MAPS)
  images.write_png(tmp_path / 'out/color/a.png', np.zeros((2, 2), np.uint8))
  images.write_png(entries[1].image, np.ones((3, 3, 3), np.uint8))
  assert open_folder(tmp_path, entries).missing() == entries[1:]
  assert not (tmp_path / 'out/color/a.png').exists()

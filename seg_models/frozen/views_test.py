import numpy as np
import pytest

from seg_models.datasets import dataset_for
from seg_models.frozen.geometry import Geometry
from seg_models.frozen.views import (
  View,
  find_entries,
  find_images,
  has_masks,
  load_view,
  sources_of,
  views_of,
)
from seg_models.image_reader import Entry
from utils import images


def write(path, seed=0, size=(8, 10)):
  images.write_png(path, np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def test_a_folder_of_images_is_all_that_is_needed(tmp_path):
  for name in ('b.png', 'a/c.PNG', 'a/.hidden.png', '.cache/d.png'):
    write(tmp_path / name)
  (tmp_path / 'notes.txt').write_text('no image')
  entries = find_images(tmp_path)
  assert [entry.id for entry in entries] == ['a/c', 'b']
  assert not has_masks(entries)
  assert find_entries(str(tmp_path), '', '') == entries
  write(tmp_path / 'b.bmp.png')
  images.write_png(tmp_path / 'b.tif', np.zeros((2, 2), np.uint8))
  with pytest.raises(ValueError, match=r'b\.png and b\.tif'):
    find_images(tmp_path)


def test_folders_without_images_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='no image'):
    find_images(tmp_path)
  with pytest.raises(FileNotFoundError, match='no such folder'):
    find_images(tmp_path / 'missing')


def test_lists_need_no_masks_but_those_named_must_be_there(tmp_path):
  write(tmp_path / 'a.png')
  data_list = tmp_path / 'list.txt'
  data_list.write_text('a.png\n')
  assert not has_masks(find_entries('', str(data_list), str(tmp_path)))
  data_list.write_text('a.png missing.png\n')
  with pytest.raises(FileNotFoundError, match='missing.png'):
    find_entries('', str(data_list), str(tmp_path))
  write(tmp_path / 'b.png')
  data_list.write_text('a.png\nb.png b.png\n')
  with pytest.raises(ValueError, match=r'1 of 2 lines name no mask, that of .*a\.png'):
    find_entries('', str(data_list), str(tmp_path))
  for both in (('', ''), (str(tmp_path), str(data_list))):
    with pytest.raises(ValueError, match='--images FOLDER, or --data_list'):
      find_entries(*both, '')


def test_views_are_in_the_originals_order():
  entries = [Entry(name, None, None, name) for name in 'ab']
  assert [view.id for view in views_of(entries)] == ['a', 'b']
  assert [view.id for view in views_of(entries, 'five')] == [
      f'{name}#{crop}' for name in 'ab' for crop in range(5)]


def test_a_crops_labels_are_cropped_alike(tmp_path):
  """The image's red is its label; labels that do not count become -1."""
  labels = np.random.default_rng(0).integers(0, 3, (40, 60), dtype=np.uint8)
  labels[20:, 30:] = 255
  images.write_png(tmp_path / 'a.png', np.repeat(labels[..., None], 3, -1))
  images.write_png(tmp_path / 'mask.png', labels)
  entry = Entry(str(tmp_path / 'a.png'), str(tmp_path / 'mask.png'), None, 'a')
  geometry = Geometry(16, resampling='nearest')
  for crop in (None, 0, 4):
    image, label = load_view(View(entry, crop), geometry, dataset_for(None, 3))
    assert label.dtype == np.int32
    np.testing.assert_array_equal(np.where(label == -1, 255, label), image[..., 0])
  assert (load_view(View(entry, 3), geometry, dataset_for(None, 3))[1] == -1).all()
  assert load_view(View(entry, 3), geometry)[1] is None


def test_an_image_too_small_for_crops_is_named(tmp_path):
  write(tmp_path / 'line.png', size=(1, 9))
  entry = Entry(str(tmp_path / 'line.png'), None, None, 'line')
  assert load_view(View(entry), Geometry(4))[0].shape == (4, 4, 3)
  with pytest.raises(ValueError, match=r'line\.png: an image of 1x9 pixels is too small.*--crops'):
    load_view(View(entry, 2), Geometry(4))


def test_sources_change_with_files_and_crops(tmp_path):
  write(tmp_path / 'a.png')
  entries = [Entry(str(tmp_path / 'a.png'), None, None, 'a')]
  before = sources_of(views_of(entries, 'five'))
  assert len(before) == 5 and len({tuple(source) for source in before}) == 5
  write(tmp_path / 'a.png', seed=1, size=(9, 9))
  assert sources_of(views_of(entries, 'five'))[0] != before[0]

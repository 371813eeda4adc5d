import numpy as np
import pytest

from seg_models import resized_copy
from seg_models.datasets import dataset_for
from seg_models.image_reader import load_example, read_list
from utils import images
from utils.shared_data import shared

DATASET = dataset_for(None, 3)


@pytest.fixture
def data(tmp_path):
  rng = np.random.default_rng(0)
  folder = tmp_path / 'data'
  lines = []
  for name in ('a', 'b'):
    images.write_png(folder / f'JPEGImages/{name}.png', rng.integers(0, 256, (6, 8, 3), np.uint8))
    images.write_png(folder / f'segcls/{name}.png', rng.integers(0, 3, (6, 8), np.uint8))
    lines.append(f'JPEGImages/{name}.png segcls/{name}.png\n')
  (folder / 'train.txt').write_text(''.join(lines))
  return folder


def copy(data, scale=0.5, dataset=DATASET, output='half', data_list='train.txt'):
  return resized_copy.write_resized_copy(
      data / data_list, str(data), data.parent / output, scale, dataset)


def test_halves_are_means_of_blocks_and_labels_of_the_image(data):
  assert copy(data) == (2, 0)
  originals = [load_example(entry, DATASET) for entry in read_list(data / 'train.txt', str(data))]
  half = data.parent / 'half'
  halves = [load_example(entry, DATASET) for entry in read_list(half / 'train.txt', str(half))]
  for original, small in zip(originals, halves, strict=True):
    means = original.image.reshape(3, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(small.image - means).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(small.label, original.label[1::2, 1::2])
    assert small.entry.id == original.entry.id


def test_second_call_writes_only_what_is_missing(data):
  copy(data)
  half = data.parent / 'half'
  (half / 'segcls/a.png').unlink()
  before = (half / 'JPEGImages/b.png').stat().st_mtime_ns
  assert copy(data) == (1, 1)
  assert (half / 'segcls/a.png').exists()
  assert (half / 'JPEGImages/b.png').stat().st_mtime_ns == before


def test_raw_numbers_stay_what_they_are(data):
  (data / 'segcls/a.png').rename(data / 'segcls/a_labelIds.png')
  images.write_png(data / 'segcls/a_labelIds.png', np.full((6, 8), 26, np.uint8))
  (data / 'raw.txt').write_text('JPEGImages/a.png segcls/a_labelIds.png')
  copy(data, dataset=dataset_for('cityscapes'), data_list='raw.txt')
  assert (images.read_mask(data.parent / 'half/segcls/a_labelIds.png') == 26).all()


def test_other_scales(data):
  image = images.read_image(data / 'JPEGImages/a.png')
  np.testing.assert_array_equal(resized_copy.resize_image(image, (6, 8)), image)
  row = np.array([0, 90, 30], np.uint8)[None, :, None].repeat(3, -1)
  np.testing.assert_array_equal(resized_copy.resize_image(row, (1, 2))[0, :, 0], [30, 50])
  labels = np.arange(5)[None]
  np.testing.assert_array_equal(resized_copy.resize_labels(labels, (2, 3)), [[0, 2, 4]] * 2)
  np.testing.assert_array_equal(
      resized_copy.resize_labels(labels, (1, 10)), [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]])


def test_faults_are_refused(data):
  copy(data)
  with pytest.raises(ValueError, match=r'resized\.json is of another copy.*0\.5.*0\.25'):
    copy(data, scale=0.25)
  with pytest.raises(ValueError, match='--scale 0'):
    copy(data, scale=0)
  with pytest.raises(ValueError, match='data folder itself'):
    copy(data, output='data')
  (data / 'out.txt').write_text('../data/JPEGImages/a.png ../half/segcls/a.png')
  with pytest.raises(ValueError, match=r'half/segcls/a\.png is not in --data_dir'):
    copy(data, output='other', data_list='out.txt')
  with pytest.raises(ValueError, match=r'segcls/.\.png: values'):
    copy(data, output='third', dataset=dataset_for(None, 1))
  assert not (data.parent / 'third/train.txt').exists()
  (data / 'two.txt').write_text('JPEGImages/a.png segcls/a.png\nJPEGImages/a.jpg segcls/a.png')
  (data / 'JPEGImages/a.jpg').touch()
  with pytest.raises(ValueError, match=r'a\.png and .*a\.jpg.*would both become'):
    copy(data, output='fourth', data_list='two.txt')


def test_camvid_at_half_size(tmp_path):
  folder = shared('data', 'camvid')
  (tmp_path / 'two.txt').write_text(''.join(
      (folder / 'val.txt').read_text().splitlines(keepends=True)[:2]))
  resized_copy.write_resized_copy(
      tmp_path / 'two.txt', str(folder), tmp_path / 'half', 0.5, dataset_for('camvid'))
  for entry in read_list(tmp_path / 'half/two.txt', str(tmp_path / 'half')):
    assert load_example(entry, dataset_for('camvid')).image.shape == (180, 240, 3)

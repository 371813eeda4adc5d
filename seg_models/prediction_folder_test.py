import numpy as np
import pytest
from PIL import Image

from seg_models.datasets import dataset_for
from seg_models.image_reader import Entry
from seg_models.prediction_folder import PredictionFolder
from utils import files

DATASET = dataset_for(num_classes=4)
ENTRIES = [Entry(f'images/{name}.jpg', None, None, name) for name in 'ab']
LABELS = np.arange(12, dtype=np.int32).reshape(3, 4) % 4


def test_files_are_the_originals(tmp_path):
  folder = PredictionFolder(tmp_path, DATASET, {'k': 15})
  assert folder.missing(ENTRIES) == ENTRIES
  folder.write(ENTRIES[0], LABELS)
  gray, color = (Image.open(tmp_path / name / 'a.png') for name in ('gray', 'color'))
  assert gray.mode == 'L' and color.mode == 'RGB'
  np.testing.assert_array_equal(gray, LABELS)
  np.testing.assert_array_equal(np.array(color)[0, 1], [128, 0, 0])  # aeroplane
  assert PredictionFolder(tmp_path, DATASET, {'k': 15}).missing(ENTRIES) == ENTRIES[1:]


def test_another_palette_paints_the_pictures(tmp_path):
  palette = np.full([4, 3], 9, np.uint8)
  PredictionFolder(tmp_path, DATASET, {}, palette).write(ENTRIES[0], LABELS)
  assert (np.array(Image.open(tmp_path / 'color' / 'a.png')) == 9).all()


def test_many_classes_need_16_bits(tmp_path):
  PredictionFolder(tmp_path, dataset_for(num_classes=300), {}).write(ENTRIES[0], LABELS + 290)
  np.testing.assert_array_equal(Image.open(tmp_path / 'gray' / 'a.png'), LABELS + 290)


def test_neighbours_belong_to_an_image_when_they_are_asked_for(tmp_path):
  PredictionFolder(tmp_path, DATASET, {}).write(ENTRIES[0], LABELS)
  folder = PredictionFolder(tmp_path, DATASET, {}, with_neighbours=True)
  assert folder.missing(ENTRIES) == ENTRIES
  folder.write(ENTRIES[0], LABELS, [{'segment': 3}])
  assert folder.missing(ENTRIES) == ENTRIES[1:]
  assert files.read_json(tmp_path / 'neighbours' / 'a.json') == {
      'image': 'images/a.jpg', 'size': [3, 4], 'classes': list(DATASET.classes),
      'segments': [{'segment': 3}]}


def test_an_image_whose_files_are_not_all_there_is_missing(tmp_path):
  folder = PredictionFolder(tmp_path, DATASET, {})
  folder.write(ENTRIES[0], LABELS)
  (tmp_path / 'gray' / 'a.png').unlink()
  assert folder.missing(ENTRIES[:1]) == ENTRIES[:1]


def test_other_settings_are_refused_and_overwritten_on_request(tmp_path):
  folder = PredictionFolder(tmp_path, DATASET, {'k': 15}, with_neighbours=True)
  folder.write(ENTRIES[0], LABELS, [])
  with pytest.raises(ValueError, match='k: 15 there, 21 now'):
    PredictionFolder(tmp_path, DATASET, {'k': 21})
  PredictionFolder(tmp_path, DATASET, {'k': 21}, overwrite=True)
  assert not list(tmp_path.rglob('*.png')) and not list(tmp_path.glob('neighbours/*'))


def test_predictions_of_unknown_origin_are_refused(tmp_path):
  (tmp_path / 'gray').mkdir()
  (tmp_path / 'gray' / 'x.png').touch()
  with pytest.raises(ValueError, match='gray already holds x.png'):
    PredictionFolder(tmp_path, DATASET, {})

import dataclasses

import numpy as np
import pytest
from PIL import Image

from seg_models.datasets import dataset_for
from seg_models.image_reader import Entry
from seg_models.prediction_folder import PredictionFolder
from utils import files

DATASET = dataset_for(num_classes=4)
LABELS = np.arange(12, dtype=np.int32).reshape(3, 4) % 4


@pytest.fixture
def entries(tmp_path):
  paths = [tmp_path / f'{name}.jpg' for name in 'ab']
  for path in paths:
    path.touch()
  return [Entry(str(path), None, None, path.stem) for path in paths]


def test_files_are_the_originals(tmp_path, entries):
  folder = PredictionFolder(tmp_path, entries, DATASET, {'k': 15})
  assert folder.missing() == entries
  folder.write(entries[0], LABELS)
  gray, color = (Image.open(tmp_path / name / 'a.png') for name in ('gray', 'color'))
  assert gray.mode == 'L' and color.mode == 'RGB'
  np.testing.assert_array_equal(gray, LABELS)
  np.testing.assert_array_equal(np.array(color)[0, 1], [128, 0, 0])  # aeroplane
  assert PredictionFolder(tmp_path, entries, DATASET, {'k': 15}).missing() == entries[1:]


def test_a_changed_oversegmentation_makes_its_prediction_again(tmp_path, entries):
  (tmp_path / 'regions.png').touch()
  known = [dataclasses.replace(entry, oversegmentation=str(tmp_path / 'regions.png'))
           for entry in entries]
  PredictionFolder(tmp_path, known, DATASET, {}).write(entries[0], LABELS)
  assert PredictionFolder(tmp_path, known, DATASET, {}).missing() == known[1:]
  (tmp_path / 'regions.png').write_bytes(b'finer')
  assert PredictionFolder(tmp_path, known, DATASET, {}).missing() == known


def test_another_palette_paints_the_pictures(tmp_path, entries):
  palette = np.full([4, 3], 9, np.uint8)
  PredictionFolder(tmp_path, entries, DATASET, {}, palette).write(entries[0], LABELS)
  assert (np.array(Image.open(tmp_path / 'color' / 'a.png')) == 9).all()


def test_many_classes_need_16_bits(tmp_path, entries):
  folder = PredictionFolder(tmp_path, entries, dataset_for(num_classes=300), {})
  folder.write(entries[0], LABELS + 290)
  np.testing.assert_array_equal(Image.open(tmp_path / 'gray' / 'a.png'), LABELS + 290)


def test_neighbours_belong_to_an_image_when_they_are_asked_for(tmp_path, entries):
  PredictionFolder(tmp_path, entries, DATASET, {}).write(entries[0], LABELS)
  folder = PredictionFolder(tmp_path, entries, DATASET, {}, with_neighbours=True)
  assert folder.missing() == entries
  folder.write(entries[0], LABELS, [{'segment': 3}])
  assert folder.missing() == entries[1:]
  assert files.read_json(tmp_path / 'neighbours' / 'a.json') == {
      'image': entries[0].image, 'size': [3, 4], 'classes': list(DATASET.classes),
      'segments': [{'segment': 3}]}


def test_an_image_whose_files_are_not_all_there_is_missing(tmp_path, entries):
  folder = PredictionFolder(tmp_path, entries, DATASET, {})
  folder.write(entries[0], LABELS)
  (tmp_path / 'gray' / 'a.png').unlink()
  assert folder.missing() == entries


def test_unfinished_predictions_of_other_settings_are_refused_and_overwritten_on_request(
    tmp_path, entries):
  folder = PredictionFolder(tmp_path, entries, DATASET, {'k': 15}, with_neighbours=True)
  folder.write(entries[0], LABELS, [])
  with pytest.raises(ValueError, match='k: 15 there, 21 now'):
    PredictionFolder(tmp_path, entries, DATASET, {'k': 21})
  PredictionFolder(tmp_path, entries, DATASET, {'k': 21}, overwrite=True)
  assert not list(tmp_path.rglob('*.png')) and not list(tmp_path.glob('neighbours/*'))


def test_finished_predictions_of_other_settings_are_replaced(tmp_path, entries):
  folder = PredictionFolder(tmp_path, entries, DATASET, {'k': 15}, with_neighbours=True)
  for entry in entries:
    folder.write(entry, LABELS, [])
  folder.finish()
  assert PredictionFolder(tmp_path, entries, DATASET, {'k': 15}).missing() == []
  folder.finish()
  folder = PredictionFolder(tmp_path, entries, DATASET, {'k': 21})
  assert folder.missing() == entries and not list(tmp_path.glob('neighbours/*'))
  folder.write(entries[0], LABELS)
  assert PredictionFolder(tmp_path, entries, DATASET, {'k': 21}).missing() == entries[1:]


def test_the_prediction_of_a_file_that_has_changed_is_missing(tmp_path, entries):
  folder = PredictionFolder(tmp_path, entries, DATASET, {})
  for entry in entries:
    folder.write(entry, LABELS)
  (tmp_path / 'b.jpg').write_bytes(b'other')
  assert PredictionFolder(tmp_path, entries, DATASET, {}).missing() == entries[1:]
  # Of the same names in another folder all are.
  (tmp_path / 'other').mkdir()
  others = []
  for entry in entries:
    path = tmp_path / 'other' / f'{entry.id}.jpg'
    path.touch()
    others.append(dataclasses.replace(entry, image=str(path)))
  assert PredictionFolder(tmp_path, others, DATASET, {}).missing() == others


def test_predictions_of_unknown_origin_are_refused(tmp_path, entries):
  (tmp_path / 'gray').mkdir()
  (tmp_path / 'gray' / 'x.png').touch()
  with pytest.raises(ValueError, match='gray already holds x.png'):
    PredictionFolder(tmp_path, entries, DATASET, {})

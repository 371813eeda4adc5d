import dataclasses

import numpy as np
import pytest

from seg_models import datasets
from utils import colors, images
from utils.shared_data import shared


@pytest.mark.parametrize('name', datasets.DATASETS)
def test_descriptor_is_consistent_and_immutable(name):
  dataset = datasets.dataset_for(name)
  assert dataset.name == name
  assert len(set(map(tuple, dataset.palette))) == dataset.num_classes == len(set(dataset.classes))
  if dataset.label_map is not None:
    reached = {label for label in dataset.label_map.values() if label is not None}
    assert reached == set(range(dataset.num_classes))
  with pytest.raises(ValueError, match='read-only'):
    dataset.palette[0] = 1
  with pytest.raises(dataclasses.FrozenInstanceError):
    dataset.ignore_label = 0


def test_without_a_name_vocs_is_cut_or_extended():
  assert datasets.dataset_for().classes == datasets.DATASETS['voc12'].classes
  assert datasets.dataset_for(num_classes=3).classes == ('background', 'aeroplane', 'bicycle')
  longer = datasets.dataset_for(num_classes=23, ignore_label=0)
  assert longer.classes[20:] == ('tvmonitor', 'class 21', 'class 22')
  assert longer.ignore_label == 0
  np.testing.assert_array_equal(longer.palette, colors.voc_palette(23))


@pytest.mark.parametrize('arguments,message', [
    (('voc21',), 'voc21.*camvid'), (('camvid', 21), '21 contradicts.*11'), ((None, 0), 'at least')])
def test_contradictions_are_errors(arguments, message):
  with pytest.raises(ValueError, match=message):
    datasets.dataset_for(*arguments)
  assert datasets.dataset_for('camvid', 11).num_classes == 11


def test_palette_of_another_length_is_an_error():
  with pytest.raises(ValueError, match=r'x: 2 classes.*\(3, 3\)'):
    datasets.Dataset('x', ('a', 'b'), np.zeros((3, 3)))


def test_label_ids_of_cityscapes():
  cityscapes = datasets.dataset_for('cityscapes', ignore_label=99)
  mask = np.array([[0, 7, 8, 29], [33, 255, 11, 6]], np.int32)
  labels = cityscapes.from_file(mask, 'a_gtFine_labelIds.png')
  np.testing.assert_array_equal(labels, [[99, 0, 1, 99], [18, 99, 2, 99]])
  assert labels.dtype == np.int32
  np.testing.assert_array_equal(cityscapes.from_file(mask, 'a_labelTrainIds.png'), mask)
  with pytest.raises(ValueError, match=r'a_labelIds\.png.*\[34, 200\]'):
    cityscapes.from_file(np.array([[7, 200, 34]]), 'a_labelIds.png')
  of_27 = datasets.dataset_for('cityscapes27').from_file(mask, 'a_labelIds.png')
  np.testing.assert_array_equal(of_27, [[255, 0, 1, 22], [26, 255, 4, 255]])


def test_every_fine_number_of_coco_stuff_has_one_coarse_class():
  fine = datasets.DATASETS['coco_stuff27'].label_map
  assert set(fine) == set(range(182)) | {255}
  listed = [number for _, numbers in datasets._COCO_STUFF27 for number in numbers]
  assert len(listed) == 182


def test_classes_of_coco_stuff_are_where_the_coarse_ones_are():
  fine, coarse = datasets.DATASETS['coco_stuff'], datasets.DATASETS['coco_stuff27']
  assert fine.num_classes == 171
  assert set(coarse.label_map) - set(fine.label_map) == {
      number - 1 for number in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)}

  def names(label):
    return [fine.classes[index] for number, index in fine.label_map.items()
            if index is not None and coarse.classes[coarse.label_map[number]] == label]
  assert names('person') == ['person']
  assert names('vehicle') == [
      'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat']
  assert names('sky') == ['clouds', 'sky-other']
  assert names('wall') == [f'wall-{kind}' for kind in (
      'brick', 'concrete', 'other', 'panel', 'stone', 'tile', 'wood')]
  assert names('appliance') == ['microwave', 'oven', 'toaster', 'sink', 'refrigerator']
  assert names('water') == ['fog', 'river', 'sea', 'water-other', 'waterdrops']


def test_pascal_context_counts_the_background_or_not():
  mask = np.array([[0, 1, 59, 255]], np.int32)
  without, with_it = (datasets.DATASETS[name] for name in ('pascal_context', 'pascal_context60'))
  np.testing.assert_array_equal(without.from_file(mask, 'a.png'), [[255, 0, 58, 255]])
  np.testing.assert_array_equal(with_it.from_file(mask, 'a.png'), mask)
  assert without.classes == with_it.classes[1:] and with_it.classes[0] == 'background'
  assert (without.num_classes, without.classes[0], without.classes[58]) == (59, 'aeroplane', 'wood')
  np.testing.assert_array_equal(without.palette, with_it.palette[1:])
  with pytest.raises(ValueError, match=r'a\.png.*\[60\] mean nothing in pascal_context'):
    without.from_file(np.array([[60]]), 'a.png')


@pytest.mark.parametrize('name,pattern', [
    ('voc12', 'voc12/*.png'), ('cityscapes', 'cityscapes/*_labelIds.png'),
    ('cityscapes27', 'cityscapes/*_labelIds.png'), ('coco_stuff27', 'coco_stuff/*_label/*.png'),
    ('coco_stuff', 'coco_stuff/*_label/*.png')])
def test_real_masks_hold_only_classes(name, pattern):
  dataset = datasets.dataset_for(name)
  paths = sorted(shared('data', 'samples').glob(pattern))
  assert paths
  for path in paths:
    labels = dataset.from_file(images.read_mask(path), path)
    assert set(np.unique(labels)) <= {*range(dataset.num_classes), 255}


def test_classes_of_camvid_are_in_the_files_order():
  names = tuple(shared('data', 'camvid', 'classes.txt').read_text().split())
  assert datasets.DATASETS['camvid'].classes == names


def test_the_six_classes_of_potsdam_become_three():
  mask = np.array([[0, 1, 2, 3], [4, 5, 255, 0]], np.int32)
  labels = datasets.DATASETS['potsdam3'].from_file(mask, 'a.png')
  np.testing.assert_array_equal(labels, [[0, 1, 2, 2], [0, 1, 255, 0]])
  with pytest.raises(ValueError, match='6.*mean nothing in potsdam3'):
    datasets.DATASETS['potsdam3'].from_file(mask + 2, 'a.png')

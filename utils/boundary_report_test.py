import json

import numpy as np
import pytest

from utils import boundary_report, files
from utils.boundary_bands import BoundaryBands
from utils.boundary_f import BoundaryF

CLASSES = ('left', 'right', 'absent')


def example(prediction=(0, 0, 0, 1, 1, 1), truth=(0, 0, 1, 1, 1, 1)):
  bands, boundary_f = BoundaryBands(3, 255, (1, 9)), BoundaryF(3, 255, 0.01)
  for metric in (bands, boundary_f):
    metric.update(np.repeat([truth], 5, axis=0), np.repeat([prediction], 5, axis=0))
  return bands, boundary_f, CLASSES


def test_table_in_percent():
  lines = [line.split() for line in boundary_report.table(*example())]
  assert ['1', '25.00', '50.00', '10'] in lines
  assert ['9', '70.83', '83.33', '30'] in lines  # 2/3 and 3/4
  assert ['left', '0.00', '0.00', '0.00'] in lines
  assert ['absent', '-', '-', '-'] in lines
  assert ['mean', 'of', 'images', '0.00', '0.00', '0.00'] in lines
  right = [line.split() for line in boundary_report.table(*example((0, 0, 1, 1, 1, 1)))]
  assert ['mean', 'of', 'images', '100.00', '100.00', '100.00'] in right


def test_dict_is_json_with_null_for_what_is_not_defined():
  values = json.loads(json.dumps(boundary_report.as_dict(*example()), allow_nan=False))
  assert values['bands'][0] == {
      'width': 1, 'mean_iou': 0.25, 'pixel_accuracy': 0.5, 'pixels': 10, 'iou': [0.5, 0, None]}
  assert [band['width'] for band in values['bands']] == [1, 9]
  assert values['f'] == values['precision'] == values['recall'] == 0
  assert values['tolerance'] == 0.01 and values['images_with_boundary'] == 1
  assert values['classes'][2] == {
      'id': 2, 'name': 'absent', 'precision': None, 'recall': None, 'f': None}


def test_without_boundary():
  flat = example((0,) * 6, (0,) * 6)
  values = boundary_report.as_dict(*flat)
  assert values['f'] is values['bands'][0]['mean_iou'] is None
  assert values['images_with_boundary'] == 0
  assert '1 - - 0'.split() in [line.split() for line in boundary_report.table(*flat)]


def write(path, prediction, mean_iou):
  boundary = boundary_report.as_dict(*example(prediction))
  files.write_json(path, {'mean_iou': mean_iou, 'boundary': boundary})
  return path


def test_comparison_of_named_files(tmp_path):
  good = write(tmp_path / 'a.json', (0, 0, 1, 1, 1, 1), 0.9)
  bad = write(tmp_path / 'b.json', (0, 0, 0, 1, 1, 1), 0.7)
  assert list(boundary_report.comparison([('a', good), ('both', good), ('both', bad)])) == [
      '| | mIoU | 1 px | 9 px | precision | recall | boundary F |', '|---|---|---|---|---|---|---|',
      '| a | 90.00 | 100.00 | 100.00 | 100.00 | 100.00 | 100.00 |',
      '| both | 80.00 | 62.50 | 85.42 | 50.00 | 50.00 | 50.00 |']


def test_comparison_of_faulty_files(tmp_path):
  good = write(tmp_path / 'a.json', (0, 0, 1, 1, 1, 1), 0.9)
  files.write_json(tmp_path / 'plain.json', {'mean_iou': 0.5})
  with pytest.raises(ValueError, match=r'plain\.json: no scores at boundaries.*--boundary'):
    list(boundary_report.comparison([('a', good), ('b', tmp_path / 'plain.json')]))
  other = files.read_json(good)
  other['boundary']['bands'].pop()
  files.write_json(tmp_path / 'other.json', other)
  with pytest.raises(ValueError, match=r'other\.json: bands of \[1\] pixels, others of \[1, 9\]'):
    list(boundary_report.comparison([('a', good), ('b', tmp_path / 'other.json')]))

import json

import numpy as np
import pytest

from utils import cluster_matching, matching_report

CLASSES = ('sky', 'road')
COUNTS = np.array([[0, 6], [0, 0], [8, 1], [3, 5]])


def arguments(counts=COUNTS, many_to_one=False):
  return counts, cluster_matching.match(counts, many_to_one), CLASSES, many_to_one


def test_table_lists_the_clusters_of_each_class():
  lines = list(matching_report.table(*arguments()))
  assert lines[0].startswith('3 clusters with pixels') and 'Hungarian' in lines[0]
  assert lines[1].split() == ['sky', '2'] and lines[2].split() == ['road', '0']
  assert lines[3].split() == ['no', 'class', '3']
  assert lines[4].endswith('count as wrong: 34.78 %')
  assert lines[5].endswith(': 58.33 %')  # 8 / 12 and 6 / 12
  many = list(matching_report.table(*arguments(many_to_one=True)))
  assert many[2].split() == ['road', '0', '3'] and 'more clusters alone' in many[0]
  assert not any('no class' in line for line in many)


def test_long_lists_are_cut_and_classes_without_cluster_shown():
  many = list(matching_report.table(*arguments(np.full((50, 2), [3, 1]), many_to_one=True)))
  assert many[1].endswith(' 18 19 ... and 30 more') and many[2].split() == ['road', '-']


def test_dict_is_json():
  values = json.loads(json.dumps(matching_report.as_dict(*arguments()), allow_nan=False))
  assert values['clusters'] == 4 and values['clusters_with_pixels'] == 3
  assert values['matching'] == [
      {'cluster': 0, 'class': 1, 'name': 'road', 'pixels': 6, 'right_pixels': 6},
      {'cluster': 2, 'class': 0, 'name': 'sky', 'pixels': 9, 'right_pixels': 8},
      {'cluster': 3, 'class': None, 'name': None, 'pixels': 8, 'right_pixels': 0}]
  assert values['true_pixels_without_class'] == [3, 5] and values['pixels_without_class'] == 8
  assert values['many_to_one'] is False
  assert values['mean_iou_occurring'] == pytest.approx((8 / 12 + 6 / 12) / 2)

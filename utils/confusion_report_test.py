import csv
import json

import numpy as np
import pytest

from utils import confusion_report, images
from utils.metrics import ConfusionMatrix

CLASSES = ('background', 'a, b', 'absent')


def example():
  matrix = ConfusionMatrix(3)
  matrix.counts[:] = [[90, 10, 0], [30, 70, 0], [0, 0, 0]]
  return matrix


def test_table_has_every_class_and_the_originals_lines():
  lines = list(confusion_report.table(example(), CLASSES))
  assert lines[1].split() == ['0', 'background', '69.23', '90.00', '50.00']
  assert lines[2].split() == ['1', 'a,', 'b', '63.64', '70.00', '50.00']
  assert lines[3].split() == ['2', 'absent', '-', '-', '0.00']
  assert lines[4].split() == ['mean', '(present)', '66.43', '80.00']
  assert 'mIoU over the 2 classes present: 66.43 %' in lines
  assert 'pixel accuracy: 80.00 %' in lines
  assert lines[-5:] == [
      'class background: 00, acc: 69.2308%', 'class a, b      : 01, acc: 63.6364%',
      'class absent    : 02, acc: 0.0000%', 'mean IOU: 44.2890%', 'mean Pixel Acc: 80.0000%']


def test_dict_is_json_with_null_for_what_is_not_defined():
  values = json.loads(json.dumps(confusion_report.as_dict(example(), CLASSES), allow_nan=False))
  assert values['mean_iou'] == pytest.approx((90 / 130 + 70 / 110) / 2)
  assert values['original_mean_iou'] == pytest.approx((90 / 130 + 70 / 110) / 3)
  assert values['pixel_accuracy'] == 0.8
  assert values['classes'][2] == {'id': 2, 'name': 'absent', 'iou': None, 'accuracy': None,
                                  'true_pixels': 0, 'predicted_pixels': 0}
  assert values['classes'][1]['predicted_pixels'] == 80
  assert values['confusion'] == example().counts.tolist()


def test_csv_round_trip(tmp_path):
  confusion_report.write_csv(tmp_path / 'a.csv', example(), CLASSES)
  rows = list(csv.reader((tmp_path / 'a.csv').read_text().splitlines()))
  assert rows[0][1:] == list(CLASSES)
  assert rows[2] == ['a, b', '30', '70', '0']
  np.testing.assert_array_equal([list(map(int, row[1:])) for row in rows[1:]], example().counts)


def test_pixels_without_a_class_have_a_column_and_count_in_the_shares(tmp_path):
  matrix = example()
  matrix.unassigned[:] = [100, 0, 0]
  confusion_report.write_csv(tmp_path / 'a.csv', matrix, CLASSES)
  rows = list(csv.reader((tmp_path / 'a.csv').read_text().splitlines()))
  assert rows[0][1:] == [*CLASSES, 'no class'] and rows[1][1:] == ['90', '10', '0', '100']
  assert list(confusion_report.table(matrix, CLASSES))[1].split()[-2:] == ['45.00', '66.67']
  assert confusion_report.as_dict(matrix, CLASSES)['classes'][0]['true_pixels'] == 200
  drawn = confusion_report.picture(matrix, CLASSES).astype(int).sum(-1)
  left = drawn.shape[1] - 1 - 3 * 34
  assert drawn[34 + 4, left + 4] > drawn[34 + 34 + 4, left + 34 + 4]  # 45 % beside 70 %


def test_picture_is_darker_where_more_pixels_are(tmp_path):
  confusion_report.write_picture(tmp_path / 'a.png', example(), CLASSES)
  drawn = images.read_image(tmp_path / 'a.png').astype(int).sum(-1)
  left = drawn.shape[1] - 1 - 3 * 34
  corner = np.array([[drawn[34 + 34 * row + 4, left + 34 * column + 4] for column in range(3)]
                     for row in range(3)])
  assert corner[0, 0] < corner[1, 1] < corner[1, 0] < corner[0, 1] < corner[0, 2] == 3 * 255

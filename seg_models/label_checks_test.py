import numpy as np
import pytest
from PIL import Image

from seg_models.datasets import dataset_for
from seg_models.label_checks import check_labels, check_sizes
from utils.shared_data import shared


def check(labels, num_classes=11, ignore_label=255, path='masks/a.png', dataset=None):
  dataset = dataset or dataset_for(None, num_classes, ignore_label)
  check_labels(np.array([labels], np.int32), dataset, path)


def test_good_labels_pass():
  check([0, 10, 255])
  check([255, 255])
  check([0, 1, 20, 99], num_classes=21, ignore_label=99)
  check([], num_classes=1)


@pytest.mark.parametrize('labels,arguments,message', [
    ([0, 200], {}, r'masks/a\.png: values 200: expected the 11 classes 0 to 10 and 255.*A wrong'),
    ([0, 38, 75, 75], {}, r'values 38, 75:.*colour palette'),
    ([0, 14, 113, 220, 255], {'num_classes': 21}, r'values 113, 220:.*colour palette'),
    ([0, 255], {'ignore_label': 0}, r'values 255:.*--ignore_label 255.*0 and 255'),
    ([7, 26, 23], {'path': 'b_labelIds.png'}, r'values 23, 26:.*--dataset cityscapes'),
    ([3, 26001], {}, 'values 26001:.*instances'),
    ([-1, 2], {}, 'values -1:.*A wrong'),
    (list(range(11, 80, 2)), {}, r'values 11, 13, .*, \.\.\.:')])
def test_message_names_values_and_likely_cause(labels, arguments, message):
  with pytest.raises(ValueError, match=message):
    check(labels, **arguments)


def test_official_mask_read_as_gray_is_recognised():
  with Image.open(shared('data', 'samples', 'voc12', '2007_004189.png')) as image:
    ids, luma = np.array(image, np.int32), np.array(image.convert('L'), np.int32)
  voc12 = dataset_for('voc12')
  check_labels(ids, voc12, 'a.png')
  with pytest.raises(ValueError, match='colour palette'):
    check_labels(luma, voc12, 'a.png')


def test_sizes_are_compared():
  image = np.zeros((4, 6, 3), np.uint8)
  check_sizes(image, np.zeros((4, 6)), 'a.jpg', 'a.png')
  with pytest.raises(ValueError, match=r'a\.png is 4x6, but a\.jpg is 6x4'):
    check_sizes(image, np.zeros((6, 4)), 'a.jpg', 'a.png')

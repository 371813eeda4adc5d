import numpy as np
import pytest
from PIL import Image

from seg_models.datasets import dataset_for
from seg_models.explanation import _most_telling, explanation_sheet

DATASET = dataset_for(None, 3)


def example(folder):
  source = np.zeros([20, 30, 3], np.uint8)
  source[5:15, 10:20] = (255, 0, 255)
  Image.fromarray(source).save(folder / 'source.png')
  image = np.full([40, 60, 3], (0, 200, 200), np.uint8)
  segments = [
      {'segment': 0, 'class': 2, 'pixels': 900, 'box': [0, 0, 40, 30], 'neighbours': [
          {'prototype': 4, 'class': 2, 'similarity': 0.5, 'image': 'source.png',
           'box': [5, 10, 15, 20]}]},
      {'segment': 1, 'class': 0, 'pixels': 10, 'box': [0, 30, 40, 60], 'neighbours': []}]
  return image, np.ones([40, 60], int), segments


def test_the_neighbours_box_and_the_frames_are_drawn(tmp_path):
  image, labels, segments = example(tmp_path)
  sheet = explanation_sheet(
      image, labels, labels, segments, DATASET, tmp_path, rows=1, height=30)
  found = {tuple(color) for color in sheet.reshape(-1, 3)}
  assert (255, 0, 255) in found  # what the neighbour looks like
  assert tuple(DATASET.palette[2]) in found  # its frame
  assert tuple(DATASET.palette[1]) in found  # the truth


def test_only_the_largest_segments_are_shown(tmp_path):
  image, labels, segments = example(tmp_path)
  one, two = (
      explanation_sheet(image, None, labels, segments, DATASET, tmp_path, rows=rows, height=30)
      for rows in (1, 2))
  assert two.shape[0] > one.shape[0]
  np.testing.assert_array_equal(two[:one.shape[0], :one.shape[1]], one)


def test_the_largest_segment_of_every_class_comes_first():
  segments = [{'segment': index, 'class': label, 'pixels': pixels}
              for index, (label, pixels) in enumerate([(0, 50), (0, 40), (1, 30), (0, 20), (1, 9)])]
  assert [segment['segment'] for segment in _most_telling(segments)] == [0, 2, 1, 4, 3]


def test_a_bank_without_images_is_refused(tmp_path):
  image, labels, segments = example(tmp_path)
  del segments[0]['neighbours'][0]['image']
  with pytest.raises(ValueError, match='extract_prototypes.py'):
    explanation_sheet(image, labels, labels, segments, DATASET, tmp_path)

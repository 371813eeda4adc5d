import numpy as np
import pytest

from seg_models.bank import Bank
from seg_models.image_reader import Entry
from seg_models.pseudo_class_sheet import cut_out, most_central, pseudo_class_sheet
from seg_models.pseudo_classes import PseudoClasses
from utils import colors, images

PALETTE = np.array([[10, 20, 30], [200, 100, 50], [1, 2, 3]], np.uint8)


def test_the_nearest_segments_are_taken_one_of_an_image():
  labels = np.array([0, 0, 0, 1, 0, 0])
  similarity = np.array([0.9, 0.95, 0.8, 0.5, 0.95, 0.1])
  places = np.array([0, 0, 1, 1, 2, 3])
  assert most_central(labels, similarity, places, 3) == {0: [1, 4, 2], 1: [3]}
  assert most_central(labels, similarity, places, 1) == {0: [1], 1: [3]}


@pytest.mark.parametrize('box, size', [
    ((0, 0, 10, 10), (40, 60)), ((38, 55, 40, 60), (40, 60)), ((0, 0, 40, 60), (40, 60)),
    ((5, 5, 6, 30), (20, 40)), ((0, 0, 1, 1), (1, 1))])
def test_a_cut_out_shows_the_whole_segment_and_fades_the_rest(box, size):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 200, [*size, 3]).astype(np.uint8)
  image[..., 2] = 1  # no pixel is as yellow as an outline
  inside = np.zeros(size, bool)
  inside[box[0]:box[2], box[1]:box[3]] = True
  picture = cut_out(image, inside, box)
  height, width = picture.shape[:2]
  assert height == width or height == size[0] or width == size[1]
  kept = (picture[..., 2] == 1).sum()  # without what the lines cover
  whole = inside.sum()
  assert whole - (box[2] - box[0]) - (box[3] - box[1]) <= kept <= whole
  found = {tuple(color) for color in picture.reshape(-1, 3)}
  assert found <= {tuple(color) for color in image[inside]} | {(255, 255, 0)} | {
      tuple(color) for color in colors.overlay(
          np.full_like(image, 255), image, 0.6)[~inside]}


def test_one_row_for_a_pseudo_class(tmp_path):
  entries, maps = [], {}
  for name, color in (('a', (0, 0, 250)), ('b', (0, 250, 0))):
    images.write_png(tmp_path / f'{name}.png', np.full([30, 40, 3], color, np.uint8))
    entries.append(Entry(str(tmp_path / f'{name}.png'), None, None, name))
    maps[name] = np.repeat([0, 1], 20)[None].repeat(30, axis=0)
  features = np.array([[1, 0], [0, 1], [0.8, 0.6], [0.6, 0.8]], np.float32)
  bank = Bank(features, np.full(4, -1), pixels=np.full(4, 600), cluster=np.array([0, 1, 0, 1]),
              box=np.array([[0, 0, 30, 20], [0, 20, 30, 40]] * 2))
  classes = PseudoClasses(np.eye(2, dtype=np.float32), np.array([2, 2]), np.array([1200, 1200]),
                          0.9, '', '')
  arguments = (bank, np.array([0, 0, 1, 1]), entries, lambda entry: maps[entry.id], classes)
  both = pseudo_class_sheet(*arguments, PALETTE, height=30)
  one = pseudo_class_sheet(*arguments, PALETTE, rows=1, columns=1, height=30)
  found = {tuple(color) for color in one.reshape(-1, 3)}
  assert {(10, 20, 30), (0, 0, 250)} <= found and not {(200, 100, 50), (0, 250, 0)} & found
  found = {tuple(color) for color in both.reshape(-1, 3)}
  assert {(10, 20, 30), (200, 100, 50), (0, 0, 250), (0, 250, 0)} <= found
  assert both.shape[0] == 2 * one.shape[0] and both.shape[1] > one.shape[1]

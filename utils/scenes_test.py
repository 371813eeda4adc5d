import hashlib

import numpy as np
import pytest
from PIL import Image

from utils import images, scenes


def draw(seed, size=(120, 160)):
  return scenes.draw_scene(np.random.default_rng(seed), *size)


def contents(folder):
  return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
          for path in sorted(folder.rglob('*')) if path.is_file()}


def test_scenes_are_as_documented():
  counts = np.zeros(256, int)
  for seed in range(30):
    image, label = draw(seed)
    assert image.shape == (120, 160, 3) and label.shape == (120, 160)
    assert image.dtype == label.dtype == np.uint8
    counts += np.bincount(label.ravel(), minlength=256)
  share = counts / counts.sum()
  assert counts[6:255].sum() == 0
  assert (share[1:6] > 0.02).all() and 0.4 < share[0] < 0.8 and 0.01 < share[255] < 0.08


def test_same_seed_same_scene():
  for one, other in zip(draw(3), draw(3), strict=True):
    np.testing.assert_array_equal(one, other)
  assert not np.array_equal(draw(3)[1], draw(4)[1])


def test_void_separates_the_classes():
  """No pixel of one textured class touches one of another, or the open background."""
  touching = total = 0
  for seed in range(20):
    label = draw(seed)[1].astype(int)
    for one, other in ((label[1:], label[:-1]), (label[:, 1:], label[:, :-1])):
      differing = (one != other) & (one != 255) & (other != 255)
      # Plain shapes are background and cut objects without an outline of their own.
      assert ((one == 0) | (other == 0))[differing].all()
      touching += differing.sum()
      total += ((one == 255) != (other == 255)).sum()
  assert touching < 0.2 * total


def test_colour_does_not_tell_the_class():
  """Mean colours of classes over many scenes differ far less than the colours within a class."""
  means = {index: [] for index in range(1, 6)}
  for seed in range(80):
    image, label = draw(seed)
    for index in np.unique(label[(label > 0) & (label < 255)]):
      means[int(index)].append(image[label == index].mean(0))
  within = np.mean([np.std(values, axis=0).mean() for values in means.values()])
  between = np.std([np.mean(values, axis=0) for values in means.values()], axis=0).mean()
  assert between < 0.35 * within


def test_folder_is_written_once_and_deterministically(tmp_path):
  assert scenes.write_scenes(tmp_path / 'a', seed=1, train=3, val=2)
  first = contents(tmp_path / 'a')
  assert not scenes.write_scenes(tmp_path / 'a', seed=1, train=3, val=2)
  assert contents(tmp_path / 'a') == first
  (tmp_path / 'b').mkdir()
  (tmp_path / '.b.partial').mkdir()
  (tmp_path / '.b.partial/left').touch()
  assert scenes.write_scenes(tmp_path / 'b', seed=1, train=3, val=2)
  assert contents(tmp_path / 'b') == first
  assert sorted(path.name for path in tmp_path.iterdir()) == ['a', 'b']
  assert (tmp_path / 'a/classes.txt').read_text().split() == list(scenes.CLASSES)
  for split, count in (('train', 3), ('val', 2)):
    lines = (tmp_path / f'a/{split}.txt').read_text().splitlines()
    assert len(set(lines)) == count
    for line in lines:
      image, mask = line.split()
      assert images.read_image(tmp_path / 'a' / image).shape[:2] == images.read_mask(
          tmp_path / 'a' / mask).shape
  with Image.open(tmp_path / 'a' / mask) as image:
    assert image.mode == 'P'


def test_foreign_folders_are_left_alone(tmp_path):
  scenes.write_scenes(tmp_path / 'a', seed=1, train=1, val=1)
  before = contents(tmp_path / 'a')
  with pytest.raises(ValueError, match=r'scenes\.json is of other scenes.*1.*2'):
    scenes.write_scenes(tmp_path / 'a', seed=2, train=1, val=1)
  assert contents(tmp_path / 'a') == before
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine/photo.jpg').touch()
  with pytest.raises(ValueError, match='mine holds something else'):
    scenes.write_scenes(tmp_path / 'mine')
  assert list((tmp_path / 'mine').iterdir()) == [tmp_path / 'mine/photo.jpg']

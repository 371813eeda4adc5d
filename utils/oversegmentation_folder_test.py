import dataclasses
import os
import pathlib

import numpy as np
import pytest

from utils import files, images, resuming
from utils.contours import DETECTORS
from utils.oversegmentation import OversegmentationConfig
from utils.oversegmentation_benchmark import read_hierarchy
from utils.oversegmentation_folder import (
  Contours,
  contours_of,
  find_images,
  find_one,
  make_all,
  make_one,
  plan,
)

CONFIG = OversegmentationConfig()


@pytest.fixture
def folder(tmp_path):
  rng = np.random.default_rng(0)
  for name in 'abcd':
    images.write_png(
        tmp_path / f'images/{name}.png', rng.integers(0, 255, (20, 30, 3)).astype('u1'))
    if name != 'd':
      images.write_png(tmp_path / f'maps/{name}.png', rng.integers(0, 255, (20, 30)).astype('u1'))
  for path in tmp_path.glob('*/*.png'):  # a byte behind the picture's end, which `change` changes
    path.write_bytes(path.read_bytes() + b'\0')
  return tmp_path


def planned(folder, shard='0/1', source='maps', config=CONFIG, output='out', ucm=None,
            source_of_images='images'):
  contours = source if isinstance(source, Contours) else contours_of(
      source if source in DETECTORS else str(folder / source))
  return plan(
      str(folder / source_of_images), '', contours, str(folder / output), ucm, shard, config)


def make(jobs):
  for job in jobs:
    make_one(job, find_one(job, DETECTORS['gradient']), CONFIG)


def touch(path):
  """Another time and, as a copy's may be, older than the mask."""
  os.utime(path, ns=(10 ** 18, 10 ** 18))


def change(path):
  """Other content of the same size."""
  data = path.read_bytes()
  path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
  touch(path)


def test_what_is_there_is_kept_and_missing_maps_are_listed(folder):
  jobs, kept, missing = planned(folder, ucm=str(folder / 'ucm'))
  assert [job.image[-5:] for job in jobs] == ['a.png', 'b.png', 'c.png'] and kept == 0
  assert missing == [(str(folder / 'images/d.png'), str(folder / 'maps/d'))]
  count = make_one(jobs[0], find_one(jobs[0]), CONFIG)
  mask = images.read_mask(folder / 'out/a.png')
  assert mask.shape == (20, 30) and mask.max() + 1 == count <= 48
  hierarchy = read_hierarchy(folder / 'ucm/a.mat')
  np.testing.assert_array_equal(hierarchy.regions(hierarchy.threshold_for(48)), mask)
  jobs, kept, _ = planned(folder, ucm=str(folder / 'ucm'))
  assert len(jobs) == 2 and kept == 1


@pytest.mark.parametrize('changed', ['images/a.png', 'maps/a.png'])
def test_masks_of_files_that_have_changed_are_made_again(folder, capsys, changed):
  ucm = str(folder / 'ucm')
  make(planned(folder, ucm=ucm)[0])
  assert planned(folder, ucm=ucm)[:2] == ([], 3) and 'again' not in capsys.readouterr().out
  change(folder / changed)
  (folder / 'maps/b.png').unlink()  # what is not needed any more
  (folder / 'images').rename(folder / 'moved')
  jobs, kept, _ = planned(folder, ucm=ucm, source_of_images='moved')
  assert [job.image for job in jobs] == [str(folder / 'moved/a.png')] and kept == 2
  assert not (folder / 'out/a.png').exists() and not (folder / 'ucm/a.mat').exists()
  assert '1 masks are made again' in capsys.readouterr().out
  make(jobs)
  assert planned(folder, ucm=ucm, source_of_images='moved')[:2] == ([], 3)


def test_copies_of_the_same_content_make_nothing_again(folder, monkeypatch):
  """Another host's files have other times; those that have not are not read a second time."""
  make(planned(folder)[0])
  touch(folder / 'images/a.png')
  touch(folder / 'maps/b.png')
  read = []
  fingerprint = resuming.fingerprint
  monkeypatch.setattr(
      resuming, 'fingerprint', lambda path: read.append(pathlib.Path(path)) or fingerprint(path))
  assert planned(folder)[:2] == planned(folder)[:2] == ([], 3)
  assert read == [folder / 'images/a.png', folder / 'maps/b.png']


def test_times_count_where_an_older_version_kept_no_fingerprints(folder):
  make(planned(folder)[0])
  record = folder / 'out/oversegmentation.json'
  settings = files.read_json(record)
  settings['sources'] = {
      name: [state and state.rpartition(' ')[0] for state in states]
      for name, states in settings['sources'].items()}
  del settings['ucm_sources']
  files.write_json(record, settings)
  touch(folder / 'images/a.png')
  assert [job.image[-5] for job in planned(folder)[0]] == ['a']
  touch(folder / 'images/b.png')  # whose fingerprint is known by now
  assert [job.image[-5] for job in planned(folder)[0]] == ['a']


def test_hierarchies_that_a_call_without_them_left_behind_are_made_again(folder):
  ucm = str(folder / 'ucm')
  make(planned(folder, ucm=ucm)[0])
  old = (folder / 'ucm/a.mat').read_bytes()
  images.write_png(folder / 'maps/a.png', np.tile(np.arange(30, dtype='u1') * 8, (20, 1)))
  make(planned(folder)[0])
  assert planned(folder)[:2] == ([], 3) and (folder / 'ucm/a.mat').read_bytes() == old
  jobs, kept, _ = planned(folder, ucm=ucm)
  assert [job.image[-5] for job in jobs] == ['a'] and kept == 2
  make(jobs)
  assert (folder / 'ucm/a.mat').read_bytes() != old
  assert planned(folder, ucm=ucm)[:2] == ([], 3)


def test_masks_without_a_record_of_files_are_as_old_as_they_look(folder):
  make(planned(folder, source='gradient')[0])
  record = folder / 'out/oversegmentation.json'
  settings = files.read_json(record)
  del settings['sources']
  files.write_json(record, settings)
  os.utime(folder / 'images/c.png', ns=(4 * 10 ** 18, 4 * 10 ** 18))
  jobs, kept, _ = planned(folder, source='gradient')
  assert [job.image[-5] for job in jobs] == ['c'] and kept == 3


def test_parts_of_a_list_keep_each_others_record(folder):
  for index in range(2):
    make(planned(folder, f'{index}/2', 'gradient')[0])
  assert sorted(files.read_json(folder / 'out/oversegmentation.json')['sources']) == list('abcd')
  change(folder / 'images/d.png')
  assert [job.image[-5] for job in planned(folder, source='gradient')[0]] == ['d']


def test_a_detector_needs_no_maps(folder):
  jobs, _, missing = planned(folder, source='gradient')
  assert len(jobs) == 4 and not missing
  found = find_one(jobs[3], DETECTORS['gradient'])
  np.testing.assert_array_equal(
      found, DETECTORS['gradient'](images.read_image(folder / 'images/d.png')))
  assert 1 < make_one(jobs[3], found, CONFIG) <= 48


def test_a_detector_that_uses_all_cores_works_in_this_process(folder):
  processes = []

  def detector(image):  # which no other process could be given
    processes.append(os.getpid())
    if len(processes) == 2:
      raise RuntimeError('no memory')
    return np.linspace(0, 1, image[..., 0].size).reshape(image.shape[:2])
  contours = Contours({'contours': 'own'}, detector=detector, parallel=False)
  jobs, _, _ = planned(folder, source=contours)
  regions, failures = make_all(jobs, contours, CONFIG, workers=1)
  assert processes == [os.getpid()] * 4
  assert len(regions) == 3
  assert failures == [f'{folder / "images/b.png"}: RuntimeError: no memory']
  assert sorted(path.name for path in (folder / 'out').glob('*.png')) == ['a.png', 'c.png', 'd.png']


def test_contours_of_other_weights_are_not_mixed(folder):
  contours = Contours({'contours': 'hed', 'weights': '01'}, detector=abs, parallel=False)
  planned(folder, source=contours)
  planned(folder, source=contours)
  other = dataclasses.replace(contours, settings={'contours': 'hed', 'weights': '02'})
  with pytest.raises(ValueError, match="made otherwise.*'weights': '01'.*not.*'weights': '02'"):
    planned(folder, source=other)


def test_shards_are_a_partition(folder):
  parts = [planned(folder, f'{index}/3', 'gradient')[0] for index in range(3)]
  assert sorted(job.image[-5] for part in parts for job in part) == list('abcd')


def test_masks_made_otherwise_are_not_mixed(folder):
  planned(folder)
  with pytest.raises(ValueError, match='made otherwise'):
    planned(folder, config=OversegmentationConfig(max_regions=9))
  assert files.read_json(folder / 'out/oversegmentation.json')['max_regions'] == 48


@pytest.mark.parametrize('output', ['images', 'maps'])
def test_inputs_are_not_overwritten(folder, output):
  with pytest.raises(ValueError, match='another folder'):
    planned(folder, output=output)


def test_a_folder_of_maps_that_is_not_there_is_named(folder):
  with pytest.raises(FileNotFoundError, match='nowhere: neither a folder nor a built-in'):
    planned(folder, source='nowhere')


def test_images_of_lists(folder):
  (folder / 'list.txt').write_text('/images/b.png x y\n\nimages/a.png\nimages/b.png')
  assert find_images(folder / 'list.txt', str(folder)) == [
      str(folder / 'images/b.png'), str(folder / 'images/a.png')]
  with pytest.raises(FileNotFoundError, match='--images'):
    find_images(folder / 'none')
  (folder / 'empty').mkdir()
  with pytest.raises(ValueError, match='no images'):
    find_images(folder / 'empty')


def test_equal_names_are_refused(folder):
  (folder / 'list.txt').write_text('x/a.png\ny/a.jpg\n')
  with pytest.raises(ValueError, match='share one mask'):
    find_images(folder / 'list.txt')

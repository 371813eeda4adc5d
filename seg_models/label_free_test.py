import argparse
import shutil

import numpy as np
import pytest

from seg_models import inference, label_free
from seg_models.bank import load_part
from seg_models.inference_test import save_checkpoint
from seg_models.pseudo_classes import load_pseudo_classes
from seg_models.segment_folder import SegmentFolder
from utils import files, scenes
from utils.images import read_image, read_mask, write_png

IDS = [f'train_{index:04}' for index in range(5)]
PER_IMAGE = ('segments/{}.png', 'outlines/{}.png', 'pca/{}.png', 'parts/{}.npz')
LABELS = ('gray/{}.png', 'color/{}.png')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """Scenes without their masks, two lists, and checkpoints of small random networks."""
  folder = tmp_path_factory.mktemp('data')
  scenes.write_scenes(folder / 'scenes', train=5, val=2)
  for path in (folder / 'scenes' / 'segcls').iterdir():
    path.unlink()
  for seed, name in enumerate(('model', 'other')):
    rng = np.random.default_rng(seed)
    save_checkpoint(folder / f'{name}.ckpt-1', change=lambda name, value, rng=rng: (
        value + rng.normal(0, 0.01, value.shape).astype(np.float32)))
  return folder


def run(data, save_dir, **more):
  values = {'data_dir': data / 'scenes', 'data_list': data / 'scenes' / 'train.txt',
            'restore_from': data / 'model.ckpt-1', 'save_dir': save_dir, 'num_clusters': 3,
            'kmeans_iterations': 3, **more}
  arguments = []
  for name, value in values.items():
    arguments += [f'--{name}'] if value is True else [f'--{name}', str(value)]
  return inference.run_from_arguments(
      label_free.predict_segsort, argparse.ArgumentParser(), label_free.SEGSORT, arguments)


def contents(folder):
  """The PNG files of a folder and what they hold."""
  return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*.png')}


@pytest.fixture(scope='module')
def grouped(data, tmp_path_factory):
  folder = tmp_path_factory.mktemp('grouped')
  assert run(data, folder, cluster_classes=4) == 0
  return folder


def test_segments_and_pictures_of_every_image(data, grouped, tmp_path, capsys):
  assert run(data, tmp_path, no_bank=True) == 0
  assert f'5 images in {tmp_path}: segments/' in capsys.readouterr().out
  for name in IDS:
    image = read_image(data / 'scenes' / 'JPEGImages' / f'{name}.jpg')
    ids, part = read_mask(tmp_path / f'segments/{name}.png'), load_part(
        tmp_path / f'parts/{name}.npz')
    assert ids.shape == image.shape[:2]
    np.testing.assert_array_equal(np.bincount(ids.ravel()), part.pixels)
    assert 1 < len(part) <= 9
    assert set(part.images) == {f'JPEGImages/{name}.jpg'}
    pca = read_image(tmp_path / f'pca/{name}.png')
    assert pca.shape == image.shape and pca.std() > 5
    assert read_image(tmp_path / f'outlines/{name}.png').shape == image.shape
  assert not (tmp_path / 'gray').exists() and not (tmp_path / 'clusters.npz').exists()
  # A grouping of them adds to these very files.
  assert contents(tmp_path).items() <= contents(grouped).items()


@pytest.mark.slow
def test_shares_meet_in_the_same_groups(data, grouped, tmp_path, capsys):
  assert run(data, tmp_path, cluster_classes=4, shard='1/2') == 0
  assert 'part 1 of 2 (2 images) is done; 3 images are left' in capsys.readouterr().out
  assert not (tmp_path / 'gray').exists()
  assert run(data, tmp_path, cluster_classes=4, shard='0/2') == 0
  assert contents(tmp_path) == contents(grouped)


def test_colours_cover_the_data_set(grouped):
  """One basis: the colours of all images together are centred on gray, those of each are not."""
  pictures = [read_image(grouped / f'pca/{name}.png').reshape(-1, 3).astype(float)
              for name in IDS]
  means = np.array([picture.mean(axis=0) for picture in pictures])
  assert abs(np.mean(means, axis=0) - 127.5).max() < 10
  assert abs(means - 127.5).max() > 15


def test_groups_are_those_of_all_segments_by_their_prototypes(grouped):
  classes = load_pseudo_classes(grouped / 'clusters.npz')
  assert len(classes) == 4
  pixels, segments = np.zeros(4, int), np.zeros(4, int)
  for name in IDS:
    gray, ids = read_mask(grouped / f'gray/{name}.png'), read_mask(grouped / f'segments/{name}.png')
    part = load_part(grouped / f'parts/{name}.npz')
    labels = (part.features @ classes.centres.T).argmax(axis=1)
    np.testing.assert_array_equal(gray, labels[ids])
    pixels += np.bincount(gray.ravel(), minlength=4)
    segments += np.bincount(labels, minlength=4)
  np.testing.assert_array_equal(classes.pixels, pixels)
  np.testing.assert_array_equal(classes.segments, segments)
  assert (np.diff(pixels) <= 0).all() and pixels[-1] > 0  # the largest first, none empty
  assert read_image(grouped / 'clusters.png').shape[0] > 4 * 80
  assert len(np.unique(read_image(grouped / f'color/{IDS[0]}.png').reshape(-1, 3), axis=0)) == len(
      np.unique(read_mask(grouped / f'gray/{IDS[0]}.png')))


def test_what_is_there_is_not_made_again(data, grouped, capsys, monkeypatch):
  before = {path: path.stat().st_mtime_ns for path in grouped.rglob('*.png')}
  monkeypatch.setattr(label_free, 'Embedder', None)
  assert run(data, grouped, cluster_classes=4) == 0
  assert 'holds all results of 5 images: nothing to do' in capsys.readouterr().out
  assert {path: path.stat().st_mtime_ns for path in grouped.rglob('*.png')} == before
  (grouped / 'clusters.png').unlink()
  assert run(data, grouped, cluster_classes=4) == 0 and (grouped / 'clusters.png').exists()


def test_other_groups_need_no_network_and_replace_the_finished_ones(
    data, grouped, tmp_path, capsys, monkeypatch):
  run(data, tmp_path, cluster_classes=4)
  monkeypatch.setattr(label_free, 'Embedder', None)
  assert run(data, tmp_path, cluster_classes=2, cluster_weights='segments') == 0
  assert 'the results of a finished run with other settings (cluster_classes: 4 there, 2 now' in (
      capsys.readouterr().out)
  assert read_mask(tmp_path / f'gray/{IDS[0]}.png').max() < 2
  assert len(load_pseudo_classes(tmp_path / 'clusters.npz')) == 2
  assert run(data, tmp_path, cluster_classes=4) == 0
  assert contents(tmp_path) == contents(grouped)


def test_groups_of_other_segments_do_not_stay(data, grouped, tmp_path):
  for change in ({'num_clusters': 2}, {'overwrite': True}):
    folder = tmp_path / next(iter(change))
    shutil.copytree(grouped, folder)
    assert run(data, folder, no_bank=True, **change) == 0
    assert len(list(folder.glob('segments/*.png'))) == 5
    assert not [*folder.glob('clusters.*'), *folder.glob('gray/*'), *folder.glob('color/*')]


def test_an_interrupted_run_goes_on_to_the_same_files(data, grouped, tmp_path, monkeypatch):
  write, written = SegmentFolder.write, []

  def interrupted(self, entry, *rest):
    if len(written) == 3:
      raise KeyboardInterrupt
    written.append(entry.id)
    write(self, entry, *rest)

  monkeypatch.setattr(SegmentFolder, 'write', interrupted)
  with pytest.raises(KeyboardInterrupt):
    run(data, tmp_path, cluster_classes=4)
  assert len(list((tmp_path / 'segments').iterdir())) == 3
  with pytest.raises(ValueError, match='unfinished run with other settings'):
    run(data, tmp_path, cluster_classes=4, num_clusters=2)
  written.clear()
  monkeypatch.setattr(SegmentFolder, 'write', lambda self, entry, *rest: (
      written.append(entry.id), write(self, entry, *rest)))
  assert run(data, tmp_path, cluster_classes=4) == 0
  assert written == IDS[3:]
  assert contents(tmp_path) == contents(grouped)


@pytest.mark.slow
def test_a_run_interrupted_while_labelling_goes_on(data, grouped, tmp_path, monkeypatch):
  class Interrupted(label_free.PredictionFolder):
    def write(self, entry, labels):
      if entry.id == IDS[2]:
        raise KeyboardInterrupt
      super().write(entry, labels)

  with monkeypatch.context() as patch:
    patch.setattr(label_free, 'PredictionFolder', Interrupted)
    with pytest.raises(KeyboardInterrupt):
      run(data, tmp_path, cluster_classes=4)
  assert len(list((tmp_path / 'gray').iterdir())) == 2
  with pytest.raises(ValueError, match='unfinished run with other settings'):
    run(data, tmp_path, cluster_classes=4, num_clusters=2)
  monkeypatch.setattr(label_free, 'Embedder', None)
  assert run(data, tmp_path, cluster_classes=4) == 0
  assert contents(tmp_path) == contents(grouped)


def test_another_list_is_labelled_by_the_groups_of_the_first(data, grouped, tmp_path, capsys):
  centres = grouped / 'clusters.npz'
  val = data / 'scenes' / 'val.txt'
  assert run(data, tmp_path / 'val', data_list=val, cluster_centres=centres) == 0
  assert '4 pseudo-classes of' in capsys.readouterr().out
  classes = load_pseudo_classes(tmp_path / 'val' / 'clusters.npz')
  assert '"name": "fcn_resnet50"' in classes.embedding
  assert classes.fingerprint() == load_pseudo_classes(centres).fingerprint()
  assert len(list((tmp_path / 'val' / 'gray').iterdir())) == 2
  # The list that they were found on gets the labels that it had.
  assert run(data, tmp_path / 'train', cluster_centres=centres) == 0
  assert contents(tmp_path / 'train') == contents(grouped)
  with pytest.raises(ValueError, match=r'clusters.npz are of .*another checkpoint'):
    run(data, tmp_path / 'val', restore_from=data / 'other.ckpt-1', cluster_centres=centres)


@pytest.mark.slow
def test_a_changed_image_changes_the_groups(data, tmp_path):
  names = ['a', 'b']
  for name in names:
    image = read_image(data / 'scenes' / 'JPEGImages' / f'{IDS[names.index(name)]}.jpg')
    write_png(tmp_path / f'{name}.png', image)
  (tmp_path / 'list.txt').write_text('a.png\nb.png\n')
  options = {'data_dir': tmp_path, 'data_list': tmp_path / 'list.txt', 'cluster_classes': 2}
  run(data, tmp_path / 'out', **options)
  before = load_pseudo_classes(tmp_path / 'out' / 'clusters.npz')
  kept = (tmp_path / 'out' / 'segments' / 'a.png').stat().st_mtime_ns
  write_png(tmp_path / 'b.png', read_image(data / 'scenes' / 'JPEGImages' / f'{IDS[2]}.jpg'))
  run(data, tmp_path / 'out', **options)
  after = load_pseudo_classes(tmp_path / 'out' / 'clusters.npz')
  assert after.inputs != before.inputs and after.pixels.sum() != before.pixels.sum()
  assert (tmp_path / 'out' / 'segments' / 'a.png').stat().st_mtime_ns == kept
  assert read_mask(tmp_path / 'out' / 'gray' / 'b.png').shape == (
      read_image(tmp_path / 'b.png').shape[:2])


def test_segments_that_begin_with_an_oversegmentation(data, tmp_path, capsys):
  for name in IDS:
    image = read_image(data / 'scenes' / 'JPEGImages' / f'{name}.jpg')
    halves = np.arange(image.shape[1]) // (image.shape[1] // 2)
    write_png(tmp_path / f'{name}.png', np.tile(halves.astype(np.uint8), [len(image), 1]))
  options = {'no_bank': True, 'oversegmentation_dir': tmp_path, 'kmeans_iterations': 0,
             'initial_segments': 'oversegmentation'}
  assert run(data, tmp_path / 'out', **options) == 0
  for name in IDS:
    np.testing.assert_array_equal(
        read_mask(tmp_path / f'out/segments/{name}.png'), read_mask(tmp_path / f'{name}.png'))
  write_png(tmp_path / f'{IDS[1]}.png', read_mask(tmp_path / f'{IDS[1]}.png').astype(np.uint16))
  capsys.readouterr()
  assert run(data, tmp_path / 'out', **options) == 0  # what it was made from has changed
  assert '4 files made from images or masks that have changed' in capsys.readouterr().out


@pytest.mark.parametrize('flags, message', [
    ({'no_bank': True, 'prototype_dir': 'x'}, '--prototype_dir .* leave one of them out'),
    ({'cluster_classes': 3, 'prototype_dir': 'x'}, '--prototype_dir .* leave one of them out'),
    ({'cluster_centres': 'x', 'prototype_dir': 'x'}, '--prototype_dir .* leave one of them out'),
    ({'cluster_classes': 0}, '--cluster_classes 0: expected 1 to 65535'),
    ({'cluster_classes': 65536}, '--cluster_classes 65536: expected 1 to 65535'),
    ({'cluster_classes': 3, 'cluster_centres': 'x'}, 'give one of them'),
    ({'no_bank': True, 'save_neighbours': True}, '--save_neighbours .* without one'),
    ({'no_bank': True, 'flip_aug': True}, 'without a bank .* a single scale'),
    ({'cluster_classes': 3, 'scale_aug': True}, 'without a bank .* a single scale'),
    ({'no_bank': True, 'windows': True, 'window_clusters': True}, '--window_clusters needs a bank'),
    ({'cluster_classes': 3, 'cluster_restarts': 0}, '--cluster_restarts 0'),
    ({'cluster_classes': 3, 'seed': -1}, '--seed -1'),
    ({}, '--prototype_dir missing: .*--no_bank'),
])
def test_what_does_not_go_together_is_refused_before_anything(data, tmp_path, flags, message):
  with pytest.raises(ValueError, match=message):
    run(data, tmp_path / 'out', restore_from='none', data_list='none', **flags)
  assert not (tmp_path / 'out').exists()


def test_more_groups_than_segments_are_refused_and_the_segments_kept(data, tmp_path):
  with pytest.raises(ValueError, match='--cluster_classes 500: the images have'):
    run(data, tmp_path, cluster_classes=500)
  assert len(list((tmp_path / 'segments').iterdir())) == 5
  record = files.read_json(tmp_path / 'segments.json')
  assert record['complete'] and 'num_classes' not in record['settings']


@pytest.mark.slow
def test_a_truncated_image_stops_with_its_name_and_the_rest_is_kept(data, tmp_path):
  images = data / 'scenes' / 'JPEGImages'
  (tmp_path / 'b.jpg').write_bytes((images / f'{IDS[0]}.jpg').read_bytes()[:2000])
  (tmp_path / 'list.txt').write_text(f'{images}/{IDS[1]}.jpg\n{tmp_path}/b.jpg\n')
  (tmp_path / 'good.txt').write_text(f'{images}/{IDS[1]}.jpg\n')
  for name in ('good', 'list'):
    options = {'data_dir': '', 'data_list': tmp_path / f'{name}.txt', 'no_bank': True}
    if name == 'good':
      assert run(data, tmp_path / 'out', **options) == 0
    else:
      with pytest.raises(ValueError, match='b.jpg.*truncated'):
        run(data, tmp_path / 'out', **options)
  assert [path.stem for path in (tmp_path / 'out' / 'segments').iterdir()] == [IDS[1]]


def test_by_a_bank_all_is_as_it_was(monkeypatch):
  reached = []
  monkeypatch.setattr(inference, 'predict_segsort', lambda *configs: reached.append(configs))
  parser = argparse.ArgumentParser()
  inference.run_from_arguments(
      label_free.predict_segsort, parser, label_free.SEGSORT, ['--prototype_dir', 'P'])
  (configs,) = reached
  assert tuple(type(config) for config in configs) == inference.SEGSORT
  assert configs[4].prototype_dir == 'P'

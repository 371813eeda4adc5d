import argparse
import dataclasses
import json
import signal

import numpy as np
import pytest
import tensorflow as tf

from seg_models.datasets import dataset_for
from seg_models.frozen import run
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.trained import load_trained
from seg_models.models import ModelConfig, build_model, variable_names
from utils import checkpoints, images, training
from utils.optimizer import is_kernel
from utils.scenes import write_scenes


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Scenes, and a small trunk's weights."""
  path = tmp_path_factory.mktemp('frozen')
  write_scenes(path / 'scenes', train=8, val=2)
  config = ModelConfig('features_resnet50', width=0.125, blocks=(1, 1, 1, 1))
  checkpoints.save(path / 'trunk', {
      name: value.numpy() for name, value in variable_names(build_model(config)).items()},
      {'model': dataclasses.asdict(config)})
  return path


def flags_of(folder, name, **flags):
  scenes = folder / 'scenes'
  return {
      'backbone': 'resnet50', 'restore_from': folder / 'trunk', 'size': 32,
      'data_dir': scenes, 'data_list': scenes / 'train.txt', 'dataset': 'scenes',
      'cache_dir': folder / 'cache', 'snapshot_dir': folder / name, 'batch_size': 4,
      'num_steps': 6, 'save_pred_every': 2, 'update_tb_every': 1, **flags}


def train(method, flags):
  parser = argparse.ArgumentParser()
  run.add_training_arguments(parser, method)
  given = [part for name, value in flags.items()
           for part in (f'--{name}', *[str(value)] * (value is not True))]
  return run.train_from_arguments(method, parser.parse_args(given))


@pytest.mark.slow
@pytest.mark.parametrize('method', FROZEN_METHODS)
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(folder, method, monkeypatch):
  whole, parts = folder / f'{method}_whole', folder / f'{method}_parts'
  flags = flags_of(folder, whole.name, pictures_every=3)
  assert train(method, flags) == 0
  batches = run.frozen_batches

  def interrupted(*arguments, **options):
    for number, batch in enumerate(batches(*arguments, **options)):
      if number == 3:
        signal.raise_signal(signal.SIGINT)
      yield batch

  monkeypatch.setattr(run, 'frozen_batches', interrupted)
  flags['snapshot_dir'] = parts
  assert train(method, flags) == 130
  monkeypatch.setattr(run, 'frozen_batches', batches)
  assert train(method, flags) == 0
  assert train(method, flags) == 0  # nothing is left to do
  expected, found = (checkpoints.open_archive(path / 'model.ckpt-5') for path in (whole, parts))
  assert found.names() == expected.names()
  for name in expected.names():
    np.testing.assert_array_equal(found.read(name), expected.read(name), err_msg=name)
  losses = [[json.loads(line)['loss'] for line in (path / 'metrics.jsonl').read_text().split('\n')
             if line] for path in (whole, parts)]
  assert losses[0] == losses[1] and len(losses[0]) == 6


@pytest.mark.slow
def test_devices_that_divide_the_batch_train_as_one(folder, capsys):
  flags = flags_of(folder, 'one_device', optimizer='momentum', learning_rate=1e-5, num_steps=2,
                   dim=6, feature_samples=3, num_neighbors=2, pictures_every=1)
  assert train('stego', flags) == 0
  several = {**flags, 'snapshot_dir': folder / 'devices', 'num_gpu': 3}
  assert train('stego', several) == 0
  assert '2 of 3 GPUs are used, for --batch_size 4' in capsys.readouterr().out
  settings = json.loads((folder / 'devices/config.json').read_text())['config']
  assert settings['replicas'] == 2
  expected, found = (checkpoints.open_archive(path / 'model.ckpt-1')
                     for path in (folder / 'one_device', folder / 'devices'))
  assert found.names() == expected.names()
  for name in expected.names():
    value = expected.read(name)
    scale = max(np.abs(value).max(initial=0), 1e-3)
    np.testing.assert_allclose(found.read(name), value, atol=1e-4 * scale, rtol=0, err_msg=name)
  with pytest.raises(ValueError, match='--jit_compile.*one device'):
    train('stego', {**several, 'jit_compile': True})


def test_features_are_made_once_and_other_weights_are_another_run(folder, capsys):
  flags = flags_of(folder, 'once', num_steps=1)
  assert train('dino_linear', flags) == 0
  there = sorted(path.name for path in (folder / 'cache').iterdir())
  assert train('dino_linear', {**flags, 'snapshot_dir': folder / 'again'}) == 0
  assert sorted(path.name for path in (folder / 'cache').iterdir()) == there
  other = ModelConfig('features_resnet50', width=0.125, blocks=(1, 1, 1, 1))
  checkpoints.save(folder / 'other', {
      name: value.numpy() for name, value in variable_names(build_model(other, seed=1)).items()},
      {'model': dataclasses.asdict(other)})
  with pytest.raises(ValueError, match='another configuration.*trunk'):
    train('dino_linear', {**flags, 'restore_from': folder / 'other'})
  capsys.readouterr()


def test_a_folder_of_images_needs_no_label_anywhere(folder, tmp_path):
  for index in range(3):
    picture = np.random.default_rng(index).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    images.write_png(tmp_path / 'photos' / f'{index}.png', picture)
  flags = flags_of(folder, 'photos', images=tmp_path / 'photos', num_classes=4, batch_size=2,
                   num_steps=1, crops='five')
  for name in ('data_dir', 'data_list', 'dataset'):
    del flags[name]
  assert train('dino_kmeans', flags) == 0
  trained = load_trained(str(folder / 'photos'))
  assert list(trained.probes()) == ['clusters'] and not trained.labelled
  assert trained.dataset.num_classes == 4
  centres = trained.method.variables()['cluster_probe/centroids'].numpy()
  np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize('change, message', [
    ({'snapshot_dir': ''}, '--snapshot_dir is missing'),
    ({'batch_size': 9}, '--batch_size 9: there are only 8'),
    ({'data_list': ''}, 'which images'),
    ({'size': 0}, '--size 0'),
    ({'restore_from': ''}, '--restore_from is missing')])
def test_what_is_wrong_is_named_before_training(folder, change, message, tmp_path):
  flags = flags_of(folder, 'wrong', snapshot_dir=tmp_path)
  with pytest.raises(ValueError, match=message):
    train('dino_linear', {**flags, **change})
  assert not list(tmp_path.glob('model.ckpt*'))


def test_a_linear_probe_without_masks_is_refused(folder, tmp_path):
  data_list = tmp_path / 'list.txt'
  data_list.write_text('\n'.join(
      line.split()[0] for line in (folder / 'scenes/train.txt').read_text().splitlines()))
  with pytest.raises(ValueError, match='dino_linear is trained on masks'):
    train('dino_linear', flags_of(folder, 'bare', data_list=data_list))


@pytest.mark.parametrize('method', ['stego', 'smooseg'])
def test_a_batch_of_one_is_refused_before_anything_long(folder, method, tmp_path):
  with pytest.raises(ValueError, match=f'--batch_size 1: {method} compares images'):
    train(method, flags_of(folder, 'one', snapshot_dir=tmp_path / 'run', batch_size=1,
                           restore_from='missing'))


@pytest.mark.parametrize('change, message', [
    ({'batch_size': 9}, '--batch_size 9: there are only 8'),
    ({'num_neighbors': 8}, '--num_neighbors 8: expected 1 to 7')])
def test_too_few_images_are_said_before_anything_long(
    folder, change, message, tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'FeatureStore', None)
  with pytest.raises(ValueError, match=message):
    train('stego', flags_of(folder, 'few', snapshot_dir=tmp_path / 'run', **change))


@pytest.mark.parametrize('method', FROZEN_METHODS)
def test_every_method_has_weights_that_decay(method):
  """--weight_decay does nothing but for variables of certain names."""
  method_class = FROZEN_METHODS[method]
  config = method_class.Config()
  model = method_class.build_head(6, config, 0)
  names = method_class(model, dataset_for(None, 3), config, 2, 0).variables()
  decaying = {name for name in names if is_kernel(name)}
  heads = {f'head/{layer}/kernel' for layer in ('linear', 'hidden', 'last')}
  assert decaying == {'linear_probe/kernel', *(heads if method in ('stego', 'smooseg') else ())}


def test_how_many_clusters_must_be_said():
  with pytest.raises(ValueError, match='--num_classes is missing'):
    run.ImagesConfig(images='photos').descriptor()
  with pytest.raises(ValueError, match='--crops two'):
    run.ImagesConfig(crops='two')
  assert run.ImagesConfig(dataset='potsdam3').descriptor().num_classes == 3


def test_a_warning_is_said_once(tmp_path, capsys):
  folder = run._WatchedFolder(
      tmp_path, 0, lambda metrics: 'codes have collapsed' if metrics['loss'] < 1 else None)
  for step, loss in enumerate((2.0, 0.5, 0.4)):
    folder.scalars(step, {'loss': tf.constant(loss)})
  folder.close()
  assert capsys.readouterr().out.count('step 1: codes have collapsed') == 1
  assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 3


def test_histograms_that_a_chief_cannot_draw_are_said(capsys):
  loop = training.TrainingConfig(batch_size=4)
  run.warn_of_histograms(loop, 2, 2)
  run.warn_of_histograms(dataclasses.replace(loop, pictures_every=0), 4, 2)
  assert not capsys.readouterr().out
  run.warn_of_histograms(loop, 4, 2)
  assert 'No histograms are drawn: the chief has 1 of --batch_size 4' in capsys.readouterr().out


def test_presets_go_before_defaults_and_flags_before_presets(monkeypatch, capsys):
  seen = {}
  monkeypatch.setattr(run, 'train_frozen', lambda name, *configs: seen.update(
      {key: value for config in configs for key, value in dataclasses.asdict(config).items()}))
  parser = argparse.ArgumentParser()
  run.add_training_arguments(parser, 'smooseg')
  run.train_from_arguments('smooseg', parser.parse_args(
      ['--preset', 'potsdam3', '--batch_size', '7']))
  assert (seen['dataset'], seen['backbone'], seen['batch_size']) == ('potsdam3', 'dino_vitb8', 7)
  assert (seen['optimizer'], seen['within_threshold'], seen['crops']) == ('adam', 0.1, 'one')
  assert seen['resampling'] == 'nearest' and not seen['faithful_pairing']
  said = capsys.readouterr().out
  assert said.startswith('--preset potsdam3 is --across_threshold 0.5 --backbone dino_vitb8 ')
  assert '--learning_rate 0.0001 ' in said and said.endswith('in its place: --batch_size 7\n')
  run.train_from_arguments('smooseg', parser.parse_args(['--backbone', 'mobilenet_v2']))
  assert not capsys.readouterr().out
  text = ' '.join(parser.format_help().split())
  assert 'Two things stay ours' in text and '(--faithful_pairing), and crops' in text

"""STEGO as a user runs it on a folder of images without labels."""

import importlib
import sys

import numpy as np
import pytest
from PIL import Image

from pyscripts.inference import inference_clusters
from seg_models.frozen import run
from utils import checkpoints

TRUNK = ['--backbone', 'mobilenet_v2', '--random_backbone', '--size', '32', '--num_classes', '3']


@pytest.fixture
def main(monkeypatch):
  monkeypatch.syspath_prepend('pyscripts/train')
  yield importlib.import_module('train_stego').main
  for name in ('train_stego', 'train_frozen'):
    sys.modules.pop(name, None)


@pytest.fixture
def images(tmp_path):
  """Images of every kind: gray, with a palette, with transparency, wide and high; and a text."""
  folder = tmp_path / 'images'
  folder.mkdir()
  random = np.random.default_rng(0)
  for index, (mode, size) in enumerate((
      ('L', (40, 50)), ('P', (60, 36)), ('RGBA', (48, 48)), ('RGB', (33, 70)), ('RGB', (64, 40)))):
    pixels = random.integers(0, 256, [*size, 3], dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(folder / f'image{index}.png')
  (folder / 'notes.txt').write_text('no image')
  return folder


@pytest.mark.slow
def test_a_folder_of_images_becomes_clusters(main, images, tmp_path, capsys):
  flags = [
      *TRUNK, '--images', str(images), '--cache_dir', str(tmp_path / 'cache'), '--snapshot_dir',
      str(tmp_path / 'run'), '--batch_size', '3', '--num_neighbors', '2', '--feature_samples', '3',
      '--dim', '5', '--save_pred_every', '2', '--pictures_every', '2', '--crf_weight', '0.1',
      '--crf_samples', '20']
  assert main([*flags, '--num_steps', '4']) == 0
  assert checkpoints.latest(tmp_path / 'run').name == 'model.ckpt-3'
  lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
  assert '"random_similarity"' in lines[0] and '"linear_loss": 0.0' in lines[0]
  assert any((tmp_path / 'run').glob('events.*'))
  capsys.readouterr()
  assert main([*flags, '--num_steps', '4']) == 0
  assert 'nothing to do' in capsys.readouterr().out
  assert inference_clusters.main([
      '--restore_from', str(tmp_path / 'run'), '--images', str(images), '--size', '32',
      '--save_dir', str(tmp_path / 'out')]) == 0
  for index, size in enumerate(((50, 40), (36, 60), (48, 48), (70, 33), (40, 64))):
    with Image.open(tmp_path / f'out/gray/image{index}.png') as gray:
      assert gray.size == size and np.asarray(gray).max() < 3
    assert (tmp_path / f'out/color/image{index}.png').exists()


def test_a_batch_of_one_image_is_refused_before_anything_long(main, images, tmp_path):
  with pytest.raises(ValueError, match='--batch_size 1: stego compares images .* at least 2'):
    main([*TRUNK, '--images', str(images), '--snapshot_dir', str(tmp_path / 'run'),
          '--batch_size', '1'])


def test_the_method_has_to_come_first(main, capsys):
  del main  # which puts the scripts on the path
  with pytest.raises(SystemExit):
    sys.modules['train_frozen'].main(['--snapshot_dir', 'run', 'stego'])
  assert 'stego: the method has to be the first argument' in capsys.readouterr().err


def test_presets_and_flags_of_the_original(main, monkeypatch):
  """A preset gives the trunk and the settings; flags that are given besides go before them."""
  seen = {}

  def keep(method, *configs):
    seen.update({name: value for config in configs for name, value in vars(config).items()},
                method=method)
    return 0
  monkeypatch.setattr(run, 'train_frozen', keep)
  assert main(['--preset', 'cityscapes27', '--pos_intra_shift', '0.4', '--stabalize', '--data_dir',
               'lr=0.1/size=2']) == 0
  assert seen['method'] == 'stego' and seen['backbone'] == 'dino_vitb8'
  assert (seen['self_shift'], seen['stabilize'], seen['dim']) == (0.4, True, 100)
  assert seen['data_dir'] == 'lr=0.1/size=2'  # which the original's command line refuses
  assert (seen['optimizer'], seen['learning_rate'], seen['crops']) == ('adam', 5e-4, 'five')

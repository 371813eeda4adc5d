"""SmooSeg as a user runs it, on a folder of images without any label."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from utils import checkpoints

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(script, *flags):
  return subprocess.run(
      [sys.executable, str(ROOT / 'pyscripts' / script), *map(str, flags)], capture_output=True,
      text=True, timeout=300, check=False, env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'})


@pytest.mark.slow
def test_from_a_folder_of_images_to_pictures(tmp_path):
  random = np.random.default_rng(0)
  folder, snapshot = tmp_path / 'photos', tmp_path / 'run'
  folder.mkdir()
  for index in range(6):
    image = random.integers(0, 40, [48, 64, 3])
    image[:, 8 * index + 8:] += np.array([160, 20, 90])
    Image.fromarray(image.astype(np.uint8)).save(folder / f'{index}.png')
  flags = ['--images', folder, '--num_classes', 3, '--backbone', 'mobilenet_v2',
           '--random_backbone', '--size', 48, '--batch_size', 4, '--num_steps', 3, '--dim', 8,
           '--snapshot_dir', snapshot, '--cache_dir', tmp_path / 'cache']
  result = run('train/train_smooseg.py', *flags)
  assert result.returncode == 0, result.stderr
  archive = checkpoints.open_archive(str(snapshot / 'model.ckpt-2'))
  assert archive.shape('state/teacher') == archive.shape('student/prototypes') == (3, 8)
  assert np.any(archive.read('state/teacher') != archive.read('student/prototypes'))
  last = json.loads((snapshot / 'metrics.jsonl').read_text().splitlines()[-1])
  assert last['step'] == 2 and last['linear_loss'] == 0
  assert {'within_distance', 'across_distance', 'effective_rank', 'used_clusters'} <= last.keys()

  result = run('inference/inference_clusters.py', '--restore_from', snapshot, '--images', folder,
               '--size', 48, '--save_dir', tmp_path / 'out')
  assert result.returncode == 0, result.stderr
  clusters = np.asarray(Image.open(tmp_path / 'out' / 'gray' / '0.png'))
  assert clusters.shape == (48, 64) and clusters.max() < 3


def test_a_preset_without_its_weights_is_refused(tmp_path, monkeypatch):
  (tmp_path / 'photos').mkdir()
  Image.new('RGB', (40, 40)).save(tmp_path / 'photos' / 'a.png')
  monkeypatch.syspath_prepend(ROOT / 'pyscripts/train')
  with pytest.raises((ValueError, OSError), match='--restore_from'):
    importlib.import_module('train_smooseg').main([
        '--preset', 'cityscapes27', '--images', str(tmp_path / 'photos'), '--snapshot_dir',
        str(tmp_path / 'run')])

"""Training over two processes on this machine: SegSort, where one is killed, and `METHODS`.

Those are all that train a network, and of those on frozen features STEGO: SmooSeg and DINO's probes
are put together by the same module.
"""

import dataclasses
import importlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from seg_models.models import ModelConfig, build_model, variable_names
from utils import checkpoints

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS, EVERY = 40, 5
# A small rate: clusters are discrete, and a large one lets rounding grow from step to step. What is
# compared is then in the momenta, the moving statistics and the memory.
ALL = ['--num_classes', '2', '--batch_size', '2', '--learning_rate', '1e-6']
CROPS = [*ALL, '--model', 'fcn_resnet50', '--width', '0.125', '--blocks', '1,1,1,1',
         '--input_size', '32,32', '--random_mirror', '--random_crop', '--pictures_every', '0']
FLAGS = [*CROPS, '--embedding_dim', '8', '--num_clusters', '2', '--num_steps', str(STEPS),
         '--save_pred_every', str(EVERY)]
METHODS = {
    'softmax': CROPS,
    'segsort_unsup': [*CROPS, '--embedding_dim', '8', '--oversegmentation_dir', '{data}/regions'],
    'contrast': [*CROPS, '--max_views', '3', '--memory', 'both', '--memory_size', '5',
                 '--projection_dim', '8', '--warmup_steps', '0'],
    # One image a worker, which has no other to be compared with but that of the other worker.
    'stego': [*ALL, '--optimizer', 'momentum', '--backbone', 'resnet50', '--restore_from',
              '{data}/trunk', '--size', '32', '--dim', '6', '--feature_samples', '2',
              '--neg_samples', '1', '--num_neighbors', '2', '--cache_dir', '{beside}/cache']}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """Five small images of two classes with masks, and a list of them."""
  folder = tmp_path_factory.mktemp('data')
  random = np.random.default_rng(0)
  lines = []
  for index in range(5):
    mask = np.zeros([40, 56], np.uint8)
    mask[:, 8 * index + 4:] = 1
    image = np.where(mask[..., None] == 1, 200, 40) + random.integers(0, 50, [40, 56, 3])
    Image.fromarray(image.astype(np.uint8)).save(folder / f'image{index}.jpg')
    Image.fromarray(mask).save(folder / f'mask{index}.png')
    regions = np.arange(56) // 8 + 10 * (np.arange(40)[:, None] // (8 + index))
    (folder / 'regions').mkdir(exist_ok=True)
    Image.fromarray(regions.astype(np.uint8)).save(folder / f'regions/image{index}.png')
    lines.append(f'image{index}.jpg mask{index}.png\n')
  (folder / 'list.txt').write_text(''.join(lines))
  (folder / 'images.txt').write_text(''.join(f'{line.split()[0]}\n' for line in lines))
  config = ModelConfig('features_resnet50', width=0.125, blocks=(1, 1, 1, 1))
  checkpoints.save(folder / 'trunk', {
      name: value.numpy() for name, value in variable_names(build_model(config)).items()},
      {'model': dataclasses.asdict(config)})
  return folder


def arguments_of(method, data, snapshot, *flags):
  """A command line, without the script, of --num_steps `STEPS`, or a few where no worker dies."""
  flags = [*(FLAGS if method == 'segsort' else [*METHODS[method], '--num_steps', '3']), *flags]
  flags = [flag.format(data=data, beside=snapshot.parent) for flag in flags]
  listed = data / ('images.txt' if method == 'segsort_unsup' else 'list.txt')
  return ['--data_dir', str(data), '--data_list', str(listed), '--snapshot_dir', str(snapshot),
          *flags]


def start(data, snapshot, *flags, method='segsort'):
  return subprocess.Popen(
      [sys.executable, str(ROOT / f'pyscripts/train/train_{method}.py'),
       *arguments_of(method, data, snapshot, *flags)],
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
      env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'})


def start_both(data, tmp_path, *flags, method='segsort'):
  """Two workers; the second one has no folder in common with the chief, but for its features."""
  ports = []
  for _ in range(2):
    with socket.socket() as probe:
      probe.bind(('127.0.0.1', 0))
      ports.append(probe.getsockname()[1])
  workers = ','.join(f'127.0.0.1:{port}' for port in ports)
  return [start(data, tmp_path / name, '--workers', workers, '--task', str(task), *flags,
                method=method)
          for task, name in enumerate(['run', 'other'])]


def main_of(method, monkeypatch):
  """The main function of a method's script."""
  monkeypatch.syspath_prepend(ROOT / 'pyscripts/train')
  return importlib.import_module(f'train_{method}').main


def ends(processes, timeout):
  """Statuses and outputs of processes that have to end by themselves."""
  outputs = []
  try:
    deadline = time.monotonic() + timeout
    outputs = [process.communicate(timeout=deadline - time.monotonic())[0] for process in processes]
  finally:
    for process in processes:
      process.kill()
  return [process.returncode for process in processes], outputs


def arrays(prefix):
  archive = checkpoints.open_archive(prefix)
  return {name: archive.read(name) for name in archive.names()}


def assert_as_one(expected, found):
  """Arrays of a checkpoint by two workers are those by one process, but for rounding."""
  assert expected.keys() == found.keys()
  largest = max(np.abs(value).max() for name, value in expected.items() if '/Momentum' in name)
  for name in expected:
    # Relative to the array's own scale; gradients that vanish but for rounding to the largest.
    scale = max(np.abs(expected[name]).max(initial=0),
                1e-3 * largest if '/Momentum' in name else 0)
    np.testing.assert_allclose(found[name], expected[name], atol=1e-3 * scale, err_msg=name)


@pytest.mark.slow
def test_a_killed_worker_comes_back_and_all_ends_as_in_one_process(data, tmp_path, monkeypatch):
  workers = start_both(data, tmp_path)
  deadline = time.monotonic() + 300
  while not (tmp_path / f'run/model.ckpt-{EVERY}.index').exists():
    assert time.monotonic() < deadline and None in [worker.poll() for worker in workers]
    time.sleep(0.02)
  workers[1].send_signal(signal.SIGKILL)
  (status, _), (output, _) = ends(workers, 60)
  newest = checkpoints.latest(tmp_path / 'run')
  assert status == 75, output
  assert 'a worker was lost, by the look of it worker 1 (127.0.0.1:' in output
  assert f'training goes on after {newest}' in output
  assert newest.name != f'model.ckpt-{STEPS - 1}'

  workers = start_both(data, tmp_path)
  alone = main_of('segsort', monkeypatch)(arguments_of('segsort', data, tmp_path / 'alone'))
  statuses, outputs = ends(workers, 300)
  assert [alone, *statuses] == [0, 0, 0], '\n'.join(text[-2000:] for text in outputs)
  for output in outputs:
    assert f'Going on after {newest}' in output
  expected, found = (arrays(tmp_path / name / f'model.ckpt-{STEPS - 1}')
                     for name in ('alone', 'run'))
  assert_as_one(expected, found)
  assert not (tmp_path / 'other').exists()  # the chief alone writes


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
def test_two_workers_train_one_of_these_as_one_process_does(data, tmp_path, method, monkeypatch):
  workers = start_both(data, tmp_path, method=method)
  alone = main_of(method, monkeypatch)(
      arguments_of(method, data, tmp_path / 'alone/run', '--pictures_every', '0'))
  statuses, outputs = ends(workers, 300)
  assert [alone, *statuses] == [0, 0, 0], '\n'.join(text[-2000:] for text in outputs)
  expected, found = (arrays(tmp_path / name / 'model.ckpt-2') for name in ('alone/run', 'run'))
  assert_as_one(expected, found)
  assert any(np.any(value) for name, value in expected.items() if '/Momentum' in name)
  assert not (tmp_path / 'other').exists()
  if method == 'stego':  # who comes second has the features of the first
    assert sorted('features:' in output for output in outputs) == [False, True]
    assert ['No histograms are drawn' in output for output in outputs] == [True, False]

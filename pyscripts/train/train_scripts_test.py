"""The training scripts as a user runs them: the original's flags, interruption, faults."""

import importlib
import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from utils import checkpoints

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ['--model', 'fcn_resnet50', '--width', '0.125', '--blocks', '1,1,1,1']
PSPNET = [*SMALL, '--model', 'pspnet_resnet50', '--head_dim', '8']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """Six small images of two classes with masks, and a list of them."""
  folder = tmp_path_factory.mktemp('data')
  random = np.random.default_rng(0)
  lines = []
  for index in range(6):
    mask = np.zeros([40, 56], np.uint8)
    mask[:, 8 * index + 4:] = 1
    image = np.where(mask[..., None] == 1, 200, 40) + random.integers(0, 50, [40, 56, 3])
    Image.fromarray(image.astype(np.uint8)).save(folder / f'image{index}.jpg')
    Image.fromarray(mask).save(folder / f'mask{index}.png')
    lines.append(f'image{index}.jpg mask{index}.png\n')
  (folder / 'list.txt').write_text(''.join(lines))
  return folder


def command(script, data, snapshot, *flags):
  return [sys.executable, str(ROOT / 'pyscripts/train' / script), '--data_dir', f'{data}/',
          '--data_list', str(data / 'list.txt'), '--snapshot_dir', str(snapshot), *flags]


def arrays(prefix):
  archive = checkpoints.open_archive(prefix)
  return {name: archive.read(name) for name in archive.names()}


RECIPE = ['--num_classes', '2', '--batch_size', '2', '--input_size', '32,32', '--learning_rate',
          '0.01', '--random_mirror', '--random_scale', '--random_crop', '--num_clusters', '2']


@pytest.mark.slow
def test_killed_and_resumed_equals_left_alone_bit_for_bit(data, tmp_path, capsys):
  flags = [*SMALL, *RECIPE, '--num_steps', '40', '--save_pred_every', '5']
  killed = subprocess.Popen(
      command('train_segsort.py', data, tmp_path / 'killed', *flags),
      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  deadline = time.monotonic() + 200
  while not (tmp_path / 'killed/model.ckpt-10.index').exists():
    assert killed.poll() is None, 'the run ended before it could be killed'
    assert time.monotonic() < deadline
    time.sleep(0.01)
  killed.send_signal(signal.SIGKILL)
  killed.wait()
  newest = checkpoints.latest(tmp_path / 'killed')
  assert newest is not None and newest.name != 'model.ckpt-39'
  assert call('train_segsort.py', data, tmp_path / 'killed', *flags) == 0
  assert 'Going on after' in capsys.readouterr().out
  assert call('train_segsort.py', data, tmp_path / 'whole', *flags) == 0

  expected, found = (arrays(tmp_path / name / 'model.ckpt-39') for name in ('whole', 'killed'))
  assert expected.keys() == found.keys()
  for name in expected:
    np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
  steps = [json.loads(line)['step']
           for line in (tmp_path / 'killed/metrics.jsonl').read_text().splitlines()]
  assert steps == sorted(set(steps))


@pytest.mark.slow
def test_ctrl_c_saves_and_says_so(data, tmp_path):
  flags = [*SMALL, *RECIPE, '--num_steps', '100000']
  process = subprocess.Popen(
      command('train_segsort.py', data, tmp_path, *flags), stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL, text=True)
  deadline = time.monotonic() + 200
  while not (tmp_path / 'metrics.jsonl').exists():
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.05)
  process.send_signal(signal.SIGINT)
  output, _ = process.communicate(timeout=60)
  assert process.returncode == 130
  assert 'SIGINT: stopped after saving' in output
  assert checkpoints.latest(tmp_path) is not None


def main_of(script):
  """The main function of a script."""
  sys.path.insert(0, str(ROOT / 'pyscripts/train'))  # as Python does for a script
  try:
    return importlib.import_module(pathlib.Path(script).stem).main
  finally:
    sys.path.pop(0)


def call(script, data, snapshot, *flags):
  """Runs a script in this process; returns its status."""
  return main_of(script)(command(script, data, snapshot, *flags)[2:])


def error_of(script, data, snapshot, *flags):
  """The message of the error that a script ends in."""
  with pytest.raises((ValueError, OSError)) as error:
    call(script, data, snapshot, *flags)
  return str(error.value)


@pytest.mark.slow
def test_the_originals_command_lines(data, tmp_path, capsys):
  """The flags of train_segsort.sh and train_segsort_mgpu.sh, but for network, size and steps."""
  common = [
      '--random_mirror', '--random_scale', '--random_crop', '--num_steps', '3',
      '--save_pred_every', '2', '--update_tb_every', '50', '--not_restore_classifier',
      '--batch_size', '2', '--input_size', '48,48', '--num_classes', '21', '--ignore_label', '255',
      '--weight_decay', '5e-4', '--power', '0.9', '--momentum', '0.9', '--learning_rate', '2e-3',
      '--iter_size', '1', '--is_training', '--random_seed', '1234', *PSPNET]
  segsort = [*common, '--embedding_dim', '32', '--concentration', '10', '--num_clusters', '5',
             '--kmeans_iterations', '10', '--num_banks', '2']
  assert call('train_segsort.py', data, tmp_path / 'one', '--restore_from', '', *segsort) == 0
  assert {path.name for path in (tmp_path / 'one').glob('model.ckpt-*.index')} == {
      'model.ckpt-2.index'}
  # What the device decides is written down, and is not what makes a run another one.
  config = json.loads((tmp_path / 'one/config.json').read_text())['config']
  assert config['jit_compile'] is bool(tf.config.list_physical_devices('GPU'))
  assert 'compiled by XLA' in capsys.readouterr().out
  assert call('train_segsort.py', data, tmp_path / 'one', '--restore_from', '', *segsort,
              '--jit_compile') == 0
  assert 'nothing to do' in capsys.readouterr().out
  stage2 = [*segsort, '--restore_from', str(tmp_path / 'one/model.ckpt-2'), '--num_gpu', '5']
  assert call('train_segsort_mgpu.py', data, tmp_path / 'two', *stage2) == 0
  printed = capsys.readouterr().out
  assert '2 of 5 GPUs are used' in printed
  assert 'left as initialised on request' in printed
  assert call('train_softmax.py', data, tmp_path / 'three', *common) == 0


CONTRAST = ['--num_classes', '2', '--batch_size', '2', '--input_size', '32,32', '--num_steps', '4',
            '--save_pred_every', '1', '--max_views', '3', '--memory_size', '5']


@pytest.mark.slow
def test_a_contrast_run_goes_on_with_its_queues_bit_for_bit(data, tmp_path):
  """Also where the step that goes on is traced in a process that has built other networks."""
  flags = [*SMALL, *CONTRAST, '--num_steps', '6', '--warmup_steps', '1', '--memory', 'both',
           '--projection_dim', '8']
  assert call('train_contrast.py', data, tmp_path, *flags) == 0
  expected = arrays(tmp_path / 'model.ckpt-5')
  assert expected['state/pixel_queue_filled'].min() == 5
  lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert lines[-1]['contrast_loss'] > 0 and lines[-1]['num_remembered'] > 0
  for step in (3, 4, 5):
    for path in tmp_path.glob(f'model.ckpt-{step}.*'):
      path.unlink()
  checkpoints.update_state(tmp_path, tmp_path / 'model.ckpt-2', keep=10)
  assert call('train_contrast.py', data, tmp_path, *flags) == 0
  found = arrays(tmp_path / 'model.ckpt-5')
  assert expected.keys() == found.keys()
  for name in expected:
    np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.slow
def test_the_contrasts_baseline_has_no_projection_and_others_may_start_from_a_contrast_run(
    data, tmp_path):
  flags = [*SMALL, *CONTRAST, '--warmup_steps', '0', '--num_steps', '1']
  assert call('train_contrast.py', data, tmp_path / 'off', *flags, '--contrast_weight', '0') == 0
  assert not any('projection' in name for name in arrays(tmp_path / 'off/model.ckpt-0'))
  assert call('train_contrast.py', data, tmp_path / 'on', *flags) == 0
  assert any('projection_head' in name for name in arrays(tmp_path / 'on/model.ckpt-0'))
  start = ['--restore_from', str(tmp_path / 'on/model.ckpt-0'), '--num_classes', '2',
           '--batch_size', '2', '--input_size', '32,32', '--num_steps', '1']
  assert call('train_softmax.py', data, tmp_path / 'softmax', *start) == 0
  archive = checkpoints.open_archive(tmp_path / 'softmax/model.ckpt-0')
  assert archive.metadata['model']['projection'] is None
  assert not any('projection_head' in name for name in archive.names())
  assert call('train_contrast.py', data, tmp_path / 'more', *CONTRAST, *start,
              '--warmup_steps', '0') == 0
  assert 'train another head on its trunk' in error_of(
      'train_contrast.py', data, tmp_path / 'other', *CONTRAST, *start, '--warmup_steps', '0',
      '--projection', 'linear')


def test_a_run_that_would_never_use_the_contrast_is_refused(data, tmp_path):
  assert '--warmup_steps 5000' in error_of(
      'train_contrast.py', data, tmp_path, *SMALL, *CONTRAST)


@pytest.mark.slow
def test_training_without_labels_reads_none(data, tmp_path):
  for index in range(6):
    regions = (np.arange(56) // 8 + 10 * np.arange(40)[:, None] // 20).astype(np.uint8)
    Image.fromarray(regions).save(tmp_path / f'image{index}.png')
  images = tmp_path / 'images.txt'
  images.write_text(''.join(f'image{index}.jpg\n' for index in range(6)))
  flags = [*SMALL, '--data_list', str(images), '--oversegmentation_dir', str(tmp_path),
           '--batch_size', '2', '--input_size', '32,32', '--random_scale', '--random_crop',
           '--random_mirror', '--num_steps', '2', '--concentration', '10', '--embedding_dim', '32']
  assert call('train_segsort_unsup.py', data, tmp_path / 'run', *flags) == 0
  lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
  assert json.loads(lines[-1])['num_prototypes'] > 2


@pytest.mark.slow
@pytest.mark.parametrize('script', ['train_segsort.py', 'train_segsort_mgpu.py'])
def test_training_over_the_oversegmentation(data, tmp_path, script):
  for index in range(6):
    regions = (np.arange(56) // 8 + 10 * (np.arange(40)[:, None] // 20)).astype(np.uint8)
    Image.fromarray(regions).save(tmp_path / f'image{index}.png')
  flags = [*SMALL, *RECIPE, '--oversegmentation_dir', str(tmp_path), '--align_segments',
           '--initial_segments', 'oversegmentation', '--num_steps', '2', '--update_tb_every', '1']
  assert call(script, data, tmp_path / 'run', *flags) == 0
  lines = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert lines[-1]['num_remembered'] > 2 and np.isfinite(lines[-1]['loss'])
  options = checkpoints.open_archive(tmp_path / 'run/model.ckpt-1').metadata['method_config']
  assert options['align_segments'] and options['initial_segments'] == 'oversegmentation'


@pytest.mark.parametrize('flags, message', [
    (['--align_segments'], 'Give the list a third column or name a folder'),
    (['--initial_segments', 'oversegmentation', '--oversegmentation_dir', 'nowhere'],
     '6 of 6 oversegmentations do not exist'),
    (['--oversegmentation_dir', 'nowhere'], 'nowhere is given, but nothing makes use of it'),
    (['--min_piece_share', '2'], '--min_piece_share 2'),
])
def test_oversegmentations_that_are_missing_or_of_no_use_are_errors(
    data, tmp_path, flags, message):
  run_folder = tmp_path / 'run'
  assert message in error_of('train_segsort.py', data, run_folder, *SMALL, *RECIPE, *flags)
  assert not run_folder.exists()


def test_training_without_labels_refuses_label_files(data, tmp_path):
  listed = tmp_path / 'list.txt'
  listed.write_text('image0.jpg mask0.png mask0.png\n')
  message = error_of('train_segsort_unsup.py', data, tmp_path / 'run', '--data_list', str(listed))
  assert 'the label file itself' in message


@pytest.mark.parametrize('flags, message', [
    (['--model', 'pspnet_resnet17'], 'pspnet_resnet17'),
    (['--num_gpu', '0'], '--num_gpu 0'),
    (['--restore_from', 'nowhere/model.ckpt-1'], 'nowhere/model.ckpt-1'),
    (['--resume'], 'holds no checkpoint'),
    (['--seed', '-1'], '--seed -1'),
])
def test_wrong_flags_are_named_before_training(data, tmp_path, flags, message):
  assert message in error_of('train_segsort.py', data, tmp_path, *SMALL, *RECIPE, *flags)


def test_missing_files_are_all_listed_before_training(data, tmp_path):
  broken = tmp_path / 'broken.txt'
  broken.write_text('image0.jpg mask0.png\nno1.jpg mask1.png\nimage2.jpg no2.png\n')
  message = error_of(
      'train_segsort.py', data, tmp_path / 'run', *SMALL, *RECIPE, '--data_list', str(broken))
  assert 'no1.jpg' in message and 'no2.png' in message and 'image0.jpg' not in message


@pytest.mark.slow
def test_a_faulty_mask_is_named_and_what_was_learned_is_saved(data, tmp_path):
  mask = np.zeros([40, 56], np.uint8)
  mask[3, 3] = 200
  Image.fromarray(mask).save(tmp_path / 'bad.png')
  good = [f'{data}/image{index}.jpg {data}/mask{index}.png\n' for index in range(6)]
  (tmp_path / 'list.txt').write_text(''.join(good) + f'{data}/image0.jpg {tmp_path}/bad.png\n')
  message = error_of(
      'train_segsort.py', tmp_path, tmp_path / 'run', *SMALL, *RECIPE, '--data_dir', '',
      '--batch_size', '1', '--num_steps', '50', '--seed', '2')
  assert 'bad.png' in message and '200' in message
  steps = [json.loads(line)['step']
           for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  newest = checkpoints.latest(tmp_path / 'run')
  assert steps and newest is not None
  assert int(newest.name.rpartition('-')[2]) >= steps[-1]


@pytest.mark.slow
def test_an_all_void_image_trains_and_a_folder_is_not_taken_twice(data, tmp_path, capsys):
  Image.fromarray(np.full([40, 56], 255, np.uint8)).save(tmp_path / 'void.png')
  (tmp_path / 'list.txt').write_text(f'{data}/image0.jpg {tmp_path}/void.png\n')
  flags = [*SMALL, *RECIPE, '--data_dir', '', '--num_steps', '2']
  assert call('train_segsort.py', tmp_path, tmp_path / 'run', *flags) == 0
  lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
  assert json.loads(lines[-1])['loss'] == 0
  assert call('train_segsort.py', tmp_path, tmp_path / 'run', *flags) == 0
  assert 'nothing to do' in capsys.readouterr().out
  message = error_of('train_segsort.py', tmp_path, tmp_path / 'run', *flags, '--power', '0.5')
  assert 'power: 0.9 there, 0.5 now' in message
  assert '--no-resume' in error_of(
      'train_segsort.py', tmp_path, tmp_path / 'run', *flags, '--no-resume')

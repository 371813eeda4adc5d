"""One list done by several processes, each with a part of it."""

import argparse
import json
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from seg_models import bank as banks
from seg_models import on_devices
from seg_models.bank_test import assert_equal
from seg_models.inference_setup import OutputConfig
from seg_models.inference_test import (
  bank_dir,  # noqa: F401
  data,  # noqa: F401
  extract,
  grays,
  predict,
  predict_softmax,
)
from utils import files
from utils.configuration import add_arguments, from_arguments

WORKERS = 'a:1,b:2'


def test_parts_of_a_list_meet_in_one_bank(data, bank_dir, tmp_path, capsys):  # noqa: F811
  assert extract(data, tmp_path, num_clusters=3, shard='1/2') == 0
  assert 'part 1 of 2 (2 images) is done; 2 images are left' in capsys.readouterr().out
  with pytest.raises(FileNotFoundError, match='interrupted'):
    banks.load_bank(tmp_path)
  assert not files.read_json(tmp_path / 'prototypes/extraction.json')['complete']
  assert extract(data, tmp_path, num_clusters=3, workers=WORKERS, task=0) == 0
  assert_equal(banks.load_bank(tmp_path), banks.load_bank(bank_dir))
  assert files.read_json(tmp_path / 'prototypes/extraction.json')['complete']
  assert extract(data, tmp_path, num_clusters=3, shard='1/2') == 0
  assert 'nothing to do' in capsys.readouterr().out


def test_predictions_of_workers_by_tf_config(
    data, bank_dir, tmp_path, capsys, monkeypatch):  # noqa: F811
  assert predict(data, tmp_path / 'whole', bank_dir) == 0
  for index, left in ((0, 2), (1, 0)):
    monkeypatch.setenv('TF_CONFIG', json.dumps({
        'cluster': {'worker': WORKERS.split(',')}, 'task': {'type': 'worker', 'index': index}}))
    capsys.readouterr()
    assert predict(data, tmp_path / 'parts', bank_dir) == 0
    assert (f'{left} images are left' in capsys.readouterr().out) == bool(left)
    complete = files.read_json(tmp_path / 'parts/inference.json')['complete']
    assert complete == (not left)
  for found, expected in zip(grays(tmp_path / 'parts'), grays(tmp_path / 'whole'), strict=True):
    np.testing.assert_array_equal(found, expected)


def test_what_a_dead_part_left_is_done_by_the_command_without_parts(
    data, tmp_path):  # noqa: F811
  assert predict_softmax(data, tmp_path, shard='0/2') == 0
  assert len(list((tmp_path / 'gray').iterdir())) == 2
  assert predict_softmax(data, tmp_path) == 0
  assert len(grays(tmp_path)) == 4 and files.read_json(tmp_path / 'inference.json')['complete']


@pytest.mark.slow
def test_several_processes_predict_what_one_does(data, bank_dir, tmp_path):  # noqa: F811
  assert predict(data, tmp_path / 'one', bank_dir) == 0
  assert predict(data, tmp_path / 'two', bank_dir, num_gpu=2) == 0
  for found, expected in zip(grays(tmp_path / 'two'), grays(tmp_path / 'one'), strict=True):
    np.testing.assert_array_equal(found, expected)
  assert files.read_json(tmp_path / 'two/inference.json')['complete']


@pytest.mark.slow
def test_several_processes_extract_the_bank_of_one(data, bank_dir, tmp_path):  # noqa: F811
  assert extract(data, tmp_path, num_clusters=3, num_gpu=2) == 0
  assert_equal(banks.load_bank(tmp_path), banks.load_bank(bank_dir))
  assert files.read_json(tmp_path / 'prototypes/extraction.json')['complete']


def last_part_dies(output, folder):
  """What the processes of the next test do."""
  index, count = output.share
  open(os.path.join(folder, f'{index}of{count}'), 'w').close()
  if index + 1 == count:
    os.kill(os.getpid(), signal.SIGKILL)
  return 0


@pytest.mark.slow
def test_parts_are_parts_of_the_workers_part_and_a_killed_one_is_named(tmp_path, capsys):
  output = OutputConfig(num_gpu=2, workers=WORKERS, task=1)
  assert on_devices.on_devices(last_part_dies, [output, str(tmp_path)]) == 128 + signal.SIGKILL
  assert sorted(path.name for path in tmp_path.iterdir()) == ['2of4', '3of4']
  assert 'process 1 of --num_gpu 2 was killed by SIGKILL' in capsys.readouterr().out


def parsed(*arguments):
  parser = argparse.ArgumentParser()
  add_arguments(parser, OutputConfig)
  return from_arguments(OutputConfig, parser.parse_args(arguments))


def test_one_process_is_this_one():
  output = parsed('--shard', '2/3')
  assert output.share == (2, 3)
  assert on_devices.on_devices(lambda *configs: configs, [1, output]) == (1, output)


@pytest.mark.parametrize('arguments, message', [
    ('--num_gpu 0', '--num_gpu 0'), ('--shard 3/3', '--shard 3/3'),
    ('--overwrite --shard 1/3', '--overwrite would remove'),
    ('--overwrite --num_gpu 2', '--overwrite would remove'),
    ('--overwrite --workers a:1,b:2 --task 0', '--overwrite would remove')])
def test_flags_that_would_do_harm_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    assert parsed(*arguments.split()).share


def test_a_device_is_the_only_one_that_is_seen(monkeypatch):
  gpus, seen = ['gpu0', 'gpu1'], []
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: gpus)
  monkeypatch.setattr(
      tf.config, 'set_visible_devices', lambda devices, kind: seen.append((devices, kind)))
  on_devices.use_device(1)
  assert seen == [(['gpu1'], 'GPU')]
  with pytest.raises(ValueError, match=r'only 2 GPU\(s\) here'):
    on_devices.use_device(2)
  gpus.clear()
  on_devices.use_device(5)
  assert len(seen) == 1

import argparse

import pytest

from seg_models import experiment
from utils import run_folder


@pytest.mark.parametrize('method', ['segsort', 'softmax', 'contrast'])
def test_all_flags_of_a_method_live_together(method):
  parser = argparse.ArgumentParser()
  experiment.add_training_arguments(parser, method)
  given = parser.parse_args(['--batch_size', '4', '--input_size', '5,6'])
  assert (given.batch_size, given.input_size) == (4, (5, 6))


@pytest.fixture
def flags(tmp_path):
  """What a run cannot do without; the files are empty."""
  (tmp_path / 'list.txt').write_text('a.jpg a.png\n')
  for name in ('a.jpg', 'a.png'):
    (tmp_path / name).touch()
  return {'--data_list': str(tmp_path / 'list.txt'), '--snapshot_dir': str(tmp_path / 'run'),
          '--data_dir': str(tmp_path)}


def train(flags):
  parser = argparse.ArgumentParser()
  experiment.add_training_arguments(parser, 'segsort')
  namespace = parser.parse_args([part for flag in flags.items() for part in flag])
  return experiment.train_from_arguments('segsort', namespace)


@pytest.mark.parametrize('missing', ['--data_list', '--snapshot_dir'])
def test_what_is_missing_is_named(missing, flags):
  del flags[missing]
  with pytest.raises(ValueError, match=f'{missing} is missing'):
    train(flags)


def test_the_configuration_of_a_run_in_progress_is_left_alone(flags, tmp_path):
  """It has no checkpoint yet, by which it could be known."""
  with run_folder.lock(tmp_path / 'run'):
    (tmp_path / 'run/config.json').write_text('that of the other process')
    with pytest.raises(OSError, match='another process trains there'):
      train(flags)
  assert (tmp_path / 'run/config.json').read_text() == 'that of the other process'

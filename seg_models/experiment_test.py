import argparse
import json

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
  namespace = parser.parse_args([part for flag in flags.items() for part in flag if part])
  return experiment.train_from_arguments('segsort', namespace)


@pytest.mark.parametrize('old, new, kept, said', [
    ('a/resnet.ckpt', 'b/resnet.ckpt', 'b/resnet.ckpt', False),  # moved
    ('a/resnet.ckpt', '', 'a/resnet.ckpt', False),
    ('a/resnet.ckpt', 'a/other.ckpt', 'a/resnet.ckpt', True),
    ('', 'a/other.ckpt', '', True), ('', '', '', False)])
def test_a_run_that_goes_on_says_what_it_does_not_read(tmp_path, capsys, old, new, kept, said):
  (tmp_path / 'config.json').write_text(json.dumps({'config': {'restore_from': old}}))
  assert experiment.recorded_start(tmp_path, new) == kept
  printed = capsys.readouterr().out
  assert ('NOT read' in printed and new in printed and (old or 'no file') in printed) == said
  assert said or not printed


@pytest.mark.parametrize('ending', ['', '.index'])
def test_a_file_of_the_same_name_is_another_where_the_first_is_still_there(
    tmp_path, capsys, ending):
  """Checkpoints of all runs have the same names."""
  old, new = tmp_path / 'a/model.ckpt-9', tmp_path / 'b/model.ckpt-9'
  for path in (old, new):
    path.parent.mkdir()
    path.with_name(path.name + ending).touch()
  (tmp_path / 'config.json').write_text(json.dumps({'config': {'restore_from': str(old)}}))
  assert experiment.recorded_start(tmp_path, str(new)) == str(old)
  assert f'--restore_from {new} is NOT read' in capsys.readouterr().out
  (tmp_path / 'link').symlink_to(tmp_path / 'a')
  same = str(tmp_path / 'link/model.ckpt-9')
  assert experiment.recorded_start(tmp_path, same) == same
  old.with_name(old.name + ending).unlink()
  assert experiment.recorded_start(tmp_path, str(new)) == str(new)
  assert not capsys.readouterr().out


def test_it_is_said_before_anything_else(flags, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(experiment.checkpoints, 'latest', lambda folder: tmp_path / 'model.ckpt-3')
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run/config.json').write_text(
      json.dumps({'config': {'restore_from': 'a/old.ckpt', 'method': 'softmax'}, 'starts': []}))
  with pytest.raises(ValueError, match='belongs to a run with another configuration'):
    train({**flags, '--restore_from': 'b/new.ckpt'})
  assert '--restore_from b/new.ckpt is NOT read' in capsys.readouterr().out
  with pytest.raises(ValueError, match='--no-resume: .* already holds model.ckpt-3'):
    train({**flags, '--restore_from': 'b/new.ckpt', '--no-resume': ''})
  assert 'NOT read' not in capsys.readouterr().out


def test_a_run_without_a_record_of_its_start_says_nothing(tmp_path, capsys):
  assert experiment.recorded_start(tmp_path, 'a.ckpt') == 'a.ckpt'
  (tmp_path / 'config.json').write_text('{"config": {}}')
  assert experiment.recorded_start(tmp_path, 'a.ckpt') == 'a.ckpt'
  assert not capsys.readouterr().out


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

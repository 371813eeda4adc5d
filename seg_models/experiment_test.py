import argparse
import dataclasses

import pytest

from seg_models import experiment
from seg_models.experiment import NetworkConfig, _model_config
from seg_models.models import ModelConfig
from utils import checkpoints, run_folder


@pytest.fixture
def checkpoint(tmp_path):
  """A checkpoint that describes a network, without its weights."""
  model = ModelConfig(name='pspnet_mobilenet_v2', output_dim=7, head_dim=16)
  prefix = tmp_path / 'model.ckpt-3'
  checkpoints.save(prefix, {}, {'model': dataclasses.asdict(model)})
  return model, str(prefix)


def test_without_a_checkpoint_the_flags_and_the_originals_network_count():
  assert _model_config(NetworkConfig(), None) == ModelConfig()
  network = NetworkConfig(model='pspnet_resnet50', width=0.5, batch_norm_decay=0.9)
  assert _model_config(network, 5) == ModelConfig(
      name='pspnet_resnet50', output_dim=5, width=0.5, batch_norm_decay=0.9,
      head_batch_norm_decay=0.9)


def test_a_checkpoint_describes_its_network(checkpoint):
  model, prefix = checkpoint
  assert _model_config(NetworkConfig(restore_from=prefix), None) == model


def test_a_flag_against_the_checkpoint_is_an_error(checkpoint):
  _, prefix = checkpoint
  with pytest.raises(ValueError, match='deeplab_resnet50'):
    _model_config(NetworkConfig(restore_from=prefix, model='deeplab_resnet50'), None)
  with pytest.raises(ValueError, match='9 where the checkpoint has 7'):
    _model_config(NetworkConfig(restore_from=prefix), 9)


def test_a_new_head_on_an_old_trunk(checkpoint):
  _, prefix = checkpoint
  network = NetworkConfig(
      restore_from=prefix, model='fcn_mobilenet_v2', not_restore_classifier=True)
  assert _model_config(network, 9) == ModelConfig(name='fcn_mobilenet_v2', output_dim=9)


def test_a_projection_head_is_the_methods_wish(checkpoint, tmp_path):
  model, prefix = checkpoint
  fields = {'projection': 'linear', 'projection_dim': 9}
  network = NetworkConfig(model='pspnet_mobilenet_v2')
  assert _model_config(network, 7, fields=fields).projection_dim == 9
  network = NetworkConfig(restore_from=prefix)
  with pytest.raises(ValueError, match='--projection linear where the checkpoint has None'):
    _model_config(network, 7, fields=fields)
  again = dataclasses.replace(network, not_restore_classifier=True)
  wanted = dataclasses.replace(model, **fields)
  assert _model_config(again, 7, fields=fields) == wanted
  checkpoints.save(tmp_path / 'model.ckpt-4', {}, {'model': dataclasses.asdict(wanted)})
  network = NetworkConfig(restore_from=str(tmp_path / 'model.ckpt-4'))
  assert _model_config(network, 7, fields=fields) == wanted
  assert _model_config(network, None) == model


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

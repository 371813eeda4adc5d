import json
import signal

import numpy as np
import pytest
import tensorflow as tf

from utils import checkpoints, pending_steps, training
from utils.cluster import Cluster
from utils.pending_steps import NonFiniteError
from utils.run_folder import RunFolder
from utils.train_step import StepOutput, TrainStep
from utils.training import Trainer, TrainingConfig
from utils.workers import Workers


class Drift:
  """A method whose weight follows its batches, with a state that counts them."""

  def __init__(self):
    self.weights = tf.Variable([1.0, 2.0])

  def initial_state(self):
    return {'count': np.int32(0)}

  def loss(self, batch, state, step, draw):
    loss = tf.reduce_sum(self.weights * batch['value']) + 0.0 * tf.cast(step, tf.float32)
    return StepOutput(loss, {}, {'count': state['count'] + 1})


def batches(first, stop=None, poison=None):
  """Batch i depends on i alone; `stop` raises a signal while batch i is fetched."""
  index = first
  while True:
    if index == stop:
      signal.raise_signal(signal.SIGTERM)
    value = np.random.default_rng(index).normal(size=2)
    yield {'value': tf.constant(value * (np.nan if index == poison else 1), tf.float32),
           'index': tf.constant([index], tf.int64)}
    index += 1


def make(directory, method=None, **config):
  method = method or Drift()
  config = TrainingConfig(**{'num_steps': 7, 'save_pred_every': 3, 'update_tb_every': 1, **config})
  step = TrainStep(
      method, {'net/weights': method.weights}, config, tf.distribute.get_strategy(),
      {'net/weights': 1.0})
  trainer = Trainer(
      step, config, directory, metadata={'model': 'none'},
      describe=lambda batch: [f'image{batch["index"].numpy()[0]}'])
  return method, trainer


def test_checkpoints_have_the_originals_numbers(tmp_path):
  _, trainer = make(tmp_path, num_steps=3, save_pred_every=2)
  saved, stopped = trainer.run(batches, RunFolder(tmp_path))
  assert stopped is None
  assert saved == tmp_path / 'model.ckpt-2'
  assert not (tmp_path / 'model.ckpt-0.index').exists()
  archive = checkpoints.open_archive(saved)
  assert archive.metadata['next_step'] == 3
  assert {'net/weights', 'net/weights/Momentum', 'state/count'} == set(archive.names())


@pytest.mark.parametrize('optimizer, iter_size', [('momentum', 1), ('momentum', 2), ('adam', 2)])
def test_stopped_and_resumed_equals_left_alone(tmp_path, optimizer, iter_size):
  options = {'optimizer': optimizer, 'iter_size': iter_size}
  method, trainer = make(tmp_path / 'whole', **options)
  trainer.run(batches, RunFolder(tmp_path / 'whole'))

  directory = tmp_path / 'parts'
  _, first = make(directory, **options)
  assert first.resume() == 0
  saved, stopped = first.run(lambda index: batches(index, stop=4), RunFolder(directory))
  assert stopped == 'SIGTERM'
  resumed, second = make(directory, **options)
  step = second.resume()
  assert 0 < step < 7
  assert int(second.train_step.state['count'].numpy()) == step * iter_size
  second.run(batches, RunFolder(directory, step), step)
  np.testing.assert_array_equal(resumed.weights.numpy(), method.weights.numpy())

  def logged(name):
    lines = (tmp_path / name / 'metrics.jsonl').read_text().splitlines()
    return [(line['step'], line['loss']) for line in map(json.loads, lines)]
  assert logged('parts') == logged('whole')


def test_non_finite_names_step_images_and_leaves_the_last_good_checkpoint(tmp_path):
  _, trainer = make(tmp_path)
  with pytest.raises(NonFiniteError, match='step 5.*image5.*model.ckpt-3'):
    trainer.run(lambda index: batches(index, poison=5), RunFolder(tmp_path))
  newest = checkpoints.open_archive(checkpoints.latest(tmp_path))
  assert np.isfinite(newest.read('net/weights')).all()


def test_non_finite_is_noticed_a_step_later_but_before_a_checkpoint(tmp_path):
  """Step 6 is done when step 5 is looked at, and would have been saved."""
  _, trainer = make(tmp_path, update_tb_every=100)
  with pytest.raises(NonFiniteError, match='step 5.*image5.*model.ckpt-3'):
    trainer.run(lambda index: batches(index, poison=5), RunFolder(tmp_path))
  assert checkpoints.latest(tmp_path).name == 'model.ckpt-3'


def test_non_finite_before_an_error_in_the_data_is_not_saved(tmp_path):
  def failing(first):
    for index, batch in enumerate(batches(first, poison=3)):
      if index == 4:
        raise ValueError('image4 is truncated')
      yield batch
  _, trainer = make(tmp_path, save_pred_every=100, update_tb_every=100)
  with pytest.raises(NonFiniteError, match='step 3.*image3'):
    trainer.run(failing, RunFolder(tmp_path))
  assert checkpoints.latest(tmp_path) is None


def test_the_device_is_a_step_ahead_but_where_numbers_are_written(tmp_path, monkeypatch):
  _, trainer = make(tmp_path, update_tb_every=4, save_pred_every=100)
  events = []
  step, fetch = trainer.train_step, pending_steps.fetch
  monkeypatch.setattr(
      pending_steps, 'fetch', lambda metrics: events.append('look') or fetch(metrics))
  monkeypatch.setattr(
      trainer, 'train_step', lambda group, index: events.append(index) or step(group, index))
  trainer.train_step.trainable = step.trainable
  trainer.train_step.saved_variables = step.saved_variables
  trainer.run(batches, RunFolder(tmp_path))
  assert events == [0, 'look', 1, 2, 'look', 3, 'look', 4, 'look', 'look', 5, 6, 'look', 'look']


@pytest.mark.parametrize('gpus, replicas, expected', [
    (0, 1, 'CPU:0'), (0, 2, 'CPU:0'), (1, 1, 'GPU:0'), (2, 2, 'CPU:0')])
def test_batches_are_made_where_they_are_used(monkeypatch, gpus, replicas, expected):
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: [kind] * gpus)
  assert training.batch_device(replicas) == expected


def test_checkpoint_of_another_network_is_refused(tmp_path):
  _, trainer = make(tmp_path)
  trainer.run(batches, RunFolder(tmp_path))
  method = Drift()
  step = TrainStep(
      method, {'other/weights': method.weights}, TrainingConfig(), tf.distribute.get_strategy(),
      {'other/weights': 1.0})
  with pytest.raises(ValueError, match="missing.*'other/weights'.*--snapshot_dir"):
    Trainer(step, TrainingConfig(), tmp_path, metadata={}, describe=None).resume()


@pytest.mark.parametrize('values', [{'num_steps': 0}, {'iter_size': 0}, {'learning_rate': -1.0}])
def test_impossible_settings_are_refused_by_flag(values):
  with pytest.raises(ValueError, match=f'--{next(iter(values))}'):
    TrainingConfig(**values)


def test_replicas_divide_the_batch(capsys):
  assert training.usable_replicas(5, 16) == 4
  assert '4 of 5 GPUs' in capsys.readouterr().out
  assert training.usable_replicas(2, 8) == 2
  assert training.usable_replicas(2, 1) == 1
  with pytest.raises(ValueError, match='--num_gpu 0'):
    training.usable_replicas(0, 8)


def test_an_error_in_the_data_keeps_what_was_learned(tmp_path):
  def failing(first):
    for index, batch in enumerate(batches(first)):
      if index == 4:
        raise ValueError('image4 is truncated')
      yield batch
  _, trainer = make(tmp_path, save_pred_every=100)
  with pytest.raises(ValueError, match='image4'):
    trainer.run(failing, RunFolder(tmp_path))
  assert checkpoints.latest(tmp_path).name == 'model.ckpt-3'


def test_too_few_devices():
  with pytest.raises(ValueError, match='--num_gpu 9: only 2 CPU'):
    training.make_strategy(9)


class Fellow(Workers):
  """A second worker, of whom only what he says at step 4 is there: that he failed, or stops."""

  def __init__(self, strategy, row):
    super().__init__(strategy, Cluster(('a:1', 'b:2'), 0))
    self.row = row
    self.calls = 0

  def total(self, values):
    values = np.array(values, np.int64)
    if values.ndim == 2:
      values[self.row, 1] += self.calls == 4
      self.calls += 1
    return values


@pytest.mark.parametrize('row', [0, 1])
def test_all_stop_where_one_of_them_does(tmp_path, row):
  _, trainer = make(tmp_path, save_pred_every=100)
  trainer.workers = Fellow(tf.distribute.get_strategy(), row)
  if row:
    saved, stopped = trainer.run(batches, RunFolder(tmp_path))
    assert stopped == 'worker 1 (b:2)' and saved == tmp_path / 'model.ckpt-3'
  else:
    with pytest.raises(ValueError, match=r'worker 1 \(b:2\) could not read a batch'):
      trainer.run(batches, RunFolder(tmp_path))
  assert checkpoints.latest(tmp_path).name == 'model.ckpt-3'


def test_workers_but_the_chief_write_nothing(tmp_path):
  method, trainer = make(tmp_path / 'run', num_steps=3)
  expected, chief = make(tmp_path / 'chief', num_steps=3)
  chief.run(batches, RunFolder(tmp_path / 'chief'))
  trainer.workers = Fellow(tf.distribute.get_strategy(), 0)
  trainer.workers.cluster = Cluster(('a:1', 'b:2'), 1)
  saved, stopped = trainer.run(batches, None)
  assert (saved, stopped) == (tmp_path / 'run/model.ckpt-2', None)  # as the chief has named it
  assert not (tmp_path / 'run').exists()
  np.testing.assert_array_equal(method.weights.numpy(), expected.weights.numpy())


def test_a_run_that_was_stopped_before_its_first_step_saves_nothing(tmp_path):
  _, trainer = make(tmp_path)
  saved, stopped = trainer.run(lambda index: batches(index, stop=0), RunFolder(tmp_path))
  assert (saved, stopped) == (None, 'SIGTERM')
  assert checkpoints.latest(tmp_path) is None

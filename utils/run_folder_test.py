import json

import numpy as np
import pytest
import tensorflow as tf

from utils.run_folder import RunFolder, claim, lock


def steps(directory):
  lines = (directory / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line)['step'] for line in lines]


def test_metrics_and_events_are_written(tmp_path):
  folder = RunFolder(tmp_path)
  folder.scalars(3, {'loss': np.float32(0.5)})
  folder.images(3, {'input': np.zeros([1, 4, 4, 3], np.uint8)})
  folder.close()
  assert json.loads((tmp_path / 'metrics.jsonl').read_text()) == {'step': 3, 'loss': 0.5}
  events = next(tmp_path.glob('events.out.tfevents.*'))
  tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(events))
          for value in event.summary.value}
  assert tags == {'loss', 'input'}


def test_resuming_drops_what_will_be_done_again_and_a_torn_line(tmp_path):
  folder = RunFolder(tmp_path)
  for step in range(5):
    folder.scalars(step, {'loss': step})
  folder.close()
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 5, "lo')
  RunFolder(tmp_path, first_step=3).close()
  assert steps(tmp_path) == [0, 1, 2]


def test_what_is_not_finite_is_null_in_json(tmp_path):
  folder = RunFolder(tmp_path)
  folder.scalars(0, {'gradient_norm': float('inf')})
  folder.close()
  assert json.loads((tmp_path / 'metrics.jsonl').read_text())['gradient_norm'] is None


def test_a_folder_has_one_run_at_a_time(tmp_path):
  with lock(tmp_path):
    with pytest.raises(OSError, match='another process trains there'):
      with lock(tmp_path):
        pass
  with lock(tmp_path):
    pass


def test_claim_records_every_start(tmp_path):
  config = {'training': {'num_steps': 3}, 'input_size': (2, 2)}
  assert len(claim(tmp_path, config)) == 1
  assert len(claim(tmp_path, config)) == 2
  written = json.loads((tmp_path / 'config.json').read_text())
  assert written['config']['input_size'] == [2, 2]
  assert {'git_revision', 'tensorflow', 'command'} <= set(written['starts'][0])


def test_an_option_that_a_record_does_not_know_had_its_default(tmp_path):
  claim(tmp_path, {'rate': 1})
  with pytest.raises(ValueError, match='size: None there'):
    claim(tmp_path, {'rate': 1, 'size': (2, 2)})
  with pytest.raises(ValueError, match=r'size: \[2, 2\] there, \[3, 3\] now'):
    claim(tmp_path, {'rate': 1, 'size': (3, 3)}, defaults={'size': (2, 2)})
  claim(tmp_path, {'rate': 1, 'size': (2, 2)}, defaults={'size': (2, 2), 'rate': 7})
  with pytest.raises(ValueError, match=r'size: \[2, 2\] there'):
    claim(tmp_path, {'rate': 1, 'size': (3, 3)}, defaults={'size': (3, 3)})


def test_another_configuration_is_refused_with_the_difference(tmp_path):
  claim(tmp_path, {'rate': 1, 'every': 5})
  claim(tmp_path, {'rate': 1, 'every': 6}, ignore=('every',))
  with pytest.raises(ValueError, match='rate: 1 there, 2 now'):
    claim(tmp_path, {'rate': 2, 'every': 5}, ignore=('every',))

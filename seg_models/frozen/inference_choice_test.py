"""Which checkpoint of a run predicts, by itself and chosen on labels."""

import dataclasses
import json
import types

import pytest

from seg_models.frozen import inference, inference_test
from seg_models.frozen.inference import predict_clusters
from seg_models.frozen.inference_test import config_of
from utils import resuming

trained = inference_test.trained  # the fixture


def test_no_checkpoint_to_choose_is_said(trained, tmp_path):
  with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
    predict_clusters(config_of(
        trained, 'wrong', restore_from=str(tmp_path), choose_on_labels=True))


def test_without_being_asked_the_last_checkpoint_is_taken(trained, monkeypatch):
  """And of those chosen among each has its own score, not that of the one before it."""
  loaded = []
  scores = {'model.ckpt-1': 0.7, 'model.ckpt-2': 0.3}
  names = {resuming.fingerprint(str(trained / 'run' / name)): name for name in scores}
  assert len(names) == 2

  def predicted(config, crf, found, entries, masks, print_scores=False):
    loaded.append((names[found.settings['checkpoint']], print_scores))
    matrix = types.SimpleNamespace(mean_iou_occurring=lambda: scores[loaded[-1][0]])
    return types.SimpleNamespace(matrix=matrix)

  monkeypatch.setattr(inference, '_predict', predicted)
  assert predict_clusters(config_of(trained, 'wrong')) == 0
  assert loaded == [('model.ckpt-2', True)]
  loaded.clear()
  assert predict_clusters(config_of(trained, 'wrong', choose_on_labels=True)) == 0
  assert loaded == [('model.ckpt-1', False), ('model.ckpt-2', False), ('model.ckpt-1', True)]


def test_choosing_on_labels_says_so(trained, capsys):
  config = config_of(trained, 'chosen', choose_on_labels=True, many_to_one=True)
  assert predict_clusters(config) == 0
  said = capsys.readouterr().out
  assert 'CHOSEN ON LABELS' in said
  assert sorted(path.name for path in (trained / 'chosen/checkpoints').iterdir()) == [
      'model.ckpt-1', 'model.ckpt-2']
  assert json.loads((trained / 'chosen/metrics.json').read_text())['hungarian']['many_to_one']
  with pytest.raises(ValueError, match='is one checkpoint; name the folder'):
    predict_clusters(dataclasses.replace(config, restore_from=str(trained / 'run/model.ckpt-1')))
  with pytest.raises(ValueError, match='leave it to one process, without --shard'):
    dataclasses.replace(config, shard='0/2')


def test_who_shares_by_the_environment_is_told(monkeypatch):
  monkeypatch.setenv('TF_CONFIG', json.dumps({
      'cluster': {'worker': ['a:1', 'b:1']}, 'task': {'type': 'worker', 'index': 1}}))
  with pytest.raises(ValueError, match='leave it to one process.*TF_CONFIG'):
    inference.ClusterConfig(choose_on_labels=True)

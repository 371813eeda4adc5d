import json

import pytest

from utils.cluster import Cluster, find_cluster, find_share

BOTH = 'a:1,b:2'


def tf_config(task=None, **cluster):
  return {'TF_CONFIG': json.dumps({'cluster': cluster, **({'task': task} if task else {})})}


def test_flags_go_before_tf_config():
  environment = tf_config({'type': 'worker', 'index': 2}, worker=['c:1', 'd:2', 'e:3'])
  assert find_cluster('', None, environment) == Cluster(('c:1', 'd:2', 'e:3'), 2)
  assert find_cluster(' a:1, b:2,', 1, environment) == Cluster(('a:1', 'b:2'), 1)


def test_the_chief_of_tf_config_comes_first():
  jobs = {'chief': ['a:1'], 'worker': ['b:2', 'c:3']}
  found = [find_cluster('', None, tf_config({'type': kind, 'index': index}, **jobs))
           for kind, index in [('chief', 0), ('worker', 0), ('worker', 1)]]
  assert found == [Cluster(('a:1', 'b:2', 'c:3'), index) for index in range(3)]
  assert [cluster.is_chief for cluster in found] == [True, False, False]
  assert found[0].name(2) == 'worker 2 (c:3)'


@pytest.mark.parametrize('environment', [
    {}, {'TF_CONFIG': ''}, {'TF_CONFIG': '{}'}, tf_config(worker=['a:1'])])
def test_a_worker_by_itself_is_no_cluster(environment):
  assert find_cluster('', None, environment) == Cluster()
  assert Cluster().count == 1 and Cluster().is_chief
  assert find_cluster('a:1', 0, {}) == Cluster()


@pytest.mark.parametrize('workers, task, message', [
    (BOTH, None, '--task is missing, 0 to 1'), (BOTH, 2, '--task 2: --workers names 2 workers'),
    (BOTH, -1, '--task -1'), ('', 1, '--task 1 needs --workers'), ('a,b:2', 0, "'a' is not host"),
    ('a:1,b:0', 0, "'b:0' is not host:port"), ('a:1,a:1', 0, 'named twice')])
def test_impossible_flags_are_named(workers, task, message):
  with pytest.raises(ValueError, match=message):
    find_cluster(workers, task, {})


@pytest.mark.parametrize('environment, message', [
    ({'TF_CONFIG': 'worker'}, 'TF_CONFIG is not of the form'),
    ({'TF_CONFIG': '[]'}, 'TF_CONFIG is not of the form'),
    (tf_config(worker=['a:1', 'b:2'], ps=['c:3']), 'TF_CONFIG has ps'),
    (tf_config({'type': 'evaluator', 'index': 0}, worker=['a:1']), 'type evaluator'),
    (tf_config({'type': 'worker', 'index': 2}, worker=['a:1', 'b:2']), 'worker 2 of 2'),
    (tf_config({'type': 'worker', 'index': 0}, worker=['a', 'b:2']), "TF_CONFIG: 'a'")])
def test_an_impossible_tf_config_is_named(environment, message):
  with pytest.raises(ValueError, match=message):
    find_cluster('', None, environment)


def test_shares_by_shard_and_by_worker():
  environment = tf_config({'type': 'worker', 'index': 1}, worker=['a:1', 'b:2'])
  assert find_share('', '', None, {}) == (0, 1)
  assert find_share('', '', None, environment) == (1, 2)
  assert find_share('0/1', '', None, environment) == (0, 1)
  assert find_share('', BOTH, 0, environment) == (0, 2)
  with pytest.raises(ValueError, match='--shard 0/2 and --workers'):
    find_share('0/2', BOTH, 0, {})
  for wrong in ('2/2', '1', '-1/2', 'a/b', '/'):
    with pytest.raises(ValueError, match=f'--shard {wrong}'):
      find_share(wrong)

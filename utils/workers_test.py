"""What can be said of workers without a second process; pyscripts/train/train_workers_test.py does
with one."""

import numpy as np
import pytest
import tensorflow as tf

from utils import workers
from utils.cluster import Cluster
from utils.workers import WorkerLost, Workers

CLUSTER = Cluster(('a:1', 'b:2', 'c:3'), 1)


def test_a_process_by_itself_sends_nothing():
  alone = Workers(tf.distribute.get_strategy())
  assert alone.is_chief
  np.testing.assert_array_equal(alone.total([[1, 2]]), [[1, 2]])
  variable = tf.Variable([1.0, 2.0])
  alone.copy_from_chief([variable])
  np.testing.assert_array_equal(variable.numpy(), [1, 2])
  with pytest.raises(tf.errors.UnavailableError), alone.watched(lambda: 'again'):
    raise tf.errors.UnavailableError(None, None, 'a file system of this kind')


@pytest.mark.parametrize('kind, text, named', [
    (tf.errors.UnavailableError,
     'Graph execution error:\nat CollectiveReduceV2 (/task:0)\n'
     'Collective ops is aborted by: recvmsg:Connection reset by peer\n'
     'remote target /job:worker/replica:0/task:2 while calling RecvBuf', r'worker 2 \(c:3\)'),
    (tf.errors.InternalError, 'Collective ops is aborted by: /task:1 and /task:0: gone',
     r'worker 0 \(a:1\)'),
    (tf.errors.DeadlineExceededError,
     'Graph execution error:\nCollective has timed out during execution.', 'of unknown number'),
    (tf.errors.CancelledError, 'CANCELLED', 'of unknown number')])
def test_a_lost_worker_is_named_and_how_to_go_on(kind, text, named):
  team = Workers(tf.distribute.get_strategy(), CLUSTER)
  assert not team.is_chief
  with pytest.raises(WorkerLost, match=f'lost, by the look of it {named}: .*[(].*[)]. Go on.$'
                     ) as error, team.watched(lambda: 'Go on.'):
    raise kind(None, None, text)
  assert error.value.status == 75 and 'Graph execution' not in str(error.value)


@pytest.mark.parametrize('error', [
    tf.errors.InternalError(None, None, 'Blas GEMM launch failed'),
    tf.errors.ResourceExhaustedError(None, None, 'OOM'), ValueError('of the data')])
def test_what_is_wrong_here_stays_what_it_is(error):
  team = Workers(tf.distribute.get_strategy(), CLUSTER)
  with pytest.raises(type(error)), team.watched(lambda: 'Go on.'):
    raise error


def test_replicas_divide_the_batch(monkeypatch):
  assert workers.local_replicas(CLUSTER, 1, 6) == 1
  with pytest.raises(ValueError, match='--batch_size 4.*among 3 workers with 1 replica'):
    workers.local_replicas(CLUSTER, 1, 4)
  with pytest.raises(ValueError, match='--num_gpu 2: no GPU here'):
    workers.local_replicas(CLUSTER, 2, 6)
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: ['gpu0', 'gpu1'])
  assert workers.local_replicas(CLUSTER, 2, 6) == 2
  with pytest.raises(ValueError, match='--batch_size 9.*3 workers with 2'):
    workers.local_replicas(CLUSTER, 2, 9)
  with pytest.raises(ValueError, match=r'--num_gpu 3: 2 GPU\(s\) here'):
    workers.local_replicas(CLUSTER, 3, 9)

"""The workers of a run on several hosts while it computes: what they tell each other, and losses.

Each worker runs the same program under `tf.distribute.MultiWorkerMirroredStrategy` and reads its
share of every batch; worker 0, the chief, also writes. TensorFlow's collectives end in an error
within milliseconds when the process of a worker dies, within about a minute when its host stops
answering (the heartbeats of its coordination service), and after a timeout when a worker lives but
does nothing. A run that has lost a worker ends; all are started again and go on from the last
checkpoint.
"""

import contextlib
import faulthandler
import re

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from utils.cluster import Cluster

_PATIENCE = 60  # seconds; on a busy machine a heartbeat may be late
_SIGNS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
          tf.errors.DeadlineExceededError, tf.errors.InternalError)


class WorkerLost(ConnectionError):
  """A worker died, hangs or cannot be reached; the run can go on when all are started again."""
  status = 75  # of the process: EX_TEMPFAIL, try again (`utils.command_line`)


def local_replicas(cluster, num_gpu, batch_size):
  """Replicas of each of several workers: `num_gpu`.

  Raises:
    ValueError: the batch cannot be divided among all replicas, or there are no such devices here.
  """
  gpus = tf.config.list_physical_devices('GPU')
  if not gpus and num_gpu != 1:
    raise ValueError(f'--num_gpu {num_gpu}: no GPU here, and without GPUs a worker is one replica')
  if gpus and not 1 <= num_gpu <= len(gpus):
    raise ValueError(f'--num_gpu {num_gpu}: {len(gpus)} GPU(s) here, the same number is used on '
                     'every worker')
  if batch_size % (cluster.count * num_gpu):
    raise ValueError(f'--batch_size {batch_size}, which counts the images of all workers, cannot '
                     f'be divided among {cluster.count} workers with {num_gpu} replica(s) each')
  return num_gpu


def make_strategy(cluster, num_local, timeout):
  """`MultiWorkerMirroredStrategy` over workers who have just met (`utils.rendezvous`).

  Args:
    cluster: `Cluster` of at least two.
    num_local: GPUs of each worker; without GPUs each is one CPU device.
    timeout: seconds after which a collective operation gives up.

  TensorFlow's start on the chief waits without end for a worker who dies meanwhile, and holds
  Python's lock: no signal is heard and no thread runs. The process is therefore ended, with a
  traceback and status 1, when that takes longer than 2 minutes.

  Raises:
    WorkerLost: the chief has gone meanwhile.
  """
  gpus = tf.config.list_physical_devices('GPU')
  tf.config.set_visible_devices(gpus[:num_local], 'GPU')
  _configure_heartbeats(cluster)
  implementation = tf.distribute.experimental.CommunicationImplementation
  resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
      tf.train.ClusterSpec({'worker': list(cluster.addresses)}), task_type='worker',
      task_id=cluster.index, num_accelerators={'GPU': num_local} if gpus else {}, rpc_layer='grpc')
  faulthandler.dump_traceback_later(2 * _PATIENCE, exit=True)
  try:
    return tf.distribute.MultiWorkerMirroredStrategy(
        resolver, tf.distribute.experimental.CommunicationOptions(
            timeout_seconds=timeout,
            implementation=implementation.AUTO if gpus else implementation.RING))
  except tf.errors.OpError as error:
    raise WorkerLost(f'{cluster.name(0)} was lost before the start ({error}). Start the same '
                     'command on every worker again') from error
  finally:
    faulthandler.cancel_dump_traceback_later()


def _configure_heartbeats(cluster):
  """Patience with a busy machine: the strategy's own default gives a worker up after 10 seconds.

  TensorFlow has no public name for this; the strategy leaves alone what is configured before it.
  """
  jobs = [context.coordination_config_pb2.CoordinatedJob(name='worker', num_tasks=cluster.count)]
  context.context().configure_coordination_service(
      service_type='standalone', service_leader='/job:worker/replica:0/task:0',
      cluster_register_timeout_in_ms=1000 * _PATIENCE, heartbeat_timeout_in_ms=1000 * _PATIENCE,
      coordinated_jobs=jobs)


class Workers:
  """What the workers of a run tell each other, all at the same places of the program.

  For a process by itself nothing is sent.

  Args:
    strategy: the strategy of the run.
    cluster: `Cluster`.
  """

  def __init__(self, strategy, cluster=Cluster()):  # noqa: B008
    self.strategy = strategy
    self.cluster = cluster

  @property
  def is_chief(self):
    """Whether this process writes checkpoints, metrics and events."""
    return self.cluster.is_chief

  @contextlib.contextmanager
  def watched(self, remedy):
    """Block in which workers compute together.

    Args:
      remedy: function without arguments that gives the end of the message: how to go on.

    Raises:
      WorkerLost: instead of what TensorFlow raises when a worker is lost.
    """
    if self.cluster.count == 1:
      yield
      return
    try:
      yield
    except _SIGNS as error:
      text = str(error)
      if isinstance(error, tf.errors.InternalError) and 'ollective' not in text:
        raise
      found = re.search('Collective (ops is aborted|has timed out)', text)
      reason = text[found.start():] if found else text
      others = {int(task) for task in re.findall(r'/task:(\d+)', reason)} - {self.cluster.index}
      named = ', '.join(self.cluster.name(task) for task in sorted(others)
                        if task < self.cluster.count)
      raise WorkerLost(
          f'a worker was lost, by the look of it {named or "of unknown number"}: its own output '
          f'may say why ({reason.splitlines()[0][:300]}). {remedy()}') from error

  def total(self, values):
    """Sums of integers over the workers: int64 of the shape of `values`, on each of them."""
    values = np.asarray(values, np.int64)
    if self.cluster.count == 1:
      return values
    return self._sum(values)

  def copy_from_chief(self, variables):
    """Gives variables the chief's values, on all replicas of all workers.

    Args:
      variables: iterable of variables of the strategy (Keras' or TensorFlow's), the same ones in
        the same order on each worker.
    """
    if self.cluster.count == 1:
      return
    for variable in variables:
      value = np.asarray(variable.numpy())
      sent = value.astype(np.int32) if value.dtype == bool else value
      received = self._sum(sent if self.is_chief else np.zeros_like(sent))
      variable.assign(received.astype(value.dtype))

  def _sum(self, values):
    # What is no per-replica value is reduced over the hosts, however many replicas they have.
    with self.strategy.scope():
      total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, tf.constant(values), axis=None)
    return total.numpy()

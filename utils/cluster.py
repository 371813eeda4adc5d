"""Which processes share a piece of work, and which of them this one is."""

import dataclasses
import json
import os

WORKERS_HELP = (
    'host:port,... of all workers, the same list on each; default: those of TF_CONFIG, if it is '
    'set')
TASK_HELP = 'which of --workers this one is, from 0; 0 is the chief'


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The workers of a run.

  Attributes:
    addresses: `host:port` of each, the chief's first; () for a process by itself.
    index: which of them this process is.
  """
  addresses: tuple[str, ...] = ()
  index: int = 0

  @property
  def count(self):
    """Number of workers, at least 1."""
    return max(len(self.addresses), 1)

  @property
  def is_chief(self):
    """Whether this worker writes what the run leaves behind."""
    return self.index == 0

  def name(self, index):
    """A worker as messages name it."""
    return f'worker {index} ({self.addresses[index]})' if self.addresses else 'this process'


def find_cluster(workers='', task=None, environment=os.environ):
  """The cluster by flags, or else by TF_CONFIG.

  Args:
    workers: 'host:port,...', or '' for TF_CONFIG's.
    task: index in `workers`.
    environment: mapping that may hold TF_CONFIG, in TensorFlow's form: {"cluster": {"chief":
      [address], "worker": [address, ...]}, "task": {"type": "worker", "index": 1}}.

  Returns:
    `Cluster`.

  Raises:
    ValueError: addresses or indices that make no cluster; names flag or variable.
  """
  if not workers:
    if task is not None:
      raise ValueError(f'--task {task} needs --workers host:port,...')
    return _from_environment(environment.get('TF_CONFIG', ''))
  addresses = tuple(part.strip() for part in workers.split(',') if part.strip())
  if task is None:
    raise ValueError(f'--workers {workers}: --task is missing, 0 to {len(addresses) - 1}, which of '
                     'them this process is')
  return _checked(addresses, task, '--workers', f'--task {task}')


def _from_environment(text):
  if not text.strip():
    return Cluster()
  try:
    value = json.loads(text)
    cluster, task = value.get('cluster', {}), value.get('task', {})
    jobs = {name: [str(address) for address in cluster.get(name, [])]
            for name in ('chief', 'worker')}
    kind, index = str(task.get('type', 'worker')), int(task.get('index', 0))
    others = sorted(name for name in cluster if name not in jobs)
  except (ValueError, TypeError, AttributeError) as error:
    raise ValueError(f'TF_CONFIG is not of the form {{"cluster": {{"worker": ["host:port", ...]}}, '
                     f'"task": {{"type": "worker", "index": 0}}}} ({error}): {text}') from error
  if not any(jobs.values()) and not others:
    return Cluster()
  if others or kind not in jobs:
    raise ValueError(f'TF_CONFIG has {", ".join(others) or "a task of type " + kind}: only chief '
                     'and worker take part here')
  if not 0 <= index < len(jobs[kind]):
    raise ValueError(f'TF_CONFIG: task {kind} {index} of {len(jobs[kind])}')
  addresses = (*jobs['chief'], *jobs['worker'])
  return _checked(
      addresses, index + (len(jobs['chief']) if kind == 'worker' else 0), 'TF_CONFIG', 'its task')


def _checked(addresses, index, source, task):
  for address in addresses:
    host, _, port = address.rpartition(':')
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
      raise ValueError(f'{source}: {address!r} is not host:port')
  if len(set(addresses)) < len(addresses):
    raise ValueError(f'{source}: an address is named twice in {",".join(addresses)}')
  if not 0 <= index < len(addresses):
    raise ValueError(f'{task}: {source} names {len(addresses)} workers, 0 to {len(addresses) - 1}')
  return Cluster(addresses, index) if len(addresses) > 1 else Cluster()


def parse_shard(text):
  """`I/N` as two ints, 0 <= I < N."""
  index, _, count = text.partition('/')
  if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
    raise ValueError(f'--shard {text}: write I/N with 0 <= I < N, such as 0/4 .. 3/4')
  return int(index), int(count)


def find_share(shard='', workers='', task=None, environment=os.environ):
  """Which part of a list is this process's: (index, count).

  Args:
    shard: 'I/N'; it goes before the cluster's, '0/1' is all whatever TF_CONFIG says.
    workers, task, environment: see `find_cluster`; worker i of n does part i of n.

  Raises:
    ValueError: names the flag that is wrong, or two that contradict each other.
  """
  if shard and workers:
    raise ValueError(f'--shard {shard} and --workers {workers} both say what to do: give one')
  if shard:
    return parse_shard(shard)
  cluster = find_cluster(workers, task, environment)
  return cluster.index, cluster.count

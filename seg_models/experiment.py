"""A training run put together: data, network, method and loop, from frozen configurations."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib

import numpy as np
import tensorflow as tf

from seg_models.datasets import dataset_for
from seg_models.image_reader import AugmentationConfig
from seg_models.methods import METHODS
from seg_models.models import ModelConfig
from seg_models.pictures import batch_pictures
from seg_models.training_setup import (
  DataConfig,
  NetworkConfig,
  build_step,
  find_entries,
  make_batches,
  model_config_of,
  restore_start,
)
from utils import checkpoints, run_folder, training
from utils import workers as several
from utils.cluster import TASK_HELP, WORKERS_HELP, find_cluster
from utils.configuration import add_arguments, from_arguments, from_dict, option
from utils.files import read_json
from utils.float32 import exact_float32
from utils.rendezvous import meet
from utils.train_step import uses_xla


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """Where the run is kept and on what it runs."""
  snapshot_dir: str = option('', 'folder of the run: checkpoints, config.json, metrics, events')
  resume: bool | None = option(
      None, 'go on in snapshot_dir; default: if it holds checkpoints')
  num_gpu: int = option(
      1, 'replicas on this machine, each on a GPU of its own; as many as divide --batch_size')
  workers: str = option('', f'{WORKERS_HELP}. Each runs this command and reads its share of every '
                        'batch; the chief keeps --snapshot_dir, the others need none of it')
  task: int | None = option(None, TASK_HELP)
  worker_timeout: int = option(
      600, 'seconds until workers who do not come, or do nothing any more, are given up')


# What a resumed run may change, and workers need not have in common.
_FREE_FIELDS = (*training.FREE_FIELDS, 'cache', 'data_dir', 'data_list', 'oversegmentation_dir',
                'restore_from')
CONFIGS = (DataConfig, NetworkConfig, AugmentationConfig, training.TrainingConfig, RunConfig)


def add_training_arguments(parser, method_name, defaults=None):
  """Adds the flags of a training script to an argparse parser."""
  add_arguments(parser, *CONFIGS, METHODS[method_name].Config, defaults=defaults)


def train_from_arguments(method_name, namespace, defaults=None):
  """Trains with what `add_training_arguments` parsed; returns the exit status."""
  configs = [
      from_arguments(cls, namespace, defaults) for cls in (*CONFIGS, METHODS[method_name].Config)]
  return train(method_name, *configs)


def _settings(configs, method_name, replicas, entries):
  """Dict of JSON values that says which run this is."""
  settings = {'method': method_name, 'replicas': replicas}
  for part in configs:
    settings.update(dataclasses.asdict(part))
  # Files may move between two starts; what they are may not change.
  settings['images'] = hashlib.sha256('\n'.join(entry.id for entry in entries).encode()).hexdigest()
  return settings


def claim_devices(run, loop):
  """Finds out who trains together and on what, and sets TensorFlow to it.

  Args:
    run: `RunConfig`.
    loop: `utils.training.TrainingConfig`.

  Returns:
    cluster: `utils.cluster.Cluster`, of one worker or several.
    replicas: how many this worker has.
    loop: the same with jit_compile decided.

  Raises:
    ValueError: there are no such devices, or the batch cannot be divided among them.
  """
  cluster = find_cluster(run.workers, run.task)
  if cluster.count > 1:
    replicas = several.local_replicas(cluster, run.num_gpu, loop.batch_size)
  else:
    replicas = training.usable_replicas(run.num_gpu, loop.batch_size)
  training.use_devices(replicas)
  exact_float32()
  loop = dataclasses.replace(
      loop, jit_compile=uses_xla(loop.jit_compile, cluster.count * replicas))
  return cluster, replicas, loop


def claim_folder(run, settings, defaults, free_fields=_FREE_FIELDS):
  """Decides between a new run and one to be resumed, before anything long; claims the folder.

  Called under the folder's lock: what another process has written is not to be replaced. A run may
  go on with another number of replicas, which compute the same.

  Args:
    run: `RunConfig`, or what else has its `snapshot_dir` and `resume`.
    settings: dict of JSON values that says which run this is.
    defaults: see `utils.run_folder.claim`.
    free_fields: of the settings, what a resumed run may change.

  Returns:
    The prefix of the newest checkpoint, None for a new run.
  """
  newest = checkpoints.latest(run.snapshot_dir)
  if run.resume and newest is None:
    raise ValueError(f'--resume: {run.snapshot_dir} holds no checkpoint to go on from')
  if run.resume is False and newest is not None:
    raise ValueError(
        f'--no-resume: {run.snapshot_dir} already holds {pathlib.Path(newest).name}, which a new '
        'run would overwrite; name another --snapshot_dir or remove it')
  if newest is None:
    # A run that died before its first checkpoint left nothing that is worth guarding.
    (pathlib.Path(run.snapshot_dir) / 'config.json').unlink(missing_ok=True)
  run_folder.claim(
      run.snapshot_dir, settings, ignore=(*free_fields, 'replicas'), defaults=defaults)
  return newest


def recorded_start(snapshot_dir, restore_from):
  """The file that a run, which goes on, began with; says so where another one is named now.

  Files may move: one of the same name is the same, if there is none where it was. If there is, it
  may be another run's, whose checkpoints have the same names.

  Args:
    snapshot_dir: folder of the run.
    restore_from: the flag's value, '' where it is not given.

  Returns:
    What config.json is to say.
  """
  path = pathlib.Path(snapshot_dir) / 'config.json'
  old = read_json(path)['config'].get('restore_from') if path.exists() else None
  if old is None or old == restore_from or _is_moved(old, restore_from):
    return restore_from
  if restore_from:
    print(f'--restore_from {restore_from} is NOT read: {snapshot_dir} goes on from its own '
          f'checkpoint, and began with {old or "no file"}. For a run from that file name another '
          '--snapshot_dir')
  return old


def _is_moved(old, new):
  """Whether two paths, of files or prefixes of checkpoints, are those of one file."""
  if not (old and new):
    return False
  if os.path.realpath(old) == os.path.realpath(new):
    return True
  is_there = os.path.exists(old) or os.path.exists(f'{old}.index')
  return pathlib.Path(old).name == pathlib.Path(new).name and not is_there


def train(method_name, data, network, augmentation, loop, run, method_config):
  """Trains one of `METHODS` as configured.

  Returns:
    0 when the last step is done, 130 when Ctrl-C or SIGTERM, here or on another worker, stopped the
    run after saving it.

  Raises:
    ValueError, FileNotFoundError: something is wrong with flags, lists, images' paths or the
      checkpoint; before any training.
    TimeoutError: other workers did not come.
    utils.workers.WorkerLost: another worker died; says how to go on.
    utils.pending_steps.NonFiniteError: the loss or a gradient became infinite or NaN.
  """
  cluster, replicas, loop = claim_devices(run, loop)
  dataset = dataset_for(data.dataset, data.num_classes, data.ignore_label)
  method_class = METHODS[method_name]
  if hasattr(method_config, 'check_run'):
    method_config.check_run(loop.num_steps)
  entries = find_entries(data, method_class, method_config)
  if not run.snapshot_dir:
    raise ValueError('--snapshot_dir is missing: name the folder for checkpoints and logs')
  lock = run_folder.lock(run.snapshot_dir) if cluster.is_chief else contextlib.nullcontext()
  with lock:
    return _train(method_class, dataset, entries, cluster, replicas, data, network, augmentation,
                  loop, run, method_config)


def _train(method_class, dataset, entries, cluster, replicas, data, network, augmentation, loop,
           run, method_config):
  """`train` once flags and lists are checked, and no other process can be in the run's folder."""
  method_name, total = method_class.name, cluster.count * replicas
  configs = data, network, augmentation, loop, method_config
  settings = _settings(configs, method_name, total, entries)

  def begin():
    defaults = {}
    for config in configs:
      defaults.update(dataclasses.asdict(type(config)()))
    start = network.restore_from
    if run.resume is not False and checkpoints.latest(run.snapshot_dir) is not None:
      start = recorded_start(run.snapshot_dir, start)
    newest = claim_folder(run, {**settings, 'restore_from': start}, defaults)
    model_config = model_config_of(
        network, method_class.output_dim(dataset.num_classes, network.embedding_dim), newest,
        method_class.network(method_config)[0])
    return {'newest': newest and str(newest), 'model': dataclasses.asdict(model_config)}

  same = {name: value for name, value in settings.items() if name not in _FREE_FIELDS}
  known = meet(cluster, {**same, 'tensorflow': tf.__version__}, begin, run.worker_timeout)
  newest, model_config = known['newest'], from_dict(ModelConfig, known['model'])

  strategy = (training.make_strategy(replicas) if cluster.count == 1 else
              several.make_strategy(cluster, replicas, run.worker_timeout))
  workers = several.Workers(strategy, cluster)
  with workers.watched(lambda: 'Start the same command on every worker again'):
    train_step = build_step(
        model_config, network, loop, dataset, method_class, method_config, strategy)
  if newest is None and cluster.is_chief:
    restore_start(train_step, network)

  def describe(batch):
    return [entries[index].image for index in np.asarray(batch['index'])]

  trainer = training.Trainer(
      train_step, loop, run.snapshot_dir,
      metadata={
          'model': dataclasses.asdict(model_config), 'method': method_name,
          'method_config': dataclasses.asdict(method_config),
          'dataset': {'name': data.dataset, 'num_classes': dataset.num_classes,
                      'ignore_label': dataset.ignore_label}},
      describe=describe, pictures=lambda batch: batch_pictures(train_step.method, batch, dataset),
      workers=workers)
  first_step = trainer.resume()
  if first_step >= loop.num_steps:
    print(f'{newest} is the last step already: nothing to do.')
    return 0
  if first_step:
    print(f'Going on after {newest} with step {first_step}.')
  count = sum(int(np.prod(variable.shape)) for variable in train_step.trainable.values())
  print(f'{method_name}, {model_config.name}: {count / 1e6:.2f} million trainable parameters, '
        f'{len(entries)} images, {loop.num_steps} steps of {loop.iter_size} x {loop.batch_size} '
        f'images of {augmentation.input_size[0]}x{augmentation.input_size[1]}, '
        f'{loop.precision}, {"compiled by XLA" if loop.jit_compile else "not compiled by XLA"}')

  def batches(first):
    return make_batches(
        entries, dataset, augmentation, loop, method_class, method_config, first,
        share=(cluster.index, cluster.count), cache=data.cache,
        device=training.batch_device(total))

  folder = run_folder.RunFolder(run.snapshot_dir, first_step) if cluster.is_chief else None
  saved, signal = trainer.run(batches, folder, first_step)
  if signal:
    after = f'after saving {saved}' if saved else 'before the first step was done'
    print(f'{signal}: stopped {after}; the same command goes on from there.')
    return 130
  print(f'Done: {saved}')
  return 0



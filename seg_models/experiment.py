"""A training run put together: data, network, method and loop, from frozen configurations."""

import dataclasses
import hashlib
import pathlib

import numpy as np

from seg_models.datasets import dataset_for
from seg_models.image_reader import AugmentationConfig, read_list, training_batches
from seg_models.methods import METHODS
from seg_models.models import ModelConfig, build_model, is_head, variable_names
from seg_models.models.restoring import config_for, restore_model
from seg_models.oversegmentations import with_oversegmentations
from seg_models.pictures import batch_pictures
from utils import checkpoints, run_folder, training
from utils.configuration import add_arguments, from_arguments, option
from utils.float32 import exact_float32
from utils.train_step import TrainStep


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which images, and what their labels mean."""
  data_dir: str = option('', 'folder that the paths of --data_list are relative to')
  data_list: str = option('', 'text file with lines `image mask [oversegmentation]`')
  oversegmentation_dir: str = option(
      '', "folder of <id>.png, region ids, for what needs them; default: the list's third column")
  dataset: str | None = option(
      None, "descriptor with names and palette (seg_models/datasets.py); default: VOC's")
  num_classes: int | None = option(
      None, "classes, ignore label not counted; default: the descriptor's, VOC's 21")
  ignore_label: int | None = option(None, "label that is never counted; default: 255")
  cache: bool = option(False, 'keep decoded images in memory')


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
  """Which network, and where its weights come from."""
  model: str | None = option(
      None, "HEAD_BACKBONE (seg_models/models); default: the checkpoint's, else pspnet_resnet101")
  embedding_dim: int | None = option(
      None, "channels of the embedding; default: the checkpoint's, else 32")
  output_stride: int | None = option(
      None, "of the backbone; default: the checkpoint's, else 8", choices=(8, 16))
  width: float | None = option(None, "factor of the backbone's channels; default likewise, else 1")
  blocks: tuple[int, ...] | None = option(
      None, "units of the ResNet's four blocks; default: the backbone's")
  head_dim: int | None = option(None, "channels inside the head; default: the head's")
  batch_norm_decay: float | None = option(None, 'of moving statistics; default: 0.9997, head 0.99')
  use_global_status: bool = option(
      False, 'freeze batch norm: statistics, gamma and beta stay as restored')
  is_training: bool = option(True, 'accepted for the original; training always trains')
  restore_from: str = option('', 'checkpoint or weight file to start from')
  not_restore_classifier: bool = option(False, 'leave the head as initialised')


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """Where the run is kept and on what it runs."""
  snapshot_dir: str = option('', 'folder of the run: checkpoints, config.json, metrics, events')
  resume: bool | None = option(
      None, 'go on in snapshot_dir; default: if it holds checkpoints')
  num_gpu: int = option(1, 'replicas, each on a GPU of its own; as many as divide --batch_size')


CONFIGS = (DataConfig, NetworkConfig, AugmentationConfig, training.TrainingConfig, RunConfig)


def add_training_arguments(parser, method_name, defaults=None):
  """Adds the flags of a training script to an argparse parser."""
  add_arguments(parser, *CONFIGS, METHODS[method_name].Config, defaults=defaults)


def train_from_arguments(method_name, namespace, defaults=None):
  """Trains with what `add_training_arguments` parsed; returns the exit status."""
  configs = [
      from_arguments(cls, namespace, defaults) for cls in (*CONFIGS, METHODS[method_name].Config)]
  return train(method_name, *configs)


def _model_config(network, output_dim, newest=None):
  """The network by flags, and by the file that it is restored from where there are none.

  A run that is resumed has the network of its own newest checkpoint: the file that it started from
  need not be there any more.
  """
  if newest is not None:
    return config_for(newest, ModelConfig())
  flags = {
      'name': network.model, 'output_dim': output_dim, 'output_stride': network.output_stride,
      'width': network.width, 'blocks': network.blocks, 'head_dim': network.head_dim}
  given = {name: value for name, value in flags.items() if value is not None}
  config = ModelConfig(**given)
  if network.restore_from:
    config = config_for(
        network.restore_from, config, tuple(given),
        restore_head=not network.not_restore_classifier)
  decay = network.batch_norm_decay
  if decay is None:
    return config
  return dataclasses.replace(config, batch_norm_decay=decay, head_batch_norm_decay=decay)


def _claim_folder(run, data, network, augmentation, loop, method_config, method_name, replicas,
                  entries):
  """Decides between a new run and one to be resumed, before anything long; claims the folder.

  Called under the folder's lock: what another process has written is not to be replaced.

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
  config = {'method': method_name, 'replicas': replicas}
  defaults = {}
  for part in (data, network, augmentation, loop, method_config):
    config.update(dataclasses.asdict(part))
    defaults.update(dataclasses.asdict(type(part)()))
  # Files may move between two starts; what they are may not change.
  config['images'] = hashlib.sha256('\n'.join(entry.id for entry in entries).encode()).hexdigest()
  run_folder.claim(
      run.snapshot_dir, config,
      ignore=(*training.FREE_FIELDS, 'cache', 'data_dir', 'data_list', 'oversegmentation_dir',
              'restore_from'),
      defaults=defaults)
  return newest


def train(method_name, data, network, augmentation, loop, run, method_config):
  """Trains one of `METHODS` as configured.

  Returns:
    0 when the last step is done, 130 when Ctrl-C or SIGTERM stopped the run after saving it.

  Raises:
    ValueError, FileNotFoundError: something is wrong with flags, lists, images' paths or the
      checkpoint; before any training.
    utils.training.NonFiniteError: the loss or a gradient became infinite or NaN.
  """
  replicas = training.usable_replicas(run.num_gpu, loop.batch_size)
  training.use_devices(replicas)
  exact_float32()
  dataset = dataset_for(data.dataset, data.num_classes, data.ignore_label)
  if not data.data_list:
    raise ValueError('--data_list is missing: a text file with lines `image mask`')
  method_class = METHODS[method_name]
  entries = read_list(data.data_list, data.data_dir, need_mask=method_class.needs_mask)
  entries = with_oversegmentations(
      entries, data.oversegmentation_dir, method_class.needs_oversegmentation(method_config))
  if not run.snapshot_dir:
    raise ValueError('--snapshot_dir is missing: name the folder for checkpoints and logs')
  with run_folder.lock(run.snapshot_dir):
    return _train(method_class, dataset, entries, replicas, data, network, augmentation, loop, run,
                  method_config)


def _train(method_class, dataset, entries, replicas, data, network, augmentation, loop, run,
           method_config):
  """`train` once flags and lists are checked, and no other process can be in the run's folder."""
  method_name = method_class.name
  newest = _claim_folder(
      run, data, network, augmentation, loop, method_config, method_name, replicas, entries)
  model_config = _model_config(
      network, method_class.output_dim(dataset.num_classes, network.embedding_dim), newest)

  strategy = training.make_strategy(replicas)
  with strategy.scope():
    model = build_model(
        model_config, synchronized=replicas > 1, use_global_status=network.use_global_status,
        precision=loop.precision, seed=loop.seed)
  variables = variable_names(model)
  if network.restore_from and newest is None:
    report = restore_model(
        model, network.restore_from, restore_head=not network.not_restore_classifier)
    print(report.summary())
  method = method_class(model, dataset, method_config, loop.batch_size, loop.seed)
  train_step = TrainStep(
      method, variables, loop, strategy,
      {name: 10.0 if is_head(name) else 1.0 for name in variables})

  def describe(batch):
    return [entries[index].image for index in np.asarray(batch['index'])]

  trainer = training.Trainer(
      train_step, loop, run.snapshot_dir,
      metadata={
          'model': dataclasses.asdict(model_config), 'method': method_name,
          'method_config': dataclasses.asdict(method_config),
          'dataset': {'name': data.dataset, 'num_classes': dataset.num_classes,
                      'ignore_label': dataset.ignore_label}},
      describe=describe, pictures=lambda batch: batch_pictures(method, batch, dataset))
  first_step = trainer.resume()
  if first_step >= loop.num_steps:
    print(f'{newest} is the last step already: nothing to do.')
    return 0
  if first_step:
    print(f'Going on after {newest} with step {first_step}.')
  count = sum(int(np.prod(variable.shape)) for variable in train_step.trainable.values())
  print(f'{method_name}, {model_config.name}: {count / 1e6:.2f} million trainable parameters, '
        f'{len(entries)} images, {loop.num_steps} steps of {loop.iter_size} x {loop.batch_size} '
        f'images of {augmentation.input_size[0]}x{augmentation.input_size[1]}')

  with_regions = method_class.needs_oversegmentation(method_config)

  def make_batches(first):
    return training_batches(
        entries, dataset, augmentation, loop.batch_size, loop.seed, first, cache=data.cache,
        need_mask=method_class.needs_mask,
        max_regions=method_config.max_regions if with_regions else None)

  folder = run_folder.RunFolder(run.snapshot_dir, first_step)
  saved, signal = trainer.run(make_batches, folder, first_step)
  if signal:
    print(f'{signal}: stopped after saving {saved}; the same command goes on from there.')
    return 130
  print(f'Done: {saved}')
  return 0



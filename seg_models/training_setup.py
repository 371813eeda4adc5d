"""What is trained, with what and from where: the parts of a run, from frozen configurations."""

import dataclasses

from network.common.pretrained_vit import SOURCES
from seg_models.image_reader import read_list, training_batches
from seg_models.models import ModelConfig, build_model, is_head, variable_names
from seg_models.models.restoring import config_for, restore_model, where_weights_are
from seg_models.oversegmentations import with_oversegmentations
from utils import training
from utils.configuration import option
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
      None, "of the backbone; default: the checkpoint's, else 8, HRNet's 4, a ViT's its patch",
      choices=(4, 8, 14, 16))
  width: float | None = option(None, "factor of the backbone's channels; default likewise, else 1")
  blocks: tuple[int, ...] | None = option(
      None, "units of a ResNet's four blocks, or blocks of a ViT; default: the backbone's")
  head_dim: int | None = option(None, "channels inside the head; default: the head's")
  batch_norm_decay: float | None = option(None, 'of moving statistics; default: 0.9997, head 0.99')
  use_global_status: bool = option(
      False, 'freeze batch norm: statistics, gamma and beta stay as restored')
  is_training: bool = option(True, 'accepted for the original; training always trains')
  restore_from: str = option('', 'checkpoint or weight file to start from')
  not_restore_classifier: bool = option(False, 'leave the head as initialised')
  random_backbone: bool = option(
      False, 'for tests: take a backbone without its weights that is otherwise refused')


def model_config_of(network, output_dim, newest=None, fields=None):
  """The network by flags, and by the file that it is restored from where there are none.

  A run that is resumed has the network of its own newest checkpoint: the file that it started from
  need not be there any more.

  Args:
    network: `NetworkConfig`.
    output_dim: channels that the method needs; None for the file's.
    newest: prefix of the checkpoint that a resumed run goes on from, None for a new run.
    fields: dict, what else the method asks of the network; a projection head of the file's that is
      not among it is left out.

  Raises:
    ValueError: flags contradict the file, or the backbone is one that needs its weights and there
      is no file (see `require_weights`).
  """
  fields = fields or {}
  if newest is not None:
    return config_for(newest, ModelConfig())
  flags = {
      'name': network.model, 'output_dim': output_dim, 'output_stride': network.output_stride,
      'width': network.width, 'blocks': network.blocks, 'head_dim': network.head_dim,
      **fields}
  given = {name: value for name, value in flags.items() if value is not None}
  config = ModelConfig(**given)
  if not network.restore_from and not network.random_backbone:
    require_weights(config)
  if network.restore_from:
    config = config_for(
        network.restore_from, config, tuple(given),
        restore_head=not network.not_restore_classifier)
  if 'projection' not in fields:
    config = dataclasses.replace(config, projection=None, projection_dim=None)
  decay = network.batch_norm_decay
  if decay is None:
    return config
  return dataclasses.replace(config, batch_norm_decay=decay, head_batch_norm_decay=decay)


def require_weights(model_config):
  """Refuses to go on without a file for a backbone that is of no use without its weights.

  Raises:
    ValueError: the backbone is a transformer of DINO; names its public file and what reads it.
  """
  backbone = model_config.parts()[1]
  if backbone in SOURCES:
    raise ValueError(
        f'--restore_from is missing: {backbone} is nothing without its weights: '
        f'{where_weights_are(backbone)} (--random_backbone goes without, for tests)')


def find_entries(data, method_class, method_config):
  """The lines of the list that `data` names, with what the method needs of each: `Entry`s."""
  if not data.data_list:
    raise ValueError('--data_list is missing: a text file with lines `image mask`')
  entries = read_list(data.data_list, data.data_dir, need_mask=method_class.needs_mask)
  return with_oversegmentations(
      entries, data.oversegmentation_dir, method_class.needs_oversegmentation(method_config))


def make_batches(entries, dataset, augmentation, loop, method_class, method_config, first=0,
                 **options):
  """The `training_batches` that a method is trained with; `options` are further ones of these."""
  with_regions = method_class.needs_oversegmentation(method_config)
  return training_batches(
      entries, dataset, augmentation, loop.batch_size, loop.seed, first,
      need_mask=method_class.needs_mask,
      max_regions=method_config.max_regions if with_regions else None, **options)


def build_step(model_config, network, loop, dataset, method_class, method_config, strategy):
  """The network, as initialised, under a method and the `TrainStep` that trains it."""
  with strategy.scope():
    model = build_model(
        model_config, outputs=method_class.network(method_config)[1],
        synchronized=strategy.num_replicas_in_sync > 1,
        use_global_status=network.use_global_status, precision=loop.precision, seed=loop.seed)
  variables = variable_names(model)
  method = method_class(model, dataset, method_config, loop.batch_size, loop.seed)
  return TrainStep(
      method, variables, loop, strategy,
      {name: 10.0 if is_head(name) else 1.0 for name in variables})


def restore_start(train_step, network):
  """Loads the file that a new run starts from, if there is one, and says what it held."""
  if network.restore_from:
    report = restore_model(
        train_step.method.model, network.restore_from,
        restore_head=not network.not_restore_classifier)
    print(report.summary())


def start_step(network, loop, dataset, method_class, method_config):
  """What the first step of a new run is on one device: a `TrainStep`."""
  model_config = model_config_of(
      network, method_class.output_dim(dataset.num_classes, network.embedding_dim),
      fields=method_class.network(method_config)[0])
  train_step = build_step(
      model_config, network, loop, dataset, method_class, method_config, training.make_strategy(1))
  restore_start(train_step, network)
  return train_step

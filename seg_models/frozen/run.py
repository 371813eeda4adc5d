"""A run on frozen features put together: images, trunk, features, neighbours, method and loop."""

import dataclasses
import os

import numpy as np
import tensorflow as tf
import tqdm

from seg_models.datasets import dataset_for
from seg_models.experiment import claim_folder
from seg_models.frozen.batches import check_counts, frozen_batches
from seg_models.frozen.geometry import CROPS, RESAMPLINGS, Geometry
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.neighbours import COUNT, find_neighbours
from seg_models.frozen.store import CacheConfig, FeatureStore
from seg_models.frozen.trunk import TrunkConfig, load_trunk
from seg_models.frozen.views import find_entries, has_masks, views_of
from seg_models.pseudo_classes import pseudo_dataset
from utils import run_folder, training
from utils.cached_rows import key_of
from utils.configuration import add_arguments, from_arguments, option
from utils.float32 import exact_float32
from utils.train_step import TrainStep, uses_xla


@dataclasses.dataclass(frozen=True)
class ImagesConfig:
  """Which images, how they are shown to the trunk, and what labels mean if there are any."""
  images: str = option('', 'folder of images, without any label, in the place of --data_list')
  data_dir: str = option('', 'folder that the paths of --data_list are relative to')
  data_list: str = option('', 'text file with lines `image [mask]`')
  labels: bool = option(
      True, 'train the linear probe on the masks of --data_list, if it names them; clusters never '
      'depend on them')
  dataset: str | None = option(
      None, 'descriptor with names and palette (seg_models/datasets.py)')
  num_classes: int | None = option(
      None, "number of clusters, and of classes where there are labels; default: the descriptor's")
  ignore_label: int | None = option(None, 'label that is never counted; default: 255')
  crops: str = option(
      'one', 'train on whole images, or on five crops of each, of half its height and width',
      choices=CROPS)
  size: int = option(
      224, 'the shorter side of an image, or crop, in pixels; the middle square is cut out')
  resampling: str = option(
      'bilinear', 'how images are resized; the originals take the nearest pixel, which aliases',
      choices=RESAMPLINGS)

  def __post_init__(self):
    if self.crops not in CROPS:
      raise ValueError(f'--crops {self.crops}: one of {", ".join(CROPS)}')
    self.geometry()

  def geometry(self):
    return Geometry(self.size, 'centre', self.resampling)

  def descriptor(self):
    """The `Dataset`; without labels and a name, one of so many groups."""
    if self.dataset is None and self.num_classes is None:
      raise ValueError('--num_classes is missing: into how many clusters? Or name a --dataset')
    if self.dataset is None and self.images:
      return pseudo_dataset(self.num_classes)
    return dataset_for(self.dataset, self.num_classes, self.ignore_label)


@dataclasses.dataclass(frozen=True)
class FolderConfig:
  """Where the run is kept."""
  snapshot_dir: str = option('', 'folder of the run: checkpoints, config.json, metrics, events')
  resume: bool | None = option(None, 'go on in snapshot_dir; default: if it holds checkpoints')


CONFIGS = (ImagesConfig, TrunkConfig, CacheConfig, training.TrainingConfig, FolderConfig)
# What a resumed run may change: where things are, and what makes no difference.
_FREE_FIELDS = (*training.FREE_FIELDS, 'images', 'data_dir', 'data_list', 'restore_from',
                'cache_dir', 'cache_features', 'feature_batch_size')


def add_training_arguments(parser, method_name):
  """Adds the flags of a training script to an argparse parser."""
  method = FROZEN_METHODS[method_name]
  if method.PRESETS:
    parser.add_argument(
        '--preset', choices=method.PRESETS, help='settings of a published run; flags that are '
        'given besides go before them')
  add_arguments(parser, *CONFIGS, method.Config, defaults=method.DEFAULTS)


def train_from_arguments(method_name, namespace):
  """Trains with what `add_training_arguments` parsed; returns the exit status."""
  method = FROZEN_METHODS[method_name]
  preset = getattr(namespace, 'preset', None)
  defaults = {**method.DEFAULTS, **(method.PRESETS[preset] if preset else {})}
  if preset:
    print(preset_text(preset, defaults, vars(namespace)))
  return train_frozen(method_name, *(
      from_arguments(cls, namespace, defaults) for cls in (*CONFIGS, method.Config)))


def preset_text(preset, settings, given):
  """What a preset sets, and which flags go before it, name -> value each: a text."""
  def flags(values):
    return ' '.join(f'--{name} {value}' for name, value in sorted(values.items()))

  kept = {name: value for name, value in settings.items() if name not in given}
  instead = {name: given[name] for name in settings if name in given}
  text = f'--preset {preset} is {flags(kept)}'
  return f'{text}; given in its place: {flags(instead)}' if instead else text


class _WatchedFolder(run_folder.RunFolder):
  """Says once what a method finds alarming in its metrics."""

  def __init__(self, directory, first_step, warning):
    super().__init__(directory, first_step)
    self._warning = warning
    self._said = set()

  def scalars(self, step, values):
    super().scalars(step, values)
    message = self._warning({name: float(value) for name, value in values.items()})
    if message and message not in self._said:
      self._said.add(message)
      tqdm.tqdm.write(f'step {step}: {message}')


def train_frozen(method_name, images, trunk_config, cache, loop, run, method_config):
  """Trains one of `FROZEN_METHODS`; what comes before training is done first, once, and kept.

  The checkpoint to use is the last: none is chosen, for that would take labels.

  Args:
    method_name: key of `FROZEN_METHODS`.
    images, trunk_config, cache, loop, run: instances of `CONFIGS`.
    method_config: of the method's `Config`.

  Returns:
    0 when the last step is done, 130 when Ctrl-C or SIGTERM stopped the run after saving it.

  Raises:
    ValueError, FileNotFoundError: something is wrong with flags, lists, images or weights; before
      anything long.
    utils.pending_steps.NonFiniteError: the loss or a gradient became infinite or NaN.
  """
  method_class = FROZEN_METHODS[method_name]
  training.use_devices(1)
  exact_float32()
  loop = dataclasses.replace(loop, jit_compile=uses_xla(loop.jit_compile, 1))
  if not run.snapshot_dir:
    raise ValueError('--snapshot_dir is missing: name the folder for checkpoints and logs')
  least = getattr(method_class, 'least_batch', 1)
  if loop.batch_size < least:
    raise ValueError(f'--batch_size {loop.batch_size}: {method_name} compares images with each '
                     f'other, which takes at least {least}')
  dataset = images.descriptor()
  entries = find_entries(images.images, images.data_list, images.data_dir)
  labelled = images.labels and has_masks(entries)
  if method_class.needs_labels and not labelled:
    raise ValueError(f'{method_name} is trained on masks: give a --data_list with lines `image '
                     'mask`')
  views = views_of(entries, images.crops)
  with run_folder.lock(run.snapshot_dir):
    trunk = load_trunk(trunk_config, loop.precision)
    check_counts(len(views), loop.batch_size, getattr(method_config, 'num_neighbors', None))
    configs = images, trunk_config, cache, loop, method_config
    settings = {'method': method_name, 'trunk': trunk.settings, 'labelled': labelled,
                'image_ids': key_of({'ids': [view.id for view in views]})}
    defaults = {}
    for config in configs:
      settings.update(dataclasses.asdict(config))
      defaults.update(dataclasses.asdict(type(config)()))
    newest = claim_folder(run, settings, defaults, _FREE_FIELDS)
    store = FeatureStore(trunk, views, images.geometry(), cache, dataset if labelled else None)
    return _train(method_class, dataset, store, trunk, newest, images, trunk_config, cache, loop,
                  run, method_config)


def _train(method_class, dataset, store, trunk, newest, images, trunk_config, cache, loop, run,
           method_config):
  """`train_frozen` once the features are there."""
  needs = {'with_images': hasattr(method_class, 'needs_images')
           and method_class.needs_images(method_config)}
  if hasattr(method_config, 'num_neighbors'):
    needs.update(num_neighbors=method_config.num_neighbors, neighbours=find_neighbours(
        store, cache.cache_dir, max(COUNT, method_config.num_neighbors)))

  def batches(first):
    return frozen_batches(
        store, loop.batch_size, loop.seed, first, device=training.batch_device(1), **needs)

  model = method_class.build_head(trunk.channels, method_config, loop.seed)
  method = method_class(model, dataset, method_config, loop.batch_size, loop.seed)
  if newest is None and hasattr(method, 'prepare'):
    method.prepare(store)
  train_step = TrainStep(
      method, method.variables(), loop, tf.distribute.get_strategy(), method.rate_multipliers())

  def histograms(batch):
    state = {name: tf.convert_to_tensor(value) for name, value in train_step.state.items()}
    return method.histograms(batch, state, tf.constant(0))

  trainer = training.Trainer(
      train_step, loop, run.snapshot_dir,
      metadata={
          'method': method_class.name, 'method_config': dataclasses.asdict(method_config),
          'head': {'channels': trunk.channels, 'seed': loop.seed},
          'trunk': {**trunk.settings, 'config': dataclasses.asdict(trunk_config),
                    'path': trunk_config.restore_from and os.path.abspath(
                        trunk_config.restore_from)},
          'geometry': dataclasses.asdict(images.geometry()), 'crops': images.crops,
          'dataset': {'name': images.dataset, 'num_classes': dataset.num_classes,
                      'ignore_label': dataset.ignore_label, 'labelled': store.has_labels}},
      describe=lambda batch: [store.views[index].id for index in np.asarray(batch['index'])],
      pictures=histograms)
  first_step = trainer.resume()
  if first_step >= loop.num_steps:
    print(f'{newest} is the last step already: nothing to do.')
    return 0
  if first_step:
    print(f'Going on after {newest} with step {first_step}.')
  count = sum(int(np.prod(variable.shape)) for variable in train_step.trainable.values())
  print(f'{method_class.name} on {trunk.model.name}: codes of {model.output_shape[-1]} channels, '
        f'{count / 1e6:.2f} million trainable parameters, {len(store)} images or crops'
        f'{"" if store.has_labels else ", no labels"}, '
        f'{loop.num_steps} steps of {loop.iter_size} x {loop.batch_size}')
  folder = _WatchedFolder(run.snapshot_dir, first_step, method.warning)
  saved, signal = trainer.run(batches, folder, first_step)
  if signal:
    after = f'after saving {saved}' if saved else 'before the first step was done'
    print(f'{signal}: stopped {after}; the same command goes on from there.')
    return 130
  print(f'Done: {saved}')
  return 0

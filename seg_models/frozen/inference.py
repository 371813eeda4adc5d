"""Clusters, and classes of a linear probe, of images or of their middles: files and scores."""

import dataclasses
import os
import pathlib

import numpy as np
import tqdm

from seg_models.datasets import dataset_for
from seg_models.evaluation import Pair
from seg_models.frozen.cluster_folder import IGNORED, KINDS, ClusterFolder
from seg_models.frozen.geometry import MIDDLES, RESAMPLINGS, Geometry
from seg_models.frozen.painting import gallery, paint
from seg_models.frozen.trained import (
  load_trained,
  log_probs_in_stripes,
  newest_checkpoint,
  predict,
)
from seg_models.frozen.views import View, find_entries, has_masks, load_view
from seg_models.scoring import score
from seg_models.share_config import ShareConfig, left_message
from utils import files, images
from utils.background import map_ahead
from utils.configuration import option
from utils.dense_crf import DenseCRFConfig, dense_crf
from utils.float32 import exact_float32
from utils.metrics import NO_CLASS

MAP = 'clusters.json'
SHEET = 'clusters.png'
_PAINTED = 'color', 'overlay', MAP, SHEET, 'metrics.json', 'metrics_linear.json'


@dataclasses.dataclass(frozen=True)
class ClusterConfig(ShareConfig):
  """What is predicted, how, where it goes, and who does it.

  Of several processes each predicts its part of the list; who finds all images done scores and
  paints the whole list, so that clusters are matched to classes over all of it.
  """
  restore_from: str = option('', 'checkpoint, or the folder of a run for its last one')
  trunk_from: str = option('', "the trunk's weights; default: the file that was trained with")
  images: str = option('', 'folder of images, without any label, in the place of --data_list')
  data_dir: str = option('', 'folder that the paths of --data_list are relative to')
  data_list: str = option('', 'text file with lines `image [mask]`; masks are for scores alone')
  dataset: str | None = option(
      None, "descriptor with names and palette; default: the checkpoint's")
  num_classes: int | None = option(None, "classes of the masks; default: the checkpoint's")
  ignore_label: int | None = option(None, "label that is never counted; default: 255")
  size: int = option(320, 'the shorter side of an image in pixels, as the trunk sees it')
  middle: str = option(
      'none', 'none: predict and score the whole image, at its own size; centre: the middle square '
      "of --size pixels alone, the originals' protocol", choices=MIDDLES)
  resampling: str | None = option(
      None, "how images are resized; default: the checkpoint's", choices=RESAMPLINGS)
  flip: bool = option(True, "average the codes of an image and of its mirror image")
  crf: bool = option(
      False, "let a dense CRF draw clusters and classes to the image's colours; its parameters are "
      "in pixels of the predicted image, and the originals' are for --middle centre. Images at "
      "their own size take 2 to 3 GB of memory a megapixel")
  many_to_one: bool = option(
      False, 'match each cluster to its most frequent class, and not one to one')
  cluster_map: str = option(
      '', f'paint by the classes in this {MAP} of another list, where there are no masks here')
  choose_on_labels: bool = option(
      False, 'of all checkpoints of the run take the one with the best mIoU here, as the originals '
      'do: its result is no longer one without labels')

  def __post_init__(self):
    super().__post_init__()
    if self.choose_on_labels and self.is_shared:
      raise ValueError('--choose_on_labels scores every checkpoint on the whole list before it '
                       'goes on: leave it to one process, without --shard, --workers, '
                       '--num_gpu and TF_CONFIG')


def predict_clusters(config, crf=None):
  """Predicts, paints, and scores where there are masks; returns 0.

  Args:
    config: `ClusterConfig`.
    crf: `DenseCRFConfig` of its `crf`; None for the defaults.

  Raises:
    ValueError, OSError: a flag or file is wrong; what is written so far is kept.
  """
  for name in ('restore_from', 'save_dir'):
    if not getattr(config, name):
      raise ValueError(f'--{name} is missing: see --help')
  crf = crf or DenseCRFConfig()
  if not config.crf and crf != DenseCRFConfig():
    raise ValueError('parameters of a CRF without --crf, which uses it')
  crf = crf if config.crf else None
  exact_float32()
  entries = find_entries(config.images, config.data_list, config.data_dir, unique_ids=True)
  if config.images and pathlib.Path(config.images).resolve() in (
      save_dir := pathlib.Path(config.save_dir).resolve(), *save_dir.parents):
    raise ValueError(f'--save_dir {config.save_dir} is in --images, where another call would take '
                     'the results for images: name a folder elsewhere')
  masks = has_masks(entries)
  if config.choose_on_labels:
    if not masks:
      raise ValueError('--choose_on_labels needs a --data_list with masks')
    config = dataclasses.replace(config, restore_from=_best_checkpoint(config, crf, entries))
  trained = load_trained(config.restore_from, config.trunk_from)
  _predict(config, crf, trained, entries, masks, print_scores=True)
  return 0


def _best_checkpoint(config, crf, entries):
  """The checkpoint of a run with the best scores on labels; says so."""
  if not os.path.isdir(config.restore_from):
    raise ValueError(f'--choose_on_labels: {config.restore_from} is one checkpoint; name the '
                     "folder of the run, all of whose are scored")
  prefixes = sorted({path.with_suffix('') for path in pathlib.Path(config.restore_from).glob(
      'model.ckpt-*.index')}, key=lambda path: int(path.name.rpartition('-')[2]))
  if not prefixes:
    newest_checkpoint(config.restore_from)  # which says that there is none
  scores, trunk = {}, None
  for prefix in prefixes:
    part = dataclasses.replace(
        config, restore_from=str(prefix),
        save_dir=str(pathlib.Path(config.save_dir) / 'checkpoints' / prefix.name))
    trained = load_trained(str(prefix), config.trunk_from, trunk)
    trunk = trained.trunk
    scores[str(prefix)] = _predict(part, crf, trained, entries, True).matrix.mean_iou_occurring()
  best = max(scores, key=scores.get)
  print(f'CHOSEN ON LABELS, those of this very list: {best}, of mIoU '
        + ', '.join(f'{100 * value:.2f}' for value in scores.values())
        + '. Without --choose_on_labels the last checkpoint is taken.')
  return best


def _predict(config, crf, trained, entries, masks, print_scores=False):
  """`predict_clusters` of one checkpoint: the main probe's `seg_models.scoring.Scores`, or None.

  None where there are no masks, and where parts of the list are left to other processes.
  """
  dataset = _dataset(config, trained.dataset)
  probes = trained.probes()
  if 'linear' in probes and dataset.num_classes != trained.dataset.num_classes:
    del probes['linear']
    print(f'The linear probe tells {trained.dataset.num_classes} classes apart, not '
          f'{dataset.num_classes}: it is left out.')
    if not probes:
      raise ValueError(f'{config.restore_from} is a linear probe: leave --dataset and '
                       '--num_classes out')
  kinds = dict(zip(KINDS, probes, strict=False))
  geometry = Geometry(config.size, config.middle, config.resampling or trained.resampling)
  cropped = config.middle == 'centre'
  with_labels = masks and cropped
  if config.cluster_map and not masks:
    _read_map(config.cluster_map, dataset)  # wrong ones are refused before all predictions
  settings = {
      **trained.settings, 'geometry': dataclasses.asdict(geometry), 'flip': config.flip,
      'crf': crf and dataclasses.asdict(crf), 'masks': masks, 'dataset': dataset.name,
      'num_classes': dataset.num_classes, 'ignore_label': dataset.ignore_label,
      'many_to_one': config.many_to_one,
      'cluster_map': config.cluster_map and files.read_json(config.cluster_map)}
  folder = ClusterFolder(
      config.save_dir, entries, settings, (*kinds, *['labels'] * with_labels), _PAINTED,
      config.overwrite, config.share)

  def load(entry):
    image, label = load_view(
        View(entry), geometry, dataset if with_labels else None, trained.trunk.stride)
    return entry, image, label, image if cropped else images.read_image(entry.image)

  def ids(log_probs, code, image, path):
    if crf is None:
      return predict(log_probs, code, image.shape[:2])
    whole = np.concatenate(list(log_probs_in_stripes(log_probs, code, image.shape[:2])))
    try:
      return dense_crf(whole, image, crf).argmax(-1).astype(np.int32)
    except ValueError as error:
      raise ValueError(f'{path}: {error}') from error

  missing = folder.missing()
  for entry, image, label, predicted in tqdm.tqdm(
      map_ahead(load, missing), total=len(missing), desc='prediction', unit='image'):
    code = trained.code(image, config.flip)
    maps = {kind: ids(probes[name], code, predicted, entry.image) for kind, name in kinds.items()}
    folder.write(entry, {**maps, 'labels': label} if with_labels else maps)
  if folder.left():
    print(left_message(folder, config))
    return None
  scores = {}
  if masks:
    for kind, name in kinds.items():
      scores[name] = _score(folder, kind, dataset, name == 'clusters', config)
      files.write_json(
          folder.path / ('metrics.json' if kind == 'gray' else 'metrics_linear.json'),
          {'images': len(entries), 'probe': name, **scores[name].as_dict()})
      if print_scores:
        print(f'\n{name}:', *scores[name].lines(), sep='\n')
  main = next(iter(probes))
  count = getattr(trained.method, 'num_clusters', dataset.num_classes)
  classes = _classes(main, scores.get(main), config, dataset, count)
  _write_pictures(folder, geometry, cropped, classes, count, dataset)
  folder.finish()
  print(f'{len(entries)} images in {folder.path}: gray/ (ids of {main}), color/ and overlay/ '
        f'(pictures), {SHEET} (where each id covers most), {MAP} (what they mean)')
  return scores.get(main)


def _dataset(config, own):
  """The `Dataset` that flags name, or that of the checkpoint, perhaps with another ignore label."""
  if config.dataset is None and config.num_classes in (None, own.num_classes):
    dataset = own
  else:
    dataset = dataset_for(config.dataset, config.num_classes)
  if config.ignore_label is None:
    return dataset
  return dataclasses.replace(dataset, ignore_label=config.ignore_label)


def _score(folder, kind, dataset, hungarian, config):
  if 'labels' in folder.kinds:
    dataset = dataclasses.replace(dataset, label_map=None, ignore_label=IGNORED)
  pairs = [Pair(str(folder.file(kind, entry)),
                str(folder.file('labels', entry)) if 'labels' in folder.kinds else entry.mask)
           for entry in folder.entries]
  return score(pairs, dataset, hungarian=hungarian, many_to_one=hungarian and config.many_to_one)


def _classes(main, scores, config, dataset, count):
  """The class of each id: int64 [count], `NO_CLASS` for none; None where nothing is known."""
  if main == 'linear':
    return np.arange(count)
  if scores is not None:
    # The Hungarian method gives clusters without a pixel the classes that are left over.
    found = np.where(scores.matching['counts'].any(1),
                     scores.matching['classes_of_clusters'], NO_CLASS)
    return np.concatenate([found, np.full(count - len(found), NO_CLASS)])
  if not config.cluster_map:
    return None
  known = {int(cluster): index for cluster, index in _read_map(config.cluster_map, dataset)}
  return np.array([known.get(cluster, NO_CLASS) for cluster in range(count)])


def _read_map(path, dataset):
  """Pairs (cluster, class) of a file that `_write_pictures` has written."""
  stored = files.read_json(path)
  try:
    if stored['classes'] != list(dataset.classes):
      raise ValueError(f'{path} is of other classes than --dataset {dataset.name}')
    return [(entry['cluster'], NO_CLASS if entry['class'] is None else entry['class'])
            for entry in stored['clusters']]
  except (KeyError, TypeError) as error:
    raise ValueError(f'{path} is no {MAP} of inference_clusters.py ({error!r})') from error


def _write_pictures(folder, geometry, cropped, classes, count, dataset):
  def shown(entry):
    image = images.read_image(entry.image)
    return geometry.image(image) if cropped else image

  counts = paint(folder, shown, classes, dataset)
  images.write_png(
      folder.path / SHEET, gallery(folder, shown, counts, classes, dataset))
  named = classes is not None
  pixels_of = np.zeros(count, np.int64)  # of clusters that are nowhere, too
  pixels_of[:counts.shape[1]] = counts.sum(0)
  files.write_json(folder.path / MAP, {
      'classes': list(dataset.classes) if named else None,
      'clusters': [
          {'cluster': cluster, 'pixels': int(pixels),
           **({'class': int(classes[cluster]), 'name': dataset.classes[classes[cluster]]}
              if named and classes[cluster] != NO_CLASS else {'class': None, 'name': None})}
          for cluster, pixels in enumerate(pixels_of)]})

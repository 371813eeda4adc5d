"""What extraction and inference are configured by, and the network that they run."""

import dataclasses

from seg_models.datasets import Dataset, dataset_for
from seg_models.embedding import DenseNetwork, Segmenter
from seg_models.image_reader import read_list
from seg_models.models import ModelConfig, build_model, output_stride_of
from seg_models.models.restoring import config_for, restore_model
from seg_models.oversegmentations import with_oversegmentations
from seg_models.region_config import RegionConfig
from seg_models.share_config import ShareConfig
from seg_models.windows import Windows
from utils import checkpoints, resuming
from utils.configuration import option
from utils.float32 import exact_float32

EMBEDDINGS = ('head', 'projection')
# Methods whose head gives the logits of classes.
CLASSIFIERS = ('softmax', 'contrast')


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which images, and what labels mean."""
  data_dir: str = option('', 'folder that the paths of --data_list are relative to',
                         flags=('data-dir',))
  data_list: str = option('', 'text file with lines `image [mask [oversegmentation]]`',
                          flags=('data-list',))
  dataset: str | None = option(
      None, "descriptor with names and palette (seg_models/datasets.py); default: the "
      "checkpoint's, else VOC's")
  num_classes: int | None = option(
      None, "classes, ignore label not counted; default: the checkpoint's, else 21",
      flags=('num-classes',))
  ignore_label: int | None = option(
      None, "label that is never counted; default: the checkpoint's, else 255",
      flags=('ignore-label',))


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
  """Which network, and how it goes over an image."""
  restore_from: str = option('', 'checkpoint, such as snapshots/voc12/model.ckpt-30000',
                             flags=('restore-from',))
  model: str | None = option(
      None, "HEAD_BACKBONE; default: the checkpoint's, else pspnet_resnet101 (the original's); "
      "features_BACKBONE is the backbone's features alone")
  untrained_head: bool = option(
      False, 'initialise a head that the file does not have, for a baseline before training')
  embedding_dim: int | None = option(
      None, "channels of the embedding; default: the checkpoint's, else 32",
      flags=('embedding-dim',))
  windows: bool = option(
      False, 'embed windows of --input_size at --strides and not the whole image at once')
  input_size: tuple[int, int] | None = option(
      None, 'height,width of windows (default: 512,512); unused without --windows',
      flags=('input-size',))
  strides: tuple[int, int] | None = option(
      None, 'vertical,horizontal distance of windows (default: 512,512, or --input_size where that '
      'is smaller); unused without --windows')

  def sliding_windows(self):
    """`Windows`, or None for whole images."""
    if not self.windows:
      return None
    size = self.input_size or (512, 512)
    return Windows(size, self.strides or tuple(min(512, side) for side in size))

  def unused(self):
    """A line on flags that were given and have no use, or None."""
    given = [name for name in ('input_size', 'strides') if getattr(self, name) is not None]
    if self.windows or not given:
      return None
    return (f'{" and ".join(f"--{name}" for name in given)} unused: each image is taken whole, at '
            "its own size; --windows asks for the original's sliding windows")


@dataclasses.dataclass(frozen=True)
class SegmentConfig(RegionConfig):
  """How an image is cut into segments; training's own settings need not be the same.

  Only the location weight is the checkpoint's where no flag says otherwise: it belongs to what the
  embedding was trained for, the others to how finely and exactly this image is to be cut.
  """
  oversegmentation_dir: str = option(
      '', "folder of <id>.png, region ids, for --initial_segments oversegmentation and "
      "--align_segments; default: the list's third column")
  embedding: str | None = option(
      None, "what is cut into segments: the head's output, or the projection that a contrast "
      "checkpoint has beside it; default: the projection of a contrast checkpoint, else the head's",
      choices=EMBEDDINGS)
  num_clusters: int = option(5, 'clusters along each axis of the image at the start of k-means')
  kmeans_iterations: int = option(10, 'iterations of spherical k-means at most')
  location_weight: float | None = option(
      None, "weight of the place in the image in the clustering; default: the checkpoint's, else 1")

  @property
  def regions_read(self):
    """How many regions an oversegmentation may have; None where none is read."""
    return self.max_regions if self.needs_regions else None

  def segmenter(self):
    """The `Segmenter`; the location weight must be known."""
    return Segmenter(
        self.num_clusters, self.kmeans_iterations, self.location_weight, self.initial_segments,
        self.align_segments, self.min_piece_share)

  def settings(self):
    """What segments depend on beside the files: dict of JSON values."""
    names = ['num_clusters', 'kmeans_iterations', 'location_weight']
    if self.needs_regions:
      names += ['initial_segments', 'align_segments', 'min_piece_share']
    return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class OutputConfig(ShareConfig):
  """Where results go and what they look like, and who works on them."""
  batch_size: int = option(1, 'images that go through the network together, where sizes are equal')
  colormap: str | None = option(
      None, "MATLAB file with a colour map for the pictures; default: the data set's own")


@dataclasses.dataclass(frozen=True)
class Network:
  """A restored network.

  Attributes:
    dense: `DenseNetwork`.
    dim: its output's channels.
    dataset: `Dataset` that labels are of.
    method_config: the options that it was trained with, {} if unknown.
    settings: dict of JSON values that says which network this is and how it goes over an image.
    report: text, what was loaded.
  """
  dense: DenseNetwork
  dim: int
  dataset: Dataset
  method_config: dict
  settings: dict
  report: str


def require(**flags):
  """Raises a ValueError that names the flags without a value."""
  missing = [f'--{name}' for name, value in flags.items() if not value]
  if missing:
    raise ValueError(f'{", ".join(missing)} missing: see --help')


def _dataset(data, stored):
  """The descriptor by flags, and by what the checkpoint was trained on where there are none."""
  name, num_classes, ignore_label = data.dataset, data.num_classes, data.ignore_label
  if name is None and num_classes in (None, stored.get('num_classes')):
    name, num_classes = stored.get('name'), stored.get('num_classes')
  if ignore_label is None:
    ignore_label = stored.get('ignore_label')
  return dataset_for(name, num_classes, ignore_label)


def _output_of(path, metadata, method, embedding):
  """The output that a caller needs of a checkpoint's network, one of `build_model`'s.

  Raises:
    ValueError: the checkpoint is of another method, or has no such output.
  """
  trained_by = metadata.get('method', method)
  if 'trunk' in metadata:
    raise ValueError(f'{path} is a checkpoint of {trained_by}, a head on frozen features: use '
                     'inference_clusters.py with it')
  if method in CLASSIFIERS:
    if trained_by not in CLASSIFIERS:
      raise ValueError(f'{path} is a checkpoint of {trained_by}: use extract_prototypes.py and '
                       'inference_segsort.py with it')
    return 'logits'
  has_projection = bool(metadata.get('model', {}).get('projection'))
  embedding = embedding or ('projection' if trained_by == 'contrast' else 'head')
  if embedding == 'head' and trained_by in CLASSIFIERS:
    hint = ', or --embedding projection' if has_projection else ''
    raise ValueError(f'{path} is a checkpoint of {trained_by}: use inference.py with it{hint}')
  if embedding == 'projection' and not has_projection:
    raise ValueError(f'{path} is a checkpoint of {trained_by} and has no projection head: '
                     'train_contrast.py makes one, with a --contrast_weight above 0')
  return 'projection' if embedding == 'projection' else 'logits'


def load_network(data, network, method, embedding=None):
  """Builds the network of a checkpoint and restores it; from here on float32 is exact on GPUs too.

  Args:
    data: `DataConfig`.
    network: `NetworkConfig`.
    method: 'segsort' or 'softmax', what the caller needs: an embedding or logits.
    embedding: one of `EMBEDDINGS`, or None for the checkpoint's; of the method segsort alone.

  Returns:
    `Network`.

  Raises:
    FileNotFoundError, ValueError: there is no such checkpoint, it is of another method or network
      than the flags say, or holds not all of the network.
  """
  require(restore_from=network.restore_from)
  exact_float32()
  archive = checkpoints.open_archive(network.restore_from)
  metadata = archive.metadata
  output = _output_of(network.restore_from, metadata, method, embedding)
  dataset = _dataset(data, metadata.get('dataset', {}))
  output_dim = dataset.num_classes if method == 'softmax' else network.embedding_dim
  given = {'name': network.model, 'output_dim': output_dim if output == 'logits' else None}
  given = {name: value for name, value in given.items() if value is not None}
  config = config_for(network.restore_from, ModelConfig(**given), tuple(given))
  dim = config.output_dim if output == 'logits' else config.projection_dim
  if output == 'projection' and output_dim not in (None, dim):
    raise ValueError(f'--embedding_dim {output_dim}: the projection of {network.restore_from} has '
                     f'{dim} channels; leave the flag out')
  model = build_model(config, outputs=output)
  report = restore_model(model, network.restore_from)
  if report.missing and not network.untrained_head:
    raise ValueError(f'{network.restore_from} holds no trained {config.name}, whose head would be '
                     f'random (--untrained_head):\n{report.summary()}')
  windows = network.sliding_windows()
  model_settings = dataclasses.asdict(config)
  if output == 'logits':  # of a network without a projection head
    del model_settings['projection'], model_settings['projection_dim']
  settings = {
      'checkpoint': resuming.fingerprint(archive.path),
      'model': model_settings,
      **({'untrained_head': True} if report.missing else {}),
      'windows': windows and dataclasses.asdict(windows),
      'dataset': dataset.name, 'num_classes': dataset.num_classes}
  return Network(
      DenseNetwork(model, output_stride_of(config, output), windows), dim, dataset,
      metadata.get('method_config', {}), settings, report.summary())


def load_entries(data, need_mask, segments=None):
  """The entries of the list, all of whose files exist.

  Args:
    data: `DataConfig`.
    need_mask: whether masks are read.
    segments: `SegmentConfig`, which says whether the entries have oversegmentations, and where
      from; without it they have none.

  Raises:
    FileNotFoundError, ValueError: files are missing or superfluous; see
      `seg_models.image_reader.read_list` and `seg_models.oversegmentations.with_oversegmentations`.
  """
  require(data_list=data.data_list)
  entries = read_list(data.data_list, data.data_dir, need_mask=need_mask, unique_ids=True)
  segments = segments or SegmentConfig()
  return with_oversegmentations(entries, segments.oversegmentation_dir, segments.needs_regions)


def segment_settings(segments, network):
  """`SegmentConfig` with nothing left open: the checkpoint's location weight, or 1."""
  if segments.location_weight is not None:
    return segments
  weight = network.method_config.get('location_weight', 1.0)
  return dataclasses.replace(segments, location_weight=weight)

"""Features of a data set's images through a frozen trunk, made once and kept on disk."""

import dataclasses

import numpy as np

from network.common.preprocessing import MEAN_RGB
from seg_models.frozen.views import load_view, sources_of
from utils.background import map_ahead
from utils.cached_rows import cached_rows, key_of
from utils.configuration import option

# Of the manifests: what is in a cache that an older version of this project has made differs.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class CacheConfig:
  """Where features are kept; they are found again by everything that they depend on."""
  cache_dir: str = option('snapshots/features', 'folder of cached features, labels and neighbours')
  cache_features: bool = option(
      True, 'keep feature maps on disk; otherwise the trunk runs in every step, which large data '
      'sets in five crops may need, and only their means are kept')
  feature_dtype: str = option(
      'float16', 'of feature maps on disk; float32 takes twice as much',
      choices=('float16', 'float32'))
  feature_batch_size: int = option(16, 'images that go through the trunk together')

  def __post_init__(self):
    if self.feature_batch_size < 1:
      raise ValueError(f'--feature_batch_size {self.feature_batch_size}: must be at least 1')


class FeatureStore:
  """The features of views, and their labels where there are any.

  Args:
    trunk: `FrozenTrunk`.
    views: list of `View`, N of them, all of one size once prepared.
    geometry: `Geometry`, with the middle cut out.
    cache: `CacheConfig`.
    dataset: None, or the `seg_models.datasets.Dataset` of the labels, which all views have.

  Attributes:
    views: as given.
    means: float32 [N, C], spatial means of the feature maps, memory-mapped.
    manifest: dict of JSON values: all that `means` depend on.

  Raises:
    What `load_view` and `cached_rows` raise.
  """

  def __init__(self, trunk, views, geometry, cache, dataset=None):
    if geometry.middle == 'none':
      raise ValueError('--middle none: the images of a batch are of one size; only in inference '
                       'are they whole')
    self.views = views
    self._trunk = trunk
    self._geometry = geometry
    self._cache = cache
    settings = dataclasses.asdict(geometry)
    self.manifest = {
        'kind': 'features', 'version': _VERSION, **trunk.settings, 'geometry': settings,
        'sources': key_of({'sources': sources_of(views)}), 'images': len(views),
        'maps': cache.feature_dtype if cache.cache_features else None}
    rows = cached_rows(cache.cache_dir, self.manifest, len(views), self._features, 'features')
    self.means, self._maps = rows['means'], rows.get('maps')
    self._labels = None
    if dataset is not None:
      manifest = {
          'kind': 'labels', 'version': _VERSION, 'geometry': settings, 'dataset': dataset.name,
          'num_classes': dataset.num_classes, 'ignore_label': dataset.ignore_label,
          'images': self.manifest['sources'],
          'sources': key_of({'sources': sources_of(views, masks=True)})}
      dtype = np.int8 if dataset.num_classes <= 127 else np.int16
      self._labels = cached_rows(
          cache.cache_dir, manifest, len(views),
          lambda first: ({'labels': label[None].astype(dtype)} for _, label in map_ahead(
              lambda view: load_view(view, geometry, dataset), views[first:])),
          'labels')['labels']

  def __len__(self):
    return len(self.views)

  @property
  def has_labels(self):
    return self._labels is not None

  def _features(self, first):
    """Yields dicts of rows for `cached_rows`."""
    size = self._cache.feature_batch_size
    loaded = map_ahead(
        lambda view: load_view(view, self._geometry)[0], self.views[first:], 2 * size)
    group = []
    for number, image in enumerate(loaded, first + 1):
      group.append(image)
      if len(group) == size or number == len(self.views):
        maps = self._trunk(np.stack(group)).numpy()
        group = []
        rows = {'means': maps.mean((1, 2), dtype=np.float32)}
        if self._cache.cache_features:
          rows['maps'] = self._rounded(maps)
        yield rows

  def _rounded(self, maps):
    with np.errstate(over='ignore'):  # what becomes infinite is looked for
      rounded = maps.astype(self._cache.feature_dtype)
    if not np.isfinite(rounded).all():
      raise FloatingPointError(
          f'features reach {np.abs(maps).max():.3g}, too much for --feature_dtype '
          f'{self._cache.feature_dtype}; is the weight file right? float32 holds more')
    return rounded

  def features(self, indices):
    """Feature maps of some views: float32 [len(indices), h, w, C]."""
    if self._maps is not None:
      return self._maps[indices].astype(np.float32)
    return self._trunk(self._shown(indices)).numpy()

  def images(self, indices):
    """What the trunk sees of some views, RGB minus `MEAN_RGB`: float32 [len(indices), H, W, 3]."""
    return self._shown(indices).astype(np.float32) - np.float32(MEAN_RGB)

  def _shown(self, indices):
    return np.stack([load_view(self.views[index], self._geometry)[0] for index in indices])

  def labels(self, indices):
    """Labels of some views, -1 where there are none: int32 [len(indices), H, W]."""
    if self._labels is not None:
      return self._labels[indices].astype(np.int32)
    return np.full([len(indices), self._geometry.size, self._geometry.size], -1, np.int32)

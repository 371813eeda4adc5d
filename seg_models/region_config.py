"""How the clustering makes use of an oversegmentation: options that all commands share."""

import dataclasses

from utils.configuration import option

INITIAL_SEGMENTS = ('grid', 'oversegmentation')


@dataclasses.dataclass(frozen=True)
class RegionConfig:
  """Options of the clustering over an oversegmentation; the original has none of them."""
  initial_segments: str = option(
      'grid', 'what k-means starts from: the grid of --num_clusters, or the regions of the '
      'oversegmentation, one cluster each', choices=INITIAL_SEGMENTS)
  align_segments: bool = option(
      False, 'split the clusters along the borders of the oversegmentation, so that segments keep '
      'contours')
  min_piece_share: float = option(
      0.05, 'with --align_segments: pieces of fewer pixels than this share of the mean cluster of '
      'their image join their most similar neighbour')
  max_regions: int = option(256, 'regions that an oversegmentation may have, of any ids')

  def __post_init__(self):
    if self.initial_segments not in INITIAL_SEGMENTS:
      raise ValueError(f'--initial_segments {self.initial_segments}: expected one of '
                       f'{", ".join(INITIAL_SEGMENTS)}')
    if not 0 <= self.min_piece_share <= 1:
      raise ValueError(f'--min_piece_share {self.min_piece_share}: must be from 0 to 1')
    if self.max_regions < 1:
      raise ValueError(f'--max_regions {self.max_regions}: must be at least 1')

  @property
  def needs_regions(self):
    """Whether there is anything to do with an oversegmentation."""
    return self.align_segments or self.initial_segments == 'oversegmentation'

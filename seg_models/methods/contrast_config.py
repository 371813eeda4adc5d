"""Options of the pixel contrast; `seg_models.methods.contrast` has the method."""

import dataclasses

from network.contrast.projection import KINDS
from utils.configuration import option

MEMORIES = {'none': (), 'pixel': ('pixel',), 'region': ('region',), 'both': ('region', 'pixel')}


@dataclasses.dataclass(frozen=True)
class ContrastConfig:
  """Options of the contrast; defaults are those of the original's runs on Cityscapes."""
  contrast_weight: float = option(
      0.1, 'weight of the contrast beside the cross-entropy; 0 is the baseline, without a '
      'projection head')
  warmup_steps: int = option(5000, 'first steps, of the cross-entropy alone')
  temperature: float = option(0.1, 'of similarities in the contrast')
  base_temperature: float = option(
      0.07, 'the contrast is scaled by --temperature over this')
  max_samples: int = option(1024, 'anchors a batch at most, of all replicas together')
  max_views: int = option(
      100, 'anchors of a class in an image at most, half of them misclassified pixels; a class of '
      'not more pixels than that has none there')
  projection: str = option(
      'convmlp', 'projection head: one 1x1 convolution, or two', choices=KINDS)
  projection_dim: int = option(256, 'channels of the embedding that is contrasted')
  memory: str = option(
      'none', "what anchors are contrasted with in each other's place: random pixels of earlier "
      "batches, the mean of each class in each image, or both. Off by default: the original's "
      'published gain is of the loss without a memory, it gives no result with one, and its users '
      'found theirs below the baseline', choices=tuple(MEMORIES))
  memory_size: int = option(5000, 'pixels, and means, that are remembered of each class')
  pixel_update_freq: int = option(
      10, 'pixels of a class in an image that are remembered at most')
  full_resolution: bool = option(
      True, "cross-entropy at the images' resolution; otherwise at the network's, for which labels "
      'are sampled, as train_softmax.py does')
  class_weights: tuple[float, ...] | None = option(
      None, 'how much a pixel of each class counts in the cross-entropy; default: all the same')
  auxiliary_weight: float = option(
      0.0, "weight of the cross-entropy of auxiliary logits, of the trunk before its last block or "
      "OCR's soft regions; the original's is 0.4, of DeepLab v3 and OCR")

  def __post_init__(self):
    for name in ('temperature', 'base_temperature', 'max_samples', 'max_views', 'projection_dim',
                 'memory_size', 'pixel_update_freq'):
      if not getattr(self, name) > 0:
        raise ValueError(f'--{name} {getattr(self, name)}: must be above 0')
    for name in ('contrast_weight', 'warmup_steps', 'auxiliary_weight'):
      if not getattr(self, name) >= 0:
        raise ValueError(f'--{name} {getattr(self, name)}: must not be negative')
    if self.max_samples < min(2, self.max_views):
      raise ValueError(f'--max_samples {self.max_samples}: a class needs two anchors, each the '
                       'positive of the other')
    for name, choices in (('memory', MEMORIES), ('projection', KINDS)):
      if getattr(self, name) not in choices:
        raise ValueError(f'--{name} {getattr(self, name)}: one of {", ".join(choices)}')
    if self.class_weights is not None and min(self.class_weights, default=0) < 0:
      raise ValueError(f'--class_weights {self.class_weights}: must not be negative')

  def check_run(self, num_steps):
    """Raises a ValueError where a run of so many steps would never use what is asked for."""
    if self.memory != 'none' and not self.contrast_weight:
      raise ValueError(
          f'--memory {self.memory}: with --contrast_weight 0 nothing is contrasted with it; give '
          'a weight above 0 (the original: 0.1), or --memory none for the cross-entropy alone')
    if self.contrast_weight and self.warmup_steps >= num_steps:
      raise ValueError(
          f'--warmup_steps {self.warmup_steps}: the run ends after --num_steps {num_steps}, before '
          'the contrast begins; give fewer (the original: an eighth of the run), or '
          '--contrast_weight 0 for the cross-entropy alone')

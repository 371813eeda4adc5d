"""The row of `pyscripts/benchmark/benchmark_speed.py` that is a step with pixel contrast."""

import dataclasses

from seg_models import speed
from seg_models.datasets import dataset_for
from seg_models.methods.contrast import Contrast, ContrastConfig
from seg_models.models import ModelConfig, build_model
from seg_models.speed_training import drawn_batch, step_of

# Crops as in the CamVid recipe, and its network for the contrast. A map of theirs has 400 pixels:
# classes of fewer than the default's take part, so that the anchors are as many as may be.
BATCH, SIDE, MAX_VIEWS = 8, 160, 50


def contrast_step(scale):
  """A step with 1024 anchors against the cross-entropy alone: DeepLab v3, MobileNetV2.

  The plain way is the same step with weight 0, which has no projection head: the ratio is below 1
  where the contrast costs anything.
  """
  side = max(int(SIDE * scale) // 16, 2) * 16
  batch = drawn_batch(BATCH, side)
  size = ModelConfig(name='deeplab_v3_mobilenet_v2')
  if scale < 1:
    size = dataclasses.replace(size, width=0.35, head_dim=32)

  def step_with(weight):
    config = ContrastConfig(
        contrast_weight=weight, warmup_steps=0, max_samples=1024,
        max_views=max(int(MAX_VIEWS * scale ** 2), 1))
    more, outputs = Contrast.network(config)
    model = build_model(
        dataclasses.replace(size, output_dim=dataset_for().num_classes, **more), outputs=outputs,
        seed=0)
    return step_of(Contrast(model, dataset_for(), config, BATCH, seed=0), model, batch)

  fast, plain = step_with(0.1), step_with(0.0)
  return speed.Work(fast, plain, notes=lambda times: {
      'times_without': times['fast'].seconds / times['plain'].seconds,
      'cpu_times_without': times['fast'].cpu_seconds / times['plain'].cpu_seconds,
      'anchors': fast()['num_anchors']})

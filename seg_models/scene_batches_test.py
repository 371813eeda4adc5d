import numpy as np

from seg_models.augmentation import AugmentationConfig
from seg_models.datasets import dataset_for
from seg_models.scene_batches import scene_batch


def test_batches_are_like_those_of_files():
  augmentation = AugmentationConfig((40, 56), random_scale=True, random_mirror=True)
  batch = scene_batch(3, 4, augmentation, dataset_for(None, 4), seed=1)
  assert {name: (value.dtype.name, *value.shape) for name, value in batch.items()} == {
      'image': ('float32', 4, 40, 56, 3), 'label': ('int32', 4, 40, 56),
      'valid': ('bool', 4, 40, 56), 'location': ('float32', 4, 40, 56, 2),
      'size': ('int32', 4, 2), 'index': ('int64', 4), 'oversegmentation': ('int32', 4, 40, 56)}
  label, valid = batch['label'].numpy(), batch['valid'].numpy()
  assert set(np.unique(label)) == {0, 1, 2, 3, 255}
  assert not valid.all() and (label[~valid] == 255).all()
  regions = batch['oversegmentation'].numpy()
  assert (regions[~valid] == -1).all() and regions[valid].min() == 0 and regions.max() == 47


def test_a_batch_depends_on_its_number_and_the_seed():
  augmentation, dataset = AugmentationConfig((24, 24)), dataset_for(None, 6)
  images = [scene_batch(step, 1, augmentation, dataset, seed)['image'].numpy()
            for step, seed in [(0, 0), (0, 0), (1, 0), (0, 1)]]
  np.testing.assert_array_equal(images[0], images[1])
  assert (images[0] != images[2]).any() and (images[0] != images[3]).any()

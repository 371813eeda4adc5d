import numpy as np

from network.common.preprocessing import MEAN_RGB
from seg_models.datasets import dataset_for
from seg_models.pictures import batch_pictures


class Maps:
  """A method that gives one map of each kind."""

  def maps(self, batch):
    count = len(batch['image'])
    return {'prediction': np.ones([count, 2, 2], np.int32),
            'segments': np.array([[[-1, 0], [1, 254]]] * count),
            'embedding': np.random.default_rng(0).normal(size=[count, 2, 2, 5])}


def test_every_map_becomes_a_picture():
  dataset = dataset_for(None, 3)
  batch = {'image': np.full([3, 16, 16, 3], 10.0, np.float32),
           'label': np.full([3, 16, 16], 255)}
  pictures = batch_pictures(Maps(), batch, dataset, count=2)
  assert list(pictures) == ['input', 'truth', 'prediction', 'segments', 'embedding']
  assert all(value.dtype == np.uint8 and value.shape[0] == 2 for value in pictures.values())
  np.testing.assert_array_equal(
      pictures['input'][0, 0, 0], np.round(MEAN_RGB + 10).astype(int))
  assert (pictures['prediction'] == dataset.palette[1]).all()
  segments = pictures['segments'][0].reshape(-1, 3)
  assert not segments[0].any()  # outside the image
  assert len({tuple(color) for color in segments}) == 4

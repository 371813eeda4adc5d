import numpy as np
import pytest

from pyscripts.inference import show_neighbours
from seg_models.datasets import dataset_for
from seg_models.image_reader import read_list
from seg_models.prediction_folder import PredictionFolder
from utils import images


@pytest.fixture
def command(tmp_path):
  """A command line for one image whose prediction and neighbours are as inference writes them."""
  images.write_png(tmp_path / 'a.png', np.full([20, 30, 3], 90, np.uint8))
  (tmp_path / 'list.txt').write_text('a.png\n')
  (entry,) = read_list(tmp_path / 'list.txt', str(tmp_path), need_mask=False)
  folder = PredictionFolder(
      tmp_path / 'val', [entry], dataset_for('scenes'), {}, with_neighbours=True)
  folder.write(entry, np.zeros([20, 30], int), [{
      'segment': 0, 'class': 0, 'pixels': 600, 'box': [0, 0, 20, 30], 'neighbours': [
          {'prototype': 3, 'class': 1, 'similarity': 0.5, 'image': 'a.png', 'box': [0, 0, 5, 5]}]}])
  return ['--data_dir', str(tmp_path), '--data_list', str(tmp_path / 'list.txt'), '--save_dir',
          str(tmp_path / 'val')]


def test_what_inference_wrote_is_drawn(command, tmp_path):
  assert show_neighbours.main([*command, '--dataset', 'scenes']) == 0
  assert images.read_image(tmp_path / 'val/explained/a.png').shape[0] > 2 * 120


def test_classes_of_another_data_set_are_refused(command):
  with pytest.raises(ValueError, match='stripes.*--dataset'):
    show_neighbours.main(command)


def test_what_is_missing_is_named(command, tmp_path):
  (tmp_path / 'val/neighbours/a.json').unlink()
  with pytest.raises(FileNotFoundError, match='a.json is missing.*--save_neighbours'):
    show_neighbours.main(command)

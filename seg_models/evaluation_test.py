import numpy as np
import pytest

from seg_models import evaluation
from seg_models.datasets import dataset_for
from utils import images
from utils.metrics import ConfusionMatrix


def write(path, array):
  images.write_png(path, np.array(array, np.uint8))
  return str(path)


@pytest.fixture
def folders(tmp_path):
  """Three masks, of them a and sub/b predicted."""
  for name in ('a', 'sub/b', 'c'):
    write(tmp_path / f'gt/{name}.png', [[0, 1], [1, 255]])
  for name in ('a', 'sub/b'):
    write(tmp_path / f'pred/{name}.png', [[0, 1], [0, 1]])
  return tmp_path


@pytest.mark.parametrize('slash', ['', '/'])
def test_predictions_decide_what_is_scored(folders, slash):
  pairs, unpredicted = evaluation.pairs_of_folders(f'{folders}/pred{slash}', f'{folders}/gt{slash}')
  assert pairs == [
      evaluation.Pair(f'{folders}/pred/{name}.png', f'{folders}/gt/{name}.png')
      for name in ('a', 'sub/b')]
  assert unpredicted == [f'{folders}/gt/c.png']


def test_names_of_masks_by_replacement(tmp_path):
  write(tmp_path / 'pred/x_leftImg8bit.png', [[0]])
  for name in ('x_gtFine_labelIds', 'x_gtFine_color', 'y_gtFine_labelIds'):
    write(tmp_path / f'gt/{name}.png', [[7]])
  pairs, unpredicted = evaluation.pairs_of_folders(
      tmp_path / 'pred', tmp_path / 'gt', 'leftImg8bit,gtFine_labelIds', '_labelIds.png')
  assert [pair.truth for pair in pairs] == [f'{tmp_path}/gt/x_gtFine_labelIds.png']
  assert unpredicted == [f'{tmp_path}/gt/y_gtFine_labelIds.png']


def test_missing_masks_and_folders_are_named(folders):
  (folders / 'gt/a.png').unlink()
  (folders / 'gt/sub/b.png').unlink()
  both = r'2 of 2 predictions(?s:.*)gt/a\.png.*\n.*gt/sub/b\.png'
  with pytest.raises(FileNotFoundError, match=both):
    evaluation.pairs_of_folders(folders / 'pred', folders / 'gt')
  with pytest.raises(FileNotFoundError, match='--gt_dir.*nowhere'):
    evaluation.pairs_of_folders(folders / 'pred', 'nowhere')
  (folders / 'empty').mkdir()
  with pytest.raises(FileNotFoundError, match='--pred_dir.*no PNG'):
    evaluation.pairs_of_folders(folders / 'empty', folders / 'gt')


@pytest.mark.parametrize('replacement', ['', 'a', 'a,b,c', ',b'])
def test_faulty_replacement_is_refused(folders, replacement):
  with pytest.raises(ValueError, match='--string_replace'):
    evaluation.pairs_of_folders(folders / 'pred', folders / 'gt', replacement)


def test_listed_images_need_predictions(folders):
  (folders / 'list.txt').write_text('images/a.jpg gt/a.png\nimages/c.jpg gt/c.png\n')
  with pytest.raises(FileNotFoundError, match=r'2 images, of which 1 have(?s:.*)pred/c\.png'):
    evaluation.pairs_of_list(folders / 'list.txt', folders, folders / 'pred')
  (folders / 'list.txt').write_text('images/a.jpg gt/a.png')
  expected = [evaluation.Pair(f'{folders}/pred/a.png', f'{folders}/gt/a.png')]
  assert evaluation.pairs_of_list(folders / 'list.txt', folders, folders / 'pred') == expected
  (folders / 'list.txt').write_text('images/a.jpg')
  listed = (folders / 'list.txt', folders, folders / 'pred')
  assert evaluation.pairs_of_list(*listed, f'{folders}/gt') == expected
  with pytest.raises(FileNotFoundError, match=r'other/a\.png'):
    evaluation.pairs_of_list(*listed, f'{folders}/other')


def test_every_metric_gets_every_pair(folders):
  matrix, again = ConfusionMatrix(2), ConfusionMatrix(2)
  pairs, _ = evaluation.pairs_of_folders(folders / 'pred', folders / 'gt')
  evaluation.evaluate(pairs, dataset_for(None, 2), matrix, again)
  np.testing.assert_array_equal(matrix.counts, [[2, 0], [2, 2]])
  np.testing.assert_array_equal(again.counts, matrix.counts)


def test_predictions_may_be_relabelled(folders):
  matrix = ConfusionMatrix(2)
  pairs, _ = evaluation.pairs_of_folders(folders / 'pred', folders / 'gt')
  evaluation.evaluate(pairs, dataset_for(None, 2), matrix, relabel=lambda labels: 1 - labels)
  np.testing.assert_array_equal(matrix.counts, [[0, 2], [2, 2]])


def test_raw_labels_of_the_truth_are_mapped(tmp_path):
  pair = evaluation.Pair(write(tmp_path / 'a.png', [[0, 1]]),
                         write(tmp_path / 'a_labelIds.png', [[7, 8]]))
  matrix = ConfusionMatrix(19)
  evaluation.evaluate([pair], dataset_for('cityscapes'), matrix)
  assert matrix.mean_iou() == 1


@pytest.mark.parametrize('prediction,truth,message', [
    ([[0, 1, 0]], [[0], [1]], r'pred\.png is 3x1, but .*truth\.png is 1x2'),
    ([[0, 9]], [[0, 1]], r'pred\.png against .*truth\.png: the prediction holds labels \[9\]'),
    ([[0, 0]], [[0, 38]], r'truth\.png: values 38.*palette')])
def test_faulty_pairs_are_named(tmp_path, prediction, truth, message):
  pair = evaluation.Pair(
      write(tmp_path / 'pred.png', prediction), write(tmp_path / 'truth.png', truth))
  with pytest.raises(ValueError, match=message):
    evaluation.evaluate([pair], dataset_for(None, 2), ConfusionMatrix(2))

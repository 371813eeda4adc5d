import json
import re

import numpy as np
import pytest

from pyscripts.benchmark import benchmark_by_mIoU
from utils import colors, images


@pytest.fixture
def folders(tmp_path):
  """Palette masks as in VOC, one gray prediction: IoU 2/4 and 1/3, class 2 absent."""
  truth = np.array([[0, 0, 0], [1, 1, 255]], np.uint8)
  for name in ('x', 'y'):
    images.write_png(tmp_path / f'gt/{name}.png', truth, colors.voc_palette())
  images.write_png(tmp_path / 'pred/x.png', np.array([[0, 0, 1], [0, 1, 0]], np.uint8))
  (tmp_path / 'list.txt').write_text('x.jpg gt/x.png\n')
  return tmp_path


def score(folders, *arguments):
  return benchmark_by_mIoU.main([
      '--pred_dir', f'{folders}/pred/', '--num_classes', '3', *map(str, arguments)])


def test_originals_command_line_and_lines(folders, capsys):
  assert score(folders, '--gt_dir', f'{folders}/gt/') == 0
  out = capsys.readouterr().out
  assert '1 images scored' in out
  assert re.search(r'1 masks of .*gt/ have no prediction.*y\.png', out)
  mean = (2 / 4 + 1 / 3) / 3
  assert f'\nmean IOU: {100 * mean:.4f}%\n' in out
  assert 'mIoU over the 2 classes present: 41.67 %' in out
  assert 'class aeroplane : 01, acc: 33.3333%' in out


def test_list_and_files(folders):
  out = folders / 'out'
  assert score(folders, '--data_list', folders / 'list.txt', '--data_dir', folders,
               '--output_dir', out, '--json', folders / 'a.json') == 0
  report = json.loads((folders / 'a.json').read_text())
  assert report == json.loads((out / 'metrics.json').read_text())
  assert report['images'] == 1 and report['mean_iou'] == pytest.approx(5 / 12)
  assert (out / 'confusion.csv').read_text().splitlines()[1] == 'background,2,1,0'
  assert images.read_image(out / 'confusion.png').ndim == 3


def test_boundary_bands_and_f(folders, capsys):
  """Truth 000/11x, prediction 001/010: the last of row 0 is sqrt(2) away from class 1."""
  arguments = '--gt_dir', folders / 'gt', '--json', folders / 'a.json'
  assert score(folders, *arguments, '--boundary') == 0
  assert 'boundary F of classes' in capsys.readouterr().out
  report = json.loads((folders / 'a.json').read_text())['boundary']
  assert [band['width'] for band in report['bands']] == [1, 3, 5, 9]
  assert [band['mean_iou'] for band in report['bands']] == pytest.approx([5 / 12] * 4)
  assert 0 < report['f'] < 1
  score(folders, *arguments, '--boundary', '2')
  widths = json.loads((folders / 'a.json').read_text())['boundary']['bands']
  assert [band['width'] for band in widths] == [2]


def test_clusters_are_matched(folders, capsys):
  """Clusters 9 and 4 stand for the classes of the prediction above."""
  ids = np.array([[9, 9, 4], [9, 4, 300]], np.uint16)
  images.write_png(folders / 'pred/x.png', ids)
  out = folders / 'out'
  arguments = '--gt_dir', folders / 'gt', '--hungarian', '--boundary', '--output_dir', out
  assert score(folders, *arguments) == 0
  report = json.loads((out / 'metrics.json').read_text())
  assert {each['cluster']: each['name'] for each in report['hungarian']['matching']} == {
      4: 'aeroplane', 9: 'background'}
  assert report['mean_iou'] == pytest.approx(5 / 12) and report['boundary']['f'] > 0
  assert re.search(r'aeroplane +4\n', capsys.readouterr().out)
  assert (out / 'confusion.csv').read_text().splitlines()[1] == 'background,2,1,0'
  ids[0, 0] = 7
  images.write_png(folders / 'pred/x.png', ids)
  score(folders, '--gt_dir', folders / 'gt', '--hungarian', '--many_to_one', '--output_dir', out)
  report = json.loads((out / 'metrics.json').read_text())
  assert report['hungarian']['many_to_one']
  assert report['mean_iou'] == pytest.approx((3 / 5 + 0) / 2)  # 4 holds one pixel of both classes


@pytest.mark.parametrize('arguments,error,message', [
    (['--many_to_one'], ValueError, 'give --hungarian too'),
    (['--num_clusters', '4'], ValueError, 'give --hungarian too'),
    (['--gt_dir', 'gt', '--hungarian', '--num_clusters', '1'], FileNotFoundError, 'gt'),
    ([], ValueError, '--data_list.*--gt_dir'),
    (['--gt_dir', 'gt', '--ignore_label', '254'], FileNotFoundError, "'gt'"),
    (['--data_list', 'list.txt', '--dataset', 'camvid'], ValueError, '3 contradicts')])
def test_faulty_command_lines(folders, arguments, error, message):
  with pytest.raises(error, match=message):
    score(folders, *arguments)


@pytest.mark.parametrize('widths,message', [('a', 'invalid widths value'), ('', 'invalid widths')])
def test_widths_are_numbers(folders, widths, message, capsys):
  with pytest.raises(SystemExit):
    score(folders, '--gt_dir', folders / 'gt', '--boundary', widths)
  assert message in capsys.readouterr().err


def test_masks_without_a_counted_pixel_are_an_error(folders):
  images.write_png(folders / 'gt/x.png', np.full((2, 3), 255, np.uint8))
  with pytest.raises(ValueError, match='none of the 1 masks has a pixel that counts'):
    score(folders, '--gt_dir', folders / 'gt')

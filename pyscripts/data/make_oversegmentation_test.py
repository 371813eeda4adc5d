import json

import numpy as np
import pytest

from pyscripts.benchmark import benchmark_oversegmentation
from pyscripts.data import make_oversegmentation
from utils import images
from utils.shared_data import shared


def test_one_bad_image_stops_nothing_else(tmp_path, capsys):
  rng = np.random.default_rng(0)
  for name in 'abc':
    images.write_png(
        tmp_path / f'images/{name}.png', rng.integers(0, 255, (20, 30, 3)).astype('u1'))
    if name != 'c':
      images.write_png(tmp_path / f'maps/{name}.png', rng.integers(0, 255, (20, 30)).astype('u1'))
  (tmp_path / 'maps/a.png').write_bytes((tmp_path / 'maps/a.png').read_bytes()[:99])
  command = ['--images', str(tmp_path / 'images'), '--contours', str(tmp_path / 'maps'),
             '--output', str(tmp_path / 'out'), '--workers', '1', '--min_area', '4']
  assert make_oversegmentation.main(command) == 1
  output = capsys.readouterr()
  assert '1 masks written, 0 there already' in output.out
  assert 'failed: ' in output.err and 'a.png' in output.err
  assert f'no contour map of {tmp_path / "images/c.png"}' in output.err
  assert images.read_mask(tmp_path / 'out/b.png').max() < 48

  for name in 'ac':
    images.write_png(tmp_path / f'maps/{name}.png', rng.integers(0, 255, (20, 30)).astype('u1'))
  assert make_oversegmentation.main(command) == 0
  assert '2 masks written, 1 there already' in capsys.readouterr().out
  assert make_oversegmentation.main(command) == 0
  assert '0 masks written, 3 there already' in capsys.readouterr().out


def test_nothing_to_score_is_refused(tmp_path):
  with pytest.raises(ValueError, match='--masks'):
    benchmark_oversegmentation.main(['--ground_truth', str(tmp_path)])


@pytest.mark.slow
def test_contours_of_bsds_reach_the_promised_covering(tmp_path):
  data = shared('data/bsds40')
  assert make_oversegmentation.main([
      '--images', str(data / 'images'), '--contours', str(data / 'contours'),
      '--output', str(tmp_path / 'masks'), '--save_ucm', str(tmp_path / 'ucm')]) == 0
  assert benchmark_oversegmentation.main([
      '--ground_truth', str(data / 'groundTruth'), '--masks', str(tmp_path / 'masks'),
      '--ucm', str(tmp_path / 'ucm'), '--thresholds', '24',
      '--json', str(tmp_path / 'scores.json')]) == 0
  scores = json.loads((tmp_path / 'scores.json').read_text())
  assert scores['ucm']['images'] == scores['masks']['images'] == 40
  assert scores['ucm']['covering']['ods'] >= 0.67
  assert scores['masks']['covering'] >= 0.60

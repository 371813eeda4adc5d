import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from pyscripts.benchmark import benchmark_oversegmentation
from pyscripts.data import make_oversegmentation
from seg_models.hed_contours import hed_detector
from seg_models.hed_contours_test import arrays, blobs
from utils import images
from utils.caffemodel_test import network
from utils.contours import gradient
from utils.oversegmentation import oversegment
from utils.shared_data import shared


def noise(height=20, width=30):
  return np.random.default_rng(0).integers(0, 255, (height, width)).astype(np.uint8)


def photo(path, height=20, width=30):
  image = np.random.default_rng(len(path.name)).integers(0, 255, (height, width, 3))
  images.write_png(path, image.astype(np.uint8))


def flags(folder, contours='maps', output='out'):
  contours = contours if contours in ('gradient', 'hed') else str(folder / contours)
  return ['--images', str(folder / 'images'), '--contours', contours,
          '--output', str(folder / output), '--workers', '1']


def masks(folder):
  return {path.stem: images.read_mask(path) for path in sorted(folder.glob('*.png'))}


def cut_short(path):
  path.write_bytes(path.read_bytes()[:99])


# name -> (contour map, part of the message), of images of 20 x 30 pixels
FAULTY = {
    'other_size': (noise(30, 20), 'other_size.png is 30 x 20, but .*other_size.png is 20 x 30'),
    'third_axis': (noise()[..., None] / 255, 'third_axis.npy is 20 x 30 x 1, but'),
    'not_a_number': (np.where(noise() < 9, np.nan, 0.5), r'not_a_number.npy: \d+ values are NaN'),
    'negative': (noise() / 255 - 0.5, 'negative.npy: values from -0.5 to .* but contours are 0..1'),
    'above_one': (noise().astype(np.float32), 'above_one.npy: values from 0 to 254, .* divide'),
    'integers': (noise().astype(np.int64), 'integers.npy: holds int64, .* floats 0..1'),
    'objects': (noise().astype(object), 'objects.npy: .*allow_pickle=False'),
    'colours': (np.repeat(noise()[..., None], 3, -1), 'colours.png: expected a gray image'),
}
GOOD = {
    'b': noise(), 'c16': noise().astype(np.uint16) * 257, 'half': (noise() / 255).astype('f2'),
    'constant': np.full((20, 30), 0.5),
}


def test_faulty_files_are_reported_at_the_end_and_stop_nothing_else(tmp_path, capsys):
  (tmp_path / 'maps').mkdir()
  for name, contours in {**GOOD, **{name: each[0] for name, each in FAULTY.items()},
                         'archive': None, 'cut_image': noise(), 'cut_map': noise()}.items():
    photo(tmp_path / f'images/{name}.png')
    if name == 'archive':
      with open(tmp_path / 'maps/archive.npy', 'wb') as file:
        np.savez(file, noise() / 255)
    elif contours.dtype in (np.uint8, np.uint16):
      images.write_png(tmp_path / f'maps/{name}.png', contours)
    else:
      np.save(tmp_path / f'maps/{name}.npy', contours, allow_pickle=contours.dtype == object)
  cut_short(tmp_path / 'images/cut_image.png')
  cut_short(tmp_path / 'maps/cut_map.png')
  photo(tmp_path / 'images/missing.png')
  for size in ((1, 1), (1, 9), (7, 1)):
    name = 'tiny{}x{}'.format(*size)
    photo(tmp_path / f'images/{name}.png', *size)
    images.write_png(tmp_path / f'maps/{name}.png', noise(*size))

  assert make_oversegmentation.main([*flags(tmp_path), '--save_ucm', str(tmp_path / 'ucm')]) == 1
  output = capsys.readouterr()
  assert '7 masks written, 0 there already' in output.out
  assert output.err.count('failed: ') == len(FAULTY) + 3
  for _, message in FAULTY.values():
    assert re.search(f'failed: .*{message}', output.err), message
  assert re.search('failed: .*images/cut_image.png: cannot be read as an image', output.err)
  assert re.search('failed: .*maps/cut_map.png: cannot be read as an image', output.err)
  assert re.search('failed: .*archive.npy: not an array', output.err)
  missing = tmp_path / 'maps/missing'
  assert (f'no contour map of {tmp_path / "images/missing.png"}: neither {missing}.npy nor '
          f'{missing}.png') in output.err
  assert '1 contour maps are missing, 11 images failed' in output.err

  made = masks(tmp_path / 'out')
  assert set(made) == {*GOOD, 'tiny1x1', 'tiny1x9', 'tiny7x1'}
  assert {path.stem for path in (tmp_path / 'ucm').iterdir()} == set(made)
  assert not made['constant'].any() and made['tiny1x1'].tolist() == [[0]]
  assert 1 < made['b'].max() < 48
  np.testing.assert_array_equal(made['c16'], made['b'])

  for name in [*FAULTY, 'archive', 'cut_image', 'cut_map', 'missing']:
    photo(tmp_path / f'images/{name}.png')
    (tmp_path / f'maps/{name}.npy').unlink(missing_ok=True)
    images.write_png(tmp_path / f'maps/{name}.png', noise())
  again = [*flags(tmp_path), '--save_ucm', str(tmp_path / 'ucm')]
  assert make_oversegmentation.main(again) == 0
  assert '12 masks written, 7 there already' in capsys.readouterr().out
  assert make_oversegmentation.main(again) == 0
  assert '0 masks written, 19 there already' in capsys.readouterr().out


def test_a_wrong_folder_of_maps_does_not_flood(tmp_path, capsys):
  (tmp_path / 'maps').mkdir()
  for index in range(120):
    photo(tmp_path / f'images/{index}.png', 1, 1)
  assert make_oversegmentation.main(flags(tmp_path)) == 1
  lines = capsys.readouterr().err.splitlines()
  assert len([line for line in lines if 'neither' in line]) == 100
  assert lines[-2] == 'no contour map of 20 more'
  assert lines[-1].startswith('120 contour maps are missing, 0 images failed')


def test_ids_fit_the_masks(tmp_path):
  photo(tmp_path / 'images/a.png', 70, 80)
  images.write_png(tmp_path / 'maps/a.png', noise(70, 80))
  fine = ['--smoothing', '0', '--max_regions']
  with pytest.raises(ValueError, match=r'--max_regions 300: must be 1..255 \(or --bits 16\)'):
    make_oversegmentation.main([*flags(tmp_path), *fine, '300'])
  assert not (tmp_path / 'out').exists()
  assert make_oversegmentation.main([*flags(tmp_path), *fine, '255']) == 0
  assert 200 < masks(tmp_path / 'out')['a'].max() <= 254
  assert make_oversegmentation.main(
      [*flags(tmp_path, output='out16'), *fine, '300', '--bits', '16']) == 0
  assert 255 < masks(tmp_path / 'out16')['a'].max() <= 299


def test_shards_make_each_mask_once(tmp_path, capsys):
  for name in 'abc':
    photo(tmp_path / f'images/{name}.png')
  for shard, count in (('0/2', 2), ('1/2', 1), ('0/1', 0)):
    assert make_oversegmentation.main([*flags(tmp_path, 'gradient'), '--shard', shard]) == 0
    assert f'{count} masks written' in capsys.readouterr().out
  assert set(masks(tmp_path / 'out')) == set('abc')


def test_a_folder_without_images_is_refused(tmp_path):
  (tmp_path / 'images').mkdir()
  with pytest.raises(ValueError, match='images: no images'):
    make_oversegmentation.main(flags(tmp_path, 'gradient'))


def test_a_killed_run_goes_on(tmp_path, capsys):
  for name in 'abcdef':
    photo(tmp_path / f'images/{name}.png', 150, 150)
  command = flags(tmp_path, 'gradient')
  killed = subprocess.Popen([sys.executable, make_oversegmentation.__file__, *command],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  deadline = time.monotonic() + 60
  while not (tmp_path / 'out/a.png').exists() and killed.poll() is None:
    assert time.monotonic() < deadline
    time.sleep(0.01)
  killed.kill()
  assert killed.wait() < 0
  before = len(masks(tmp_path / 'out'))
  assert 1 <= before < 6
  assert make_oversegmentation.main(command) == 0
  assert f'{6 - before} masks written, {before} there already' in capsys.readouterr().out
  for name, mask in masks(tmp_path / 'out').items():
    contours = gradient(images.read_image(tmp_path / f'images/{name}.png'))
    np.testing.assert_array_equal(mask, oversegment(contours)[0])


@pytest.fixture
def hed(tmp_path):
  """A folder with images, and weights of a sixteenth of HED's channels."""
  for name in 'abc':
    photo(tmp_path / f'images/{name}.png')
  cut_short(tmp_path / 'images/b.png')
  (tmp_path / 'hed.caffemodel').write_bytes(network(blobs(arrays())))
  return tmp_path


def test_from_images_to_masks_by_hed(hed, capsys):
  command = [*flags(hed, 'hed'), '--weights', str(hed / 'hed.caffemodel')]
  assert make_oversegmentation.main(command) == 1
  output = capsys.readouterr()
  assert '2 masks written, 0 there already' in output.out
  assert re.search('failed: .*images/b.png: cannot be read', output.err)
  contours = hed_detector(hed / 'hed.caffemodel')
  for name, mask in masks(hed / 'out').items():
    expected, _ = oversegment(contours(images.read_image(hed / f'images/{name}.png')))
    np.testing.assert_array_equal(mask, expected)
    assert mask.max() > 3
  photo(hed / 'images/b.png')
  assert make_oversegmentation.main(command) == 0
  assert '1 masks written, 2 there already' in capsys.readouterr().out

  # The same names, other numbers.
  (hed / 'hed.caffemodel').write_bytes(
      network(blobs({name: value * 1.01 for name, value in arrays().items()})))
  with pytest.raises(ValueError, match="made otherwise.*'weights': "):
    make_oversegmentation.main(command)


@pytest.mark.parametrize(('contours', 'weights', 'error', 'message'), [
    ('hed', None, ValueError, 'hed needs --weights FILE.*https://vcl.ucsd.edu/hed/'),
    ('hed', 'none.caffemodel', FileNotFoundError, 'none.caffemodel: no such.*https://vcl.ucsd.edu'),
    ('hed', 'cut.caffemodel', ValueError, 'cut.caffemodel is not .* cut short or damaged'),
    ('hed', 'vgg.npz', ValueError, "vgg.npz: .* of HED's 38 arrays are missing"),
    ('gradient', 'hed.caffemodel', ValueError, 'only --contours hed has any; gradient has none'),
])
def test_weights_are_checked_before_anything_is_made(hed, contours, weights, error, message):
  (hed / 'cut.caffemodel').write_bytes((hed / 'hed.caffemodel').read_bytes()[:-50])
  np.savez(hed / 'vgg.npz', **{'conv1_1/weights': arrays()['conv1_1/weights']})
  command = flags(hed, contours) + (['--weights', str(hed / weights)] if weights else [])
  with pytest.raises(error, match=message):
    make_oversegmentation.main(command)
  assert not (hed / 'out').exists()


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
      '--ucm', str(tmp_path / 'ucm'), '--thresholds', '12',
      '--json', str(tmp_path / 'scores.json')]) == 0
  scores = json.loads((tmp_path / 'scores.json').read_text())
  assert scores['ucm']['images'] == scores['masks']['images'] == 40
  assert scores['ucm']['covering']['ods'] >= 0.67
  assert scores['masks']['covering'] >= 0.60

import re
import subprocess
import sys

import numpy as np
import pytest

from pyscripts.benchmark import check_reference
from utils.comparison import Comparison
from utils.shared_data import shared


def last_line(capsys):
  return capsys.readouterr().out.splitlines()[-1]


def test_the_reference_file_passes(capsys):
  assert check_reference.main(['segsort', str(shared('reference', 'segsort.npz'))]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[-1] == '10 compared, 0 out of tolerance, 0 not compared: '
  assert sum(bool(re.match(r'\w+ +largest error .* ok$', line)) for line in lines) == 10


def test_the_reference_file_of_the_contrast_passes(capsys):
  assert check_reference.main(['contrast', str(shared('reference', 'contrast.npz'))]) == 0
  assert last_line(capsys) == (
      '59 compared, 0 out of tolerance, 2 not compared: q_match__pix_q1, q_match__pix_ptr1')


def test_the_reference_file_of_stego_passes(capsys):
  assert check_reference.main(['stego', str(shared('reference', 'stego.npz'))]) == 0
  assert last_line(capsys).startswith(
      '113 compared, 0 out of tolerance, 6 not compared: corr/default/grad_code_f64[0,:,0,0], ')


def test_the_reference_file_of_the_transformer_passes(capsys):
  assert check_reference.main(['dino_vit', str(shared('reference', 'dino_vit.npz'))]) == 0
  assert last_line(capsys).startswith('17 compared, 0 out of tolerance, 7 not compared: ')


def test_the_reference_file_of_smooseg_passes(capsys):
  assert check_reference.main(['smooseg', str(shared('reference', 'smooseg.npz'))]) == 0
  assert last_line(capsys) == (
      '99 compared, 0 out of tolerance, 1 not compared: small/f64/centring_identity_maxerr')


def test_a_wrong_number_fails_and_unknown_names_are_listed(tmp_path, capsys):
  arrays = dict(np.load(shared('reference', 'segsort.npz')))
  arrays['supervised_grad'].flat[arrays['supervised_grad'].argmax()] *= 1.001
  arrays['another'] = np.zeros(2)
  np.savez(tmp_path / 'a.npz', **arrays)
  assert check_reference.main(['segsort', str(tmp_path / 'a.npz')]) == 1
  assert last_line(capsys) == '10 compared, 1 out of tolerance, 1 not compared: another'


def test_nothing_compared_fails(tmp_path, capsys):
  np.savez(tmp_path / 'a.npz', b=np.zeros(2), a=np.zeros(1))
  assert check_reference.main(['segsort', str(tmp_path / 'a.npz')]) == 1
  assert last_line(capsys) == '0 compared, 0 out of tolerance, 2 not compared: b, a'


def test_nan_errors_fail(capsys):
  assert check_reference.report([Comparison('loss', float('nan'), 1e-5)], {}) == 1
  assert last_line(capsys) == '1 compared, 1 out of tolerance, 0 not compared: '


@pytest.mark.parametrize('content', [b'', b'not a zip file', b'PK\x03\x04 cut short'])
def test_another_file_is_named(tmp_path, content):
  path = tmp_path / 'a.npz'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='a.npz is not an .npz file'):
    check_reference.main(['segsort', str(path)])


def test_a_single_array_is_refused(tmp_path):
  np.save(tmp_path / 'a.npy', np.zeros(3))
  with pytest.raises(ValueError, match='a.npy is not an .npz file'):
    check_reference.main(['segsort', str(tmp_path / 'a.npy')])


@pytest.mark.parametrize('arguments', [['network', 'a.npz'], ['segsort', 'a.npz', '--model', 'm']])
def test_model_belongs_to_network(arguments, capsys):
  with pytest.raises(SystemExit):
    check_reference.main(arguments)
  assert '--model' in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_ends_with_the_status(tmp_path):
  np.savez(tmp_path / 'a.npz', b=np.zeros(2))
  result = subprocess.run(
      [sys.executable, check_reference.__file__, 'segsort', str(tmp_path / 'a.npz')],
      capture_output=True, text=True, check=False)
  assert result.returncode == 1
  assert result.stdout.endswith('0 compared, 0 out of tolerance, 1 not compared: b\n')

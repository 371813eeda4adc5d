"""The shell scripts as a user calls them."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / 'bashscripts').rglob('*.sh'))


def bash(script, *arguments, folder=ROOT, **environment):
  return subprocess.run(
      ['bash', str(ROOT / 'bashscripts' / script), *arguments], cwd=folder, text=True,
      capture_output=True, timeout=600, check=False,
      env={**os.environ, 'SEGSORT_VENV': sys.prefix, **environment})


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_syntax(script):
  subprocess.run(['bash', '-n', str(script)], check=True)


@pytest.mark.parametrize('arguments, message', [
    (['--number', '3'], 'unknown argument --number'),
    (['--num_steps'], '--num_steps needs a value'),
    (['--data_dir', '/data'], 'needs --data_list'),
    (['--val_list', '/val.txt'], 'needs --data_list'),
])
def test_the_demo_names_wrong_arguments(arguments, message):
  result = bash('demo.sh', *arguments)
  assert result.returncode == 2
  assert message in result.stderr


def test_camvid_scripts_say_what_to_set():
  result = bash('camvid/train_segsort.sh', DATA_DIR='')
  assert result.returncode != 0 and 'set DATA_DIR' in result.stderr
  for script in ('table.sh', 'boundary.sh'):
    result = bash(f'camvid/{script}', NUM_STEPS='3', RESULTS='')
    assert result.returncode == 2 and 'NUM_STEPS is set' in result.stderr


@pytest.mark.slow
def test_the_demo_goes_the_whole_way_and_reuses_it(tmp_path):
  """With a few steps; what the full number reaches is in the README."""
  first = bash('demo.sh', '--num_steps', '4', '--output', 'out', folder=tmp_path)
  assert first.returncode == 0, first.stderr
  assert re.fullmatch(r'mean IoU: \d+\.\d\d %', first.stdout.splitlines()[-1])
  value = json.loads((tmp_path / 'out/val/metrics.json').read_text())['mean_iou']
  assert first.stdout.splitlines()[-1] == f'mean IoU: {100 * value:.2f} %'
  assert re.search(r'Took \d+ s', first.stdout)
  for place in ('val/gray/val_0000.png', 'val/color/val_0000.png', 'val/explained/val_0000.png',
                'val/neighbours/val_0000.json', 'run/prototypes/prototype_features.npy'):
    assert (tmp_path / 'out' / place).exists(), place
  second = bash('demo.sh', '--num_steps', '4', '--output', 'out', folder=tmp_path)
  assert second.returncode == 0, second.stderr
  assert second.stdout.count('nothing to do') == 3
  assert second.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


def test_only_environments_are_ever_cleared(tmp_path):
  """SEGSORT_VENV may be a mistake; `venv` is stubbed, for making one takes its time."""
  stub = tmp_path / 'python'
  stub.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "called with $@"\n[ "$2" != venv ]\n')
  stub.chmod(0o755)
  folder = tmp_path / 'folder'
  folder.mkdir()
  for name, cleared in (('letters', False), ('pyvenv.cfg', True)):
    (folder / name).touch()
    result = subprocess.run(
        ['bash', '-c', 'set -e; source bashscripts/environment.sh requirements.txt'], cwd=ROOT,
        env={**os.environ, 'PYTHON_BASE': str(stub), 'SEGSORT_VENV': str(folder)}, text=True,
        capture_output=True, check=False)
    assert 'called with -m venv' in result.stdout
    assert ('--clear' in result.stdout) == cleared

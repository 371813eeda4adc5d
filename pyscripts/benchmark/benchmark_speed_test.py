import json
import pathlib
import subprocess
import sys

import pytest

from seg_models.speed_rows import ROWS

SCRIPT = pathlib.Path(__file__).with_name('benchmark_speed.py')


def test_each_row_has_its_name_on_the_command_line():
  done = subprocess.run([sys.executable, SCRIPT, '--help'], capture_output=True, text=True)
  assert '{' + ','.join(ROWS) + '}' in ''.join(done.stdout.split())


@pytest.mark.slow
def test_one_row_as_a_table_and_as_json(tmp_path):
  path = tmp_path / 'speed.json'
  done = subprocess.run(
      [sys.executable, SCRIPT, '--only', 'knn_1k', '--scale', '0.2', '--seconds', '0', '--json',
       path], capture_output=True, text=True, check=True)
  assert '| knn_1k |' in done.stdout and 'GFLOP/s' in done.stdout
  (row,) = json.loads(path.read_text())
  assert {'name', 'seconds', 'plain_seconds', 'ratio', 'peak_mb', 'target', 'met'} <= set(row)


@pytest.mark.parametrize('wrong', [['--scale', '0'], ['--only', 'all']])
def test_a_wrong_flag_ends_before_anything_is_measured(wrong):
  done = subprocess.run([sys.executable, SCRIPT, *wrong], capture_output=True, text=True)
  assert done.returncode == 2 and wrong[0][2:] in done.stderr

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name('benchmark_scaling.py')


@pytest.mark.slow
def test_predictions_beside_measurements(tmp_path):
  result = subprocess.run(
      [sys.executable, str(SCRIPT), '--model', 'fcn_resnet50', '--width', '0.125', '--blocks',
       '1,1,1,1', '--embedding_dim', '6', '--input_size', '33,33', '--steps', '2',
       '--step_seconds', '0.25', '--json', str(tmp_path / 'scaling.json')],
      capture_output=True, text=True, timeout=300, check=False)
  assert result.returncode == 0, result.stderr
  assert 'takes 0.25 s by itself' in result.stdout and 'share the cores' in result.stdout
  found = json.loads((tmp_path / 'scaling.json').read_text())
  assert [row['replicas'] for row in found['predictions']] == [2 ** power for power in range(11)]
  assert found['predictions'][0]['images_per_second'] == pytest.approx(4)
  efficiency = [row['efficiency'] for row in found['predictions']]
  assert efficiency == sorted(efficiency, reverse=True) and efficiency[-1] < 0.9
  checks = found['checks']
  assert [row['replicas'] for row in checks] == [1, 2, 4]
  assert checks[0]['measured_images_per_second'] == pytest.approx(
      checks[0]['predicted_images_per_second'])

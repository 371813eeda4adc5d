import gzip
import importlib
import json
import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ['--model', 'fcn_resnet50', '--width', '0.125', '--blocks', '1,1,1,1', '--batch_size', '2',
         '--input_size', '32,40', '--num_classes', '6']


@pytest.fixture
def main():
  """The script's main function."""
  sys.path.insert(0, str(ROOT / 'pyscripts/benchmark'))  # as Python does for a script
  try:
    return importlib.import_module('export_step').main
  finally:
    sys.path.pop(0)


@pytest.mark.slow
@pytest.mark.parametrize('flags', [
    ['--method', 'softmax', '--no-jit_compile'],
    ['--method', 'softmax', '--precision', 'mixed_bfloat16', '--tf32'],
    ['--num_clusters', '2', '--precision', 'mixed_float16', '--random_weights']])
def test_programs_are_the_steps_they_were_made_of(main, tmp_path, capsys, flags):
  assert main([*SMALL, *flags, '--save_dir', str(tmp_path), '--check']) == 0
  printed = capsys.readouterr().out
  assert 'step 1 loss' in printed and 'OUT OF TOLERANCE' not in printed
  described = json.loads((tmp_path / 'step.json').read_text())
  first = described['arguments'][0]
  assert (first['name'], first['shape']) == ('batch/image', [2, 32, 40, 3])
  text = gzip.decompress((tmp_path / 'step.mlir.gz').read_bytes()).decode()
  assert ('xbf16>' in text) == ('mixed_bfloat16' in flags)
  assert ('DEFAULT' in text) == ('--tf32' in flags)
  with np.load(tmp_path / 'inputs.npz') as inputs:
    left_out = [argument['name'] for place, argument in enumerate(described['arguments'])
                if f'arg{place}' not in inputs]
  assert bool(left_out) == ('--random_weights' in flags)
  assert all(name.endswith('weights') for name in left_out)


@pytest.mark.slow
def test_images_of_a_list_are_taken(main, tmp_path):
  from PIL import Image
  random = np.random.default_rng(0)
  lines = ''
  for index in range(2):
    image = random.integers(0, 256, (48, 56, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / f'{index}.png')
    Image.fromarray(np.full([48, 56], index, np.uint8)).save(tmp_path / f'{index}_mask.png')
    lines += f'{index}.png {index}_mask.png\n'
  (tmp_path / 'list.txt').write_text(lines)
  assert main([*SMALL, '--method', 'softmax', '--data_dir', str(tmp_path), '--data_list',
               str(tmp_path / 'list.txt'), '--save_dir', str(tmp_path / 'program')]) == 0
  described = json.loads((tmp_path / 'program/step.json').read_text())
  place = [argument['name'] for argument in described['arguments']].index('batch/label')
  with np.load(tmp_path / 'program/inputs.npz') as inputs:
    assert {0, 1} == set(np.unique(inputs[f'arg{place}']))


@pytest.mark.parametrize('flags, message', [
    ([], '--save_dir is missing'),
    (['--save_dir', 'x', '--iter_size', '2'], '--iter_size 2'),
    (['--save_dir', 'x', '--data_list', 'nowhere.txt'], 'nowhere.txt')])
def test_wrong_flags_are_named(main, flags, message):
  with pytest.raises((ValueError, OSError), match=message):
    main([*SMALL, *flags])


def test_flags_are_those_of_the_method(main, capsys):
  with pytest.raises(SystemExit):
    main(['--method', 'softmax', '--num_clusters', '3', '--save_dir', 'x'])
  assert '--num_clusters' in capsys.readouterr().err

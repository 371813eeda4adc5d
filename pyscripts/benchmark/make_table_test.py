import importlib.util
import json
import pathlib

import pytest

SPEC = importlib.util.spec_from_file_location(
    'make_table', pathlib.Path(__file__).with_name('make_table.py'))
make_table = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_table)


def test_rows_columns_and_means(tmp_path):
  for name, value in [('segsort-seed1-single', 0.5), ('segsort-seed2-single', 0.6),
                      ('softmax-seed1-single', 0.4), ('segsort-seed1-multi', 0.7),
                      ('features-single', 0.3)]:
    (tmp_path / f'{name}.json').write_text(json.dumps({'mean_iou': value}))
  (tmp_path / 'other.json').write_text('{}')
  assert list(make_table.table(tmp_path)) == [
      '| method | scales | seed 1 | seed 2 | mean |',
      '|---|---|---|---|---|',
      '| features | single |  |  | 30.00 |',
      '| segsort | single | 50.00 | 60.00 | 55.00 |',
      '| softmax | single | 40.00 |  | 40.00 |',
      '| segsort | multi | 70.00 |  | 70.00 |']


def test_an_empty_folder_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='table.sh'):
    list(make_table.table(tmp_path))


def test_boundary_table_of_named_files(tmp_path, capsys):
  for name, value in [('a', 0.25), ('b', 0.75)]:
    boundary = {'bands': [{'width': 3, 'mean_iou': value}], 'precision': 1, 'recall': value, 'f': 1}
    (tmp_path / f'{name}.json').write_text(json.dumps({'mean_iou': 0.5, 'boundary': boundary}))
  assert make_table.main(['--boundary', f'{tmp_path}/a.json', f'both={tmp_path}/a.json',
                          f'both={tmp_path}/b.json']) == 0
  assert capsys.readouterr().out.splitlines()[2:] == [
      '| a | 50.00 | 25.00 | 100.00 | 25.00 | 100.00 |',
      '| both | 50.00 | 50.00 | 100.00 | 50.00 | 100.00 |']


def test_table_of_methods_without_labels(tmp_path, capsys):
  (tmp_path / 'stego-seed1-clusters.json').write_text(
      json.dumps({'mean_iou': 0.5, 'pixel_accuracy': 0.75}))
  assert make_table.main(['--clusters', str(tmp_path)]) == 0
  assert capsys.readouterr().out.splitlines()[2] == '| stego | 1 | 50.00 | 75.00 |  |  |'


@pytest.mark.parametrize('arguments', [
    [], ['folder', '--boundary', 'a.json'], ['folder', '--clusters', 'other']])
def test_a_folder_or_files(arguments, capsys):
  with pytest.raises(SystemExit):
    make_table.main(arguments)
  assert 'either a folder or --boundary' in capsys.readouterr().err

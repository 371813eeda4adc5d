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
                      ('softmax-seed1-single', 0.4), ('segsort-seed1-multi', 0.7)]:
    (tmp_path / f'{name}.json').write_text(json.dumps({'mean_iou': value}))
  (tmp_path / 'other.json').write_text('{}')
  assert list(make_table.table(tmp_path)) == [
      '| method | scales | seed 1 | seed 2 | mean |',
      '|---|---|---|---|---|',
      '| segsort | single | 50.00 | 60.00 | 55.00 |',
      '| softmax | single | 40.00 |  | 40.00 |',
      '| segsort | multi | 70.00 |  | 70.00 |']


def test_an_empty_folder_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='table.sh'):
    list(make_table.table(tmp_path))

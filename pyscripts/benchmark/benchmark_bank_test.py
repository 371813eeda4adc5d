import numpy as np
import pytest

from pyscripts.benchmark import benchmark_bank
from seg_models import bank as banks
from seg_models import bank_benchmark
from seg_models.bank_test import make_bank
from utils import files


def test_the_table_is_printed_and_written(tmp_path, monkeypatch, capsys):
  banks.save_bank(make_bank(60), tmp_path / 'bank')
  banks.save_bank(make_bank(30, seed=1), tmp_path / 'queries')
  asked = {}

  def compare(variants, queries, truth, k, numbers):
    asked.update(size=len(banks.load_bank(next(iter(variants)).folder)), queries=queries,
                 truth=truth, k=k, numbers=numbers)
    yield {'name': 'float32', 'bank_mb': 1, 'peak_mb': 2, 'seconds': {'4': 0.5},
           'cpu_seconds': {'4': 0.75}, 'recall': 1, 'agreement': 1, 'accuracy': 0.25, 'making': ''}

  monkeypatch.setattr(bank_benchmark, 'compare', compare)
  line = (f'--prototype_dir {tmp_path}/bank --queries_dir {tmp_path}/queries --size 200 '
          f'--queries 9 --at_once 4 25 --k_in_nearest_neighbors 3 --json {tmp_path}/a.json')
  assert benchmark_bank.main(line.split()) == 0
  assert '0.5000 s (0.7500 s of CPU) for 4; recall 1.0000' in capsys.readouterr().out
  (row,) = files.read_json(tmp_path / 'a.json')
  assert row['prototypes'] == asked['size'] == 200 and row['accuracy'] == 0.25
  assert (asked['k'], asked['numbers']) == (3, [4])  # there are no 25 queries
  others = make_bank(30, seed=1)
  places = [int(np.argmin(np.abs(others.features - query).sum(1))) for query in asked['queries']]
  assert len(set(places)) == 9
  np.testing.assert_array_equal(asked['truth'], others.labels[places])


def test_banks_that_cannot_be_compared_are_refused(tmp_path):
  banks.save_bank(make_bank(9), tmp_path / 'bank', 'int8')
  line = f'--prototype_dir {tmp_path}/bank --queries_dir {tmp_path}/bank'
  with pytest.raises(ValueError, match='is int8 of 3 dimensions: expected float32 of 3'):
    benchmark_bank.main(line.split())

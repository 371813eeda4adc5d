import numpy as np
import pytest

from pyscripts.inference import convert_bank
from seg_models import bank as banks
from seg_models.bank_index import load_index
from seg_models.bank_test import make_bank


def test_a_command_line_makes_a_bank_of_bytes_with_an_index(tmp_path):
  banks.save_bank(make_bank(40), tmp_path / 'old')
  line = f'--prototype_dir {tmp_path}/old --save_dir {tmp_path}/new --bank_storage int8 --index'
  more = ' --index_cells 4 --index_recall 0.9 --k_in_nearest_neighbors 7'
  assert convert_bank.main((line + more).split()) == 0
  bank = banks.load_bank(tmp_path / 'new')
  index = load_index(tmp_path / 'new', bank.fingerprint(), 7)
  assert bank.features.dtype == np.int8 and len(index.centres) <= 4 and index.recall >= 0.9


def test_an_unknown_storage_is_refused(tmp_path, capsys):
  with pytest.raises(SystemExit):
    convert_bank.main(['--bank_storage', 'int4'])
  assert "invalid choice: 'int4'" in capsys.readouterr().err

"""The command on a file as PyTorch writes them, whose pickle is put together by hand."""

import struct
import zipfile

import numpy as np
import pytest

from pyscripts.data import convert_weights
from utils import checkpoints

VALUE = np.arange(6, dtype=np.float32).reshape(2, 3)
# {'teacher': {'module.backbone.head.weight': tensor of 2 x 3 floats}}
PICKLE = b''.join((
    b'\x80\x02}(X\x07\0\0\0teacher}(X\x1b\0\0\0module.backbone.head.weight',
    b'ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n',
    b'X\x01\0\0\x000X\x03\0\0\0cpuK\x06tQK\0K\x02K\x03\x86K\x03K\x01\x86\x89',
    b'ccollections\nOrderedDict\n)RtRuu.'))


@pytest.fixture
def source(tmp_path):
  path = tmp_path / 'a.pth'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('a/data.pkl', PICKLE)
    archive.writestr('a/data/0', struct.pack('<6f', *VALUE.flat))
  return str(path)


@pytest.mark.parametrize('ending', ['safetensors', 'npz'])
def test_tensors_become_arrays(tmp_path, source, ending, capsys):
  target = str(tmp_path / f'made.{ending}')
  assert convert_weights.main([source, target]) == 0
  assert capsys.readouterr().out == f'{target}: 1 arrays, 6 values\n'
  archive = checkpoints.open_archive(target)
  assert archive.names() == ['head.weight']
  np.testing.assert_array_equal(archive.read('head.weight'), VALUE)


def test_errors_come_before_anything_is_written(tmp_path, source, capsys):
  with pytest.raises(ValueError, match="a.pth.*no entry 'model'"):
    convert_weights.main([source, str(tmp_path / 'b.npz'), '--key', 'model'])
  with pytest.raises(SystemExit):
    convert_weights.main([source, str(tmp_path / 'b.h5')])
  assert 'ending must be .safetensors or .npz' in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ['a.pth']
